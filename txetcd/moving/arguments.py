"""What the commands take: their options, and what those say of servers, checked before all else."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from txetcd.errors import EtcdError
from txetcd.moving import MovingError
from txetcd.moving.trust import Given, Server, server
from txetcd.query import clean_key

CONCURRENCY = 32

_IMPORT = """\
Fill a v2 server from a file that export wrote, or from another v2 server, a real etcd for example.
"""
_EXPORT = """\
Write all keys of a v2 server, as they are at one moment, to standard output.
"""
_BACKUP = """\
Copy the file of a txetcd on this machine, which may be running, to a file that one can be started from.
"""


class _Parser(argparse.ArgumentParser):
    """Takes what is wrong with the arguments for an error like any other."""

    def error(self, message: str) -> NoReturn:
        raise MovingError(f"{message}; see {self.prog} --help")


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The commands, each with what reads its arguments; what is wrong with those is a `MovingError`."""

    def parser(name: str, text: str) -> argparse.ArgumentParser:
        return _Parser(f"txetcd {name}", description=text, allow_abbrev=False)

    importing, exporting, saving = (
        parser("import", _IMPORT),
        parser("export", _EXPORT),
        parser("backup", _BACKUP),
    )
    _server(importing, "--endpoint", "--", "the server to fill", required=True)
    _server(exporting, "--endpoint", "--", "the server to copy", required=True)
    importing.add_argument("file", metavar="FILE", nargs="?", help="what export wrote; - for standard input")
    _server(importing, "--from", "--from-", "the server to copy, instead of a file", required=False)
    for copying in (importing, exporting):
        add = copying.add_argument
        add(
            "--key",
            action="append",
            type=_key,
            help="copy this and all below it (default: /); may be repeated",
        )
        add(
            "--hidden",
            action="append",
            type=_key,
            metavar="KEY",
            help="copy this hidden key too; may be repeated",
        )
    add = importing.add_argument
    add(
        "--concurrency",
        type=_number,
        default=CONCURRENCY,
        metavar="N",
        help="requests under way at a time (default: %(default)s)",
    )
    add("--merge", action="store_true", help="fill a server that has keys; those of the copy replace its own")
    add("--replace", action="store_true", help="delete what the copy does not have, and write what differs")
    add(
        "--follow",
        action="store_true",
        help="then apply what changes there, until SIGINT; compare at the end",
    )
    add("--until-index", type=_number, metavar="N", help="with --follow, until the source's index N")
    saving.add_argument("--data-dir", type=Path, required=True, help="the data directory of the server")
    saving.add_argument("file", metavar="FILE", type=Path, help="where to write the copy; replaced if there")
    return {"import": importing, "export": exporting, "backup": saving}


def _server(parser: argparse.ArgumentParser, option: str, prefix: str, what: str, *, required: bool) -> None:
    """Add the options that say how to reach a server."""
    name = prefix.strip("-").replace("-", "_") + "_" if prefix != "--" else ""
    group = parser.add_argument_group(what)
    add = group.add_argument
    add(
        option,
        dest=f"{name}url",
        required=required,
        metavar="URL",
        help="http://HOST:PORT or https://HOST:PORT",
    )
    add(
        f"{prefix}ca-file", dest=f"{name}ca_file", type=Path, metavar="FILE", help="the CA of its certificate"
    )
    for end, help in (("cert-file", "the certificate to show"), ("key-file", "the certificate's key")):
        dest = name + end.replace("-", "_")
        add(f"{prefix}{end}", dest=dest, type=Path, metavar="FILE", help=help)
    add(
        f"{prefix}user",
        dest=f"{name}user",
        metavar="NAME:PASSWORD",
        help="a user, or @FILE with a line of that",
    )


def _key(text: str) -> str:
    try:
        return clean_key(text)
    except EtcdError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error.cause}") from None


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 20 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def keys(given: argparse.Namespace) -> list[str]:
    """What to copy."""
    return list(dict.fromkeys([*(given.key or ["/"]), *(given.hidden or [])]))


def endpoint(given: argparse.Namespace) -> Server:
    """The server that --endpoint means."""
    return server(
        Given("--endpoint", "--", given.url, given.cert_file, given.key_file, given.ca_file, given.user)
    )


def source(given: argparse.Namespace) -> Server | None:
    """The server to copy; None if it is a file.

    @raise MovingError: when that is not clear, or there are options that do not go with it.
    """
    if (given.from_url is None) == (given.file is None):
        raise MovingError("give a FILE or --from URL, one of the two")
    if given.merge and (given.replace or given.follow):
        other = "--replace" if given.replace else "--follow, which needs --replace where keys are"
        raise MovingError(f"--merge does not go with {other}; leave it out")
    if given.until_index is not None and not given.follow:
        raise MovingError("--until-index is of no use alone; give --follow too")
    if given.from_url is not None:
        files = (given.from_cert_file, given.from_key_file, given.from_ca_file)
        return server(Given("--from", "--from-", given.from_url, *files, given.from_user))
    for name in ("follow", "key", "hidden", "from_ca_file", "from_cert_file", "from_key_file", "from_user"):
        if getattr(given, name):
            raise MovingError(f"--{name.replace('_', '-')} is of no use with a file; give --from URL")
    return None
