"""The fixtures of txetcd for pytest.

pytest imports this module whenever it starts; all else is imported when a fixture is first used, so that
suites without one pay nothing and have no reactor chosen for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from txetcd.testing import Certificates, InMemoryServer, LiveServer


@pytest.fixture
def txetcd() -> Iterator[InMemoryServer]:
    """A server in memory, for one test: `txetcd.testing.InMemoryServer`."""
    from txetcd.testing import InMemoryServer

    with InMemoryServer() as server:
        yield server


@pytest.fixture(scope="session")
def txetcd_certificates() -> Certificates:
    """Certificates for mutual TLS, the same for all tests: `txetcd.testing.Certificates`."""
    from txetcd.testing import certificates

    return certificates()


@pytest.fixture
def txetcd_live() -> Iterator[LiveServer]:
    """A server on a port of the loopback interface, for one test that pytest-twisted runs."""
    yield from _live()


@pytest.fixture
def txetcd_tls(txetcd_certificates: Certificates) -> Iterator[LiveServer]:
    """The same over HTTPS, for clients that show a certificate."""
    yield from _live(certificates=txetcd_certificates)


def _live(**options: Any) -> Iterator[LiveServer]:
    import pytest_twisted  # type: ignore[import-untyped]
    from twisted.internet import reactor

    from txetcd.testing import LiveServer

    server = LiveServer(reactor, **options)  # type: ignore[arg-type]
    server.start()
    yield server
    pytest_twisted.blockon(server.stop())
