"""The etcd v2 HTTP API as a Twisted server, and as Twisted Resources to mount.

Authors of Twisted applications find here what they need: a `Store` on a journal, and the Resources that serve
it.
"""

from __future__ import annotations

from txetcd.errors import EtcdError
from txetcd.events import Event
from txetcd.journal import JournalError
from txetcd.journal.memory import MemoryJournal
from txetcd.journal.sqlite import SQLiteJournal
from txetcd.resources.api import API
from txetcd.resources.keys import KeysResource
from txetcd.store import Store
from txetcd.tree import Dir, File

__version__ = "0.1.0"

__all__ = [
    "API",
    "Dir",
    "EtcdError",
    "Event",
    "File",
    "JournalError",
    "KeysResource",
    "MemoryJournal",
    "SQLiteJournal",
    "Store",
]
