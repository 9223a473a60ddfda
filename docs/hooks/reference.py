"""Writes the reference of options: docs/options.md and the manual pages in docs/man.

All of it comes from the tables by which the programs read their command lines.  After a change of those, run
`python docs/hooks/reference.py` in the checkout.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from txetcd import __version__
from txetcd.ca import command as ca
from txetcd.moving.arguments import parsers
from txetcd.settings import options
from txetcd.settings.options import Option
from txetcd.settings.usage import usage_text

DOCS = Path(__file__).parent.parent

_HEAD = """\
# Options

Every option of the server. This page is made from the table that the server itself reads, as are
`txetcd --help` and the manual pages in `docs/man`. [operating.md](operating.md) tells how to use them.

An option takes one dash or two, and its value after a space or `=`. The command line goes before the
environment, and that before the file that `--config` names, which is in TOML. Options of etcd that mean
nothing here are ignored with a warning; those that would change what the server does are refused, with the
remedy.
"""

WIDTH = 120

_NAME = re.compile(r"--([a-z][a-z-]*[a-z])(=\w+)?")
_DEFAULT = re.compile(r" \[default: (.*)\]")


def pages() -> dict[str, str]:
    """The texts of the files, by their paths in docs/."""
    return {
        "options.md": "\n".join(_options_page()),
        "man/txetcd.1": _roff(_server_manual()),
        "man/txetcd-ca.1": _roff(_ca_manual()),
    }


# The page of options.


def _options_page() -> Iterator[str]:
    yield _HEAD
    for section, members in options.SECTIONS.items():
        # Some sections are called like an option, and links go by headings.
        yield f"## Options: {section}\n"
        for option in members:
            yield f"### {option.name}\n"
            yield _wrapped(_NAME.sub(_linked, option.help)) + "\n"
            yield from (f"- {name}: {text}" for name, text in _facts(option))
            yield ""


def _facts(option: Option[Any]) -> Iterator[tuple[str, str]]:
    also = "".join(f", also `{'-' * min(len(name), 2)}{name}`" for name in option.aliases)
    yield "Command line", f"`--{option.name} {option.kind.metavar}".rstrip() + f"`{also}"
    key = option.name.replace("-", "_")
    if not option.command_line_only:
        yield "Environment", f"`ETCD_{key.upper()}`"
        if option is not options.CONFIG:
            yield "Configuration file", f"`{key}`, {option.kind.expected}"
    default = _DEFAULT.fullmatch(option.described(), len(option.help))
    yield "Default", default[1] if default else "none" if option.kind.metavar else "false"


def _linked(match: re.Match[str]) -> str:
    """An option's name in a text, as a link to the option."""
    (target,) = (option for option in options.TABLE if match[1] in (option.name, *option.aliases))
    return f"[`{match[0]}`](#{target.name})"


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False))


# Manual pages: lists of requests of roff and of lines of text.


def _server_manual() -> Iterator[str]:
    yield from _title("txetcd", "the etcd v2 API as a server, over HTTP or HTTPS")
    yield from ("txetcd [options]", ".br", "twistd [twistd's options] txetcd [options]")
    for name in parsers():
        yield from (".br", f"txetcd {name} [options]")
    yield ".SH DESCRIPTION"
    yield "Serves the v2 API of etcd (/v2/keys and its companions) from a directory or an etcd v3 cluster."
    yield "With a certificate it serves HTTPS; with a CA, only clients that have a certificate of that CA."
    yield from (".PP", usage_text().rstrip().rpartition("\n\n")[2].replace("\n", " "))
    yield ".SH OPTIONS"
    for section, members in options.SECTIONS.items():
        yield f".SS {section}"
        for option in members:
            yield from _entry(option.spelling(), option.described())
    yield ".SH COMMANDS"
    yield "Each ends with status 0 when it has done what was asked for."
    for name, parser in parsers().items():
        yield from _command(f"txetcd {name}", parser)
    yield from (".SH FILES", ".TP", "txetcd.db, txetcd.db-wal, txetcd.db-shm, txetcd.lock")
    yield "In the data directory: everything, and that a server is using it."
    yield from (".SH SIGNALS", ".TP", "SIGTERM, SIGINT", "Stop in order.")
    yield from (".TP", "SIGHUP", "Read certificates, keys, CAs and revocation lists again.")
    yield ".SH EXIT STATUS"
    yield "1 when it cannot start, with one line on stderr that names the option or file and the remedy."
    yield from (".SH SEE ALSO", "txetcd-ca(1), twistd(1), etcd(1)")


def _ca_manual() -> Iterator[str]:
    parser = ca._parser()
    yield from _title("txetcd-ca", "make certificates for txetcd")
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for number, name in enumerate(commands.choices):
        yield from ([".br"] if number else [])
        yield f"txetcd-ca {name} [options]"
    yield from (".SH DESCRIPTION", ".nf", *(parser.description or "").splitlines(), ".fi")
    yield ".SH COMMANDS"
    for name, each in commands.choices.items():
        yield from _command(f"txetcd-ca {name}", each)
    yield ".SH EXIT STATUS"
    yield "1 when it cannot be done, with one line on stderr that says why."
    yield from (".SH SEE ALSO", "txetcd(1), openssl(1)")


def _title(name: str, does: str) -> Iterator[str]:
    yield f'.TH {name.upper()} 1 "" "txetcd {__version__}"'
    yield from (".SH NAME", f"{name} - {does}", ".SH SYNOPSIS")


def _command(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f".SS {name}"
    yield " ".join((parser.description or "").split())
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
        # The two that argparse makes by itself need no words.
        if actions and group not in (parser._positionals, parser._optionals):
            yield from (".PP", f"For {group.title}:")
        for action in actions:
            value = str(action.metavar or action.dest.upper()) if action.nargs != 0 else ""
            title = f"{', '.join(action.option_strings)} {value}".strip()
            yield from _entry(title, (action.help or "") % {"default": action.default})


def _entry(title: str, text: str) -> Iterator[str]:
    yield from (".TP", f".B {title}", text)


def _roff(lines: Iterator[str]) -> str:
    """The lines as roff takes them: requests stay, and text loses what roff would take for one."""
    return "".join(f"{_line(line)}\n" for line in lines)


def _line(line: str) -> str:
    request = re.match(r"[.](TH .*|(SH|SS|B) |(TP|PP|br|nf|fi)$)", line)
    head = request[0] if request else ""
    text = line[len(head) :].replace("\\", "\\e").replace("-", "\\-")
    return f"{head}\\&{text}" if not head and text.startswith((".", "'")) else head + text


def main() -> None:
    """Write the files."""
    for name, text in pages().items():
        (DOCS / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
