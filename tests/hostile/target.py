"""The server that is attacked."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from tests.certificates import CLIENT, LOOPBACK, SERVER, Authority, pem


@dataclass(frozen=True)
class Target:
    """A server on this machine.

    @ivar port: where it serves.
    @ivar pid: the process.
    @ivar directory: where it runs, with the files that `issue` has made if it is `secure`.
    @ivar secure: it speaks TLS, and asks for certificates.
    """

    port: int
    pid: int
    directory: Path
    secure: bool

    def context(self, certificate: bool = True) -> ssl.SSLContext:
        """What a client needs that is let in; without a certificate it is not."""
        made = ssl.create_default_context(cafile=self.directory / "ca.crt")
        if certificate:
            made.load_cert_chain(self.directory / "client.crt", self.directory / "client.key")
        return made


def issue(directory: Path) -> tuple[str, ...]:
    """Make a CA and certificates in a directory; return the options of a server that runs there."""
    ca = Authority.create("test CA")
    (directory / "ca.crt").write_bytes(pem(ca.certificate))
    ca.issue("server", purposes=[SERVER], hosts=LOOPBACK).write(directory, "server")
    ca.issue("client", purposes=[CLIENT]).write(directory, "client")
    return "--ca-file=ca.crt", "--cert-file=server.crt", "--key-file=server.key"
