"""What other people's test suites import: v2 servers that start in a millisecond and do as told.

`InMemoryServer` needs no sockets and no reactor, its time is a `Clock`; `LiveServer` listens on a free port
of the loopback interface, with mutual TLS if it is given `Certificates`.  `TxetcdMixin` has either for a
trial test and stops it; the fixtures of pytest are in the module `pytest_txetcd`.
"""

from __future__ import annotations

from txetcd.testing.certificates import Certificates, certificates
from txetcd.testing.http import Response
from txetcd.testing.live import LiveServer
from txetcd.testing.memory import InMemoryServer
from txetcd.testing.trial import TxetcdMixin

__all__ = [
    "Certificates",
    "InMemoryServer",
    "LiveServer",
    "Response",
    "TxetcdMixin",
    "certificates",
]
