"""The `txetcd-ca` command: it changes a CA's directory, and says what it wrote and what comes next."""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from cryptography import x509

from txetcd import __version__
from txetcd.ca import CAError, directory
from txetcd.ca.certificates import CA_DAYS, LEAF_DAYS, hosts, made_for
from txetcd.ca.directory import Directory, Issued, serial
from txetcd.pages import with_page

DIRECTORY = Path("ca")
PORT = 4001

# Nobody needs longer, and dates end in the year 9999.
_MAX_DAYS = 36500

_ABOUT = """\
Make certificates for txetcd: a CA of your own, and what it signs.

  txetcd-ca init                        once: the CA, in the directory ca
  txetcd-ca server etcd1.lan 10.0.0.5   for each server, with every name and address clients use
  txetcd-ca client backup               for each client
  txetcd-ca revoke backup               when its key is lost, stolen or no longer wanted

And for an etcd cluster with --engine, from a CA of its own (--dir):

  txetcd-ca member 10.0.0.7             for each member of the cluster
  txetcd-ca gateway gateway1            for each txetcd server that uses it

Each says what it wrote, and the commands that use it.
"""
_INIT = """\
Make a CA. Its key, ca.key, can make certificates that all your servers and clients trust:
keep the directory on a machine of its own, or at least away from servers and clients.
"""
_SERVER = """\
Make a certificate and key for a server. Clients accept the server only under the names and
addresses given here. The first one names the files.
"""
_CLIENT = """\
Make a certificate and key for a client. NAME becomes the certificate's common name.
"""
_MEMBER = """\
Make a certificate and key for a member of an etcd cluster: a server, and a client of the other
members. Give every name and address that members and gateways use for it. The first one names
the files. It has no common name, which etcd's JSON gateway does not take with passwords on.
"""
_GATEWAY = """\
Make a certificate and key that a txetcd server shows to an etcd cluster (--peer-cert-file).
NAME becomes the certificate's organization; it has no common name either.
"""
_REVOKE = """\
Revoke certificates: servers that are given ca.crl refuse them from then on. NAME stands for all
certificates that were ever made for that client or gateway, or for a server or member with that
first name.
"""


