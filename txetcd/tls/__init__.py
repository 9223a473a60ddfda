"""TLS: certificate, key, CA and CRL files into what Twisted listens with, and who may come in.

`files` reads and refuses; `policy`, `rules` and `revocation` are pure; `context` tells OpenSSL; `connection`
is what happens on a connection, `refusals` what the log says of it; `keeper` keeps all that current while the
files change; `endpoints` is what to listen on.

Here is what a start needs before that, and options for those who listen by `wrapServerTLS` themselves.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.ssl import CertificateOptions

from txetcd.tls.context import build
from txetcd.tls.files import Files, TLSError, files, load
from txetcd.tls.keeper import check_worth, utc_now
from txetcd.tls.policy import Policy

__all__ = [
    "TLSError",
    "check",
    "client_auth_options",
    "configured",
    "server_options",
]


def configured(
    cert_file: Path | None, key_file: Path | None, ca_file: Path | None, crl_file: Path | None = None
) -> Files | None:
    """Name the files of a server as the options do; None if it has none.

    Raises `TLSError` for half a configuration.
    """
    if cert_file is not None and key_file is not None and (ca_file is not None or crl_file is None):
        return files(cert_file, key_file, ca_file, crl_file)
    if cert_file is not None and key_file is None:
        raise TLSError(f"--cert-file {cert_file} is of no use alone; give its private key as --key-file too")
    if cert_file is None and key_file is not None:
        raise TLSError(f"--key-file {key_file} is of no use alone; give its certificate as --cert-file too")
    if ca_file is not None:
        raise TLSError(
            f"--ca-file {ca_file} is of no use alone, because clients show certificates over HTTPS only; "
            "give the server's --cert-file and --key-file too"
        )
    if crl_file is not None:
        raise TLSError(
            f"--client-crl-file {crl_file} is of no use alone, because only clients of a CA are asked for "
            "certificates; give --ca-file too"
        )
    return None


def check(
    cert_file: Path | None,
    key_file: Path | None,
    ca_file: Path | None,
    crl_file: Path | None = None,
    policy: Policy = Policy(),  # noqa: B008 - it is frozen
) -> None:
    """Try the files out exactly as a start does.

    Raises `TLSError` for half a configuration, and for files that a server could not be started with.
    """
    named = configured(cert_file, key_file, ca_file, crl_file)
    if named is not None:
        material = load(named)
        build(named, material, policy, ask_clients=ca_file is not None)
        check_worth(named, material, utc_now())


def server_options(cert_file: Path, key_file: Path) -> CertificateOptions:
    """Return the options of a server that serves any client.

    Use them with `twisted.internet.endpoints.wrapServerTLS`.  Raises `TLSError` for files that do not work.
    """
    named = files(cert_file, key_file)
    return build(named, load(named), Policy(), ask_clients=False)


def client_auth_options(
    cert_file: Path, key_file: Path, ca_file: Path, crl_file: Path | None = None
) -> CertificateOptions:
    """Return the options of a server that serves only clients with a certificate of a CA in `ca_file`.

    All other clients are refused in the handshake: those with no certificate, with an expired one, with an
    extended key usage that lacks clientAuth, or with one that a list in `crl_file` revokes.  Nothing is ever
    resumed, so that each connection's certificate is verified anew.  Use them with
    `twisted.internet.endpoints.wrapServerTLS`.  Raises `TLSError` for files that do not work.
    """
    named = files(cert_file, key_file, ca_file, crl_file)
    return build(named, load(named), Policy(), ask_clients=True)
