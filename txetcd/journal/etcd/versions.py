"""Which etcd the members of an engine run, and whether what they keep is safe with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IPolicyForHTTPS

from txetcd.engine import Engine
from txetcd.journal.etcd.client import Client, HTTPClient
from txetcd.journal.etcd.wire import EngineError

log = Logger()

# With these, members come to have different rows when one is killed under load.
UNSAFE = frozenset({"3.5.0", "3.5.1", "3.5.2"})
REMEDY = "update all members to 3.5.6 or later"


def single_clients(
    reactor: IReactorTime, engine: Engine, policy: IPolicyForHTTPS
) -> list[tuple[str, Client]]:
    """The endpoints of all members, each with a client that asks no other.

    What is asked here needs no user, and so nobody logs in.
    """
    engines = [replace(engine, endpoints=(url,), user="", password="") for url in engine.endpoints]
    return [(each.endpoints[0], HTTPClient(reactor, each, policy)) for each in engines]


async def warn_of_unsafe(members: Iterable[tuple[str, Client]], timeout: float) -> None:
    """Ask each member which etcd it runs, and log one warning if any is known to damage what it keeps.

    Members that do not answer are left out.  The clients are closed.

    @param members: as of `single_clients`.
    @param timeout: how long one is waited for, in seconds.
    """
    found: dict[str, list[str]] = {}
    for url, client in members:
        version = await _version(client, timeout)
        if version.partition("-")[0] in UNSAFE:
            found.setdefault(version, []).append(url)
    if found:
        log.warn(
            "The engine runs etcd {versions}, with which members can come to have different rows: {remedy}",
            versions=", ".join(f"{version} ({', '.join(urls)})" for version, urls in found.items()),
            remedy=REMEDY,
        )


async def _version(client: Client, timeout: float) -> str:
    """Which etcd a member runs; empty if it does not say."""
    try:
        status = await client.post("/maintenance/status", {}, timeout)
    except EngineError:
        return ""
    finally:
        await client.close()
    return str(status.get("version", ""))