class _Parser(argparse.ArgumentParser):
    """Takes what is wrong with the arguments for an error like any other."""

    def error(self, message: str) -> NoReturn:
        raise CAError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says; ends with one line on stderr and status 1 if that cannot be done."""
    now = datetime.datetime.now(datetime.timezone.utc)
    try:
        lines = run(sys.argv[1:] if arguments is None else arguments, now)
    except CAError as error:
        raise SystemExit(f"txetcd-ca: {with_page(error, error.page)}") from None
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def run(arguments: Sequence[str], now: datetime.datetime) -> list[str]:
    """Do what the arguments say at the time `now`, and return the lines that tell of it.

    Raises `CAError` when that cannot be done, and `SystemExit` after --help and --version.
    """
    given = _parser().parse_args(arguments)
    return list(given.command(given, now))


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser("txetcd-ca", description=_ABOUT, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"txetcd-ca {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, does: str, text: str, days: int | None) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=does, description=text, formatter_class=raw, allow_abbrev=False)
        sub.add_argument(
            "--dir", type=Path, default=DIRECTORY, help=f"the CA's directory (default: {DIRECTORY})"
        )
        if days is not None:
            how_long = f"how long it is valid (default: {days} days)"
            sub.add_argument("--days", type=_days, default=days, help=how_long)
        return sub

    init = command("init", "make a CA", _INIT, CA_DAYS)
    init.add_argument("--name", default="txetcd CA", help="the CA's name (default: %(default)s)")
    init.set_defaults(command=_init)
    server = command("server", "make a server's certificate", _SERVER, LEAF_DAYS)
    server.add_argument("hosts", nargs="+", metavar="HOST", help="a host name (*.example.org) or IP address")
    server.set_defaults(command=_server)
    client = command("client", "make a client's certificate", _CLIENT, LEAF_DAYS)
    client.add_argument("name", metavar="NAME", help="the client's name")
    client.set_defaults(command=_client)
    member = command("member", "make the certificate of an etcd cluster's member", _MEMBER, LEAF_DAYS)
    member.add_argument("hosts", nargs="+", metavar="HOST", help="a host name or IP address")
    member.set_defaults(command=_member)
    gateway = command("gateway", "make a certificate to show to an etcd cluster", _GATEWAY, LEAF_DAYS)
    gateway.add_argument("name", metavar="NAME", help="the server's name")
    gateway.set_defaults(command=_gateway)
    for issuing in (server, client, member, gateway):
        issuing.add_argument("--force", action="store_true", help="replace the files of the same name")
    revoke = command("revoke", "revoke certificates", _REVOKE, None)
    what = "a name, the file of a certificate, or a serial number"
    revoke.add_argument("target", metavar="NAME|FILE|SERIAL", help=what)
    revoke.set_defaults(command=_revoke)
    return parser


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MAX_DAYS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {_MAX_DAYS}")
    return int(text)


def _init(given: argparse.Namespace, now: datetime.datetime) -> Iterator[str]:
    ca = directory.create(given.dir, given.name, given.days, now)
    certificate = given.dir / directory.CERTIFICATE
    yield f"{certificate}: the CA's certificate, valid until {_date(ca.certificate)}, for servers and clients"
    yield f"{given.dir / directory.KEY}: its private key, for no other machine"
    yield f"{given.dir / directory.CRL}: the list of revoked certificates, still empty, for servers"
    yield ""
    yield "Next, a certificate for a server, with every name and address that clients use for it. If all are"
    yield "on its own machine:"
    yield _again(given, "server", "localhost", "127.0.0.1", "::1")


def _server(given: argparse.Namespace, now: datetime.datetime) -> Iterator[str]:
    with directory.opened(given.dir) as ca:
        issued = ca.issue_server(given.hosts, given.days, now, given.force)
    names = hosts(issued.certificate)
    yield from _written(given, issued, f"the server's certificate for {', '.join(names)}")
    yield ""
    yield "Start the server with it:"
    yield _command(
        *("twistd", "-n", "txetcd", *_addresses(_reachable(names))),
        *("--ca-file", given.dir / directory.CERTIFICATE, "--client-crl-file", given.dir / directory.CRL),
        *("--cert-file", issued.cert_file, "--key-file", issued.key_file),
    )
    yield _elsewhere(given, "four")
    yield ""
    yield "Next, a certificate for each client:"
    yield _again(given, "client", "client1")


def _client(given: argparse.Namespace, now: datetime.datetime) -> Iterator[str]:
    with directory.opened(given.dir) as ca:
        issued = ca.issue_client(given.name, given.days, now, given.force)
        host = _host_to_ask(ca, now)
    yield from _written(given, issued, f"the certificate of the client {given.name}")
    yield ""
    yield "Use it:"
    yield _command(
        *("curl", "--cacert", given.dir / directory.CERTIFICATE),
        *("--cert", issued.cert_file, "--key", issued.key_file, f"https://{host}:{PORT}/v2/keys/"),
    )
    yield _elsewhere(given, "three")


def _member(given: argparse.Namespace, now: datetime.datetime) -> Iterator[str]:
    with directory.opened(given.dir) as ca:
        issued = ca.issue_member(given.hosts, given.days, now, given.force)
    yield from _written(given, issued, f"the member's certificate for {', '.join(hosts(issued.certificate))}")
    yield ""
    yield "Start the member with it, and with the options of its own:"
    yield _command(
        "etcd", *_etcd_options(given, issued, "", "client-"), *_etcd_options(given, issued, "peer-")
    )
    yield _elsewhere(given, "four")
    yield ""
    yield "Next, a certificate for each txetcd server that uses the cluster:"
    yield _again(given, "gateway", "gateway1")


def _etcd_options(given: argparse.Namespace, issued: Issued, side: str, crl: str = "") -> list[str | Path]:
    """A member's TLS options on one side; that of the list has, for clients, a prefix of its own."""
    return [
        *(f"--{side}client-cert-auth", f"--{side}trusted-ca-file", given.dir / directory.CERTIFICATE),
        *(f"--{side}cert-file", issued.cert_file, f"--{side}key-file", issued.key_file),
        *(f"--{crl or side}crl-file", given.dir / directory.CRL),
    ]


