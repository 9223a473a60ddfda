"""Tells Twisted of `mtls:` endpoints; any Twisted program may import this, so txetcd comes only when used."""

from typing import Any

from twisted.internet.interfaces import IStreamServerEndpoint, IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(IPlugin, IStreamServerEndpointStringParser)
class _MutualTLSParser:
    """Parses `mtls:PORT:privateKey=FILE:certKey=FILE:caCerts=FILE` and what more may follow."""

    prefix = "mtls"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamServerEndpoint:
        """Called by Twisted with what is between the colons."""
        from txetcd.tls.endpoints import mutual_tls_endpoint

        return mutual_tls_endpoint(reactor, *args, **kwargs)


mutual_tls_parser = _MutualTLSParser()
