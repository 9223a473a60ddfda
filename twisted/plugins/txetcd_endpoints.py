"""Tells Twisted of `mtls:` endpoints; any Twisted program may import this, so txetcd comes only when used."""

from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(IPlugin, IStreamServerEndpointStringParser)
class _MutualTLSParser:
    """Parses `mtls:PORT:privateKey=FILE:certKey=FILE:caCerts=FILE` and what more may follow."""

    prefix = "mtls"

    def parseStreamServer(self, reactor, *args, **kwargs):
        from txetcd.tls.endpoints import mutual_tls_endpoint

        return mutual_tls_endpoint(reactor, *args, **kwargs)


mutual_tls_parser = _MutualTLSParser()