def _gateway(given: argparse.Namespace, now: datetime.datetime) -> Iterator[str]:
    with directory.opened(given.dir) as ca:
        issued = ca.issue_gateway(given.name, given.days, now, given.force)
    yield from _written(given, issued, f"the certificate of the gateway {given.name}")
    yield ""
    yield "Give the server these options beside --engine:"
    yield _command(
        *("--peer-ca-file", given.dir / directory.CERTIFICATE),
        *("--peer-cert-file", issued.cert_file, "--peer-key-file", issued.key_file),
    )
    yield _elsewhere(given, "three")


def _revoke(given: argparse.Namespace, now: datetime.datetime) -> Iterator[str]:
    with directory.opened(given.dir) as ca:
        revoked = ca.revoke(given.target, now)
    for done, certificates in (("revoked", revoked.new), ("had been revoked before", revoked.before)):
        for certificate in certificates:
            which = f"{made_for(certificate)}, serial number {serial(certificate)}"
            yield f"{which}, valid until {_date(certificate)}: {done}"
    crl = given.dir / directory.CRL
    yield f"{crl}: the list of revoked certificates, {revoked.total} by now"
    yield ""
    yield "Servers refuse them from then on. One that has a copy of the list needs the new one; one that was"
    yield "started without any needs"
    yield _command("--client-crl-file", crl)


def _written(given: argparse.Namespace, issued: Issued, what: str) -> Iterator[str]:
    yield f"{issued.cert_file}: {what}, valid until {_date(issued.certificate)}"
    yield f"{issued.key_file}: its private key"
    if issued.replaced is not None:
        yield ""
        yield f"The certificate that was there is still valid, until {_date(issued.replaced)}. If others may"
        yield "have its key, revoke it:"
        yield _again(given, "revoke", serial(issued.replaced))


def _elsewhere(given: argparse.Namespace, number: str) -> str:
    return f"On another machine it needs those {number} files, but never {given.dir / directory.KEY}."


def _host_to_ask(ca: Directory, now: datetime.datetime) -> str:
    """Where a client may find the server whose certificate is the newest, as URLs have it."""
    servers = ca.servers(now)
    return _in_url(_reachable(hosts(servers[0])) if servers else "HOST")


def _reachable(names: list[str]) -> str:
    """The first name that is one, rather than a pattern for many."""
    return next((name for name in names if "*" not in name), names[0].replace("*", "HOST"))


def _addresses(host: str) -> list[str]:
    """The options with which a server listens where clients look for that host."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        everywhere = "127.0.0.1" if host == "localhost" else "0.0.0.0"
    else:
        if address.is_loopback:
            return ["--addr", f"{_in_url(host)}:{PORT}"]
        everywhere = "[::]" if address.version == 6 else "0.0.0.0"
    return ["--addr", f"{_in_url(host)}:{PORT}", "--bind-addr", f"{everywhere}:{PORT}"]


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _again(given: argparse.Namespace, *words: str) -> str:
    """A command line of this program for the same directory."""
    where = () if given.dir == DIRECTORY else ("--dir", given.dir)
    return _command("txetcd-ca", words[0], *where, *words[1:])


def _command(*words: str | Path) -> str:
    return "  " + shlex.join(map(str, words))


def _date(certificate: x509.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%Y-%m-%d}"
