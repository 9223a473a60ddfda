"""Listings that are kept: the same answer as one made anew, whatever has happened, and bounded."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

from rpds import HashTrieMap
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.http_harness import conversation
from txetcd.journal.memory import MemoryJournal
from txetcd.resources import keys
from txetcd.resources.keys import KeysResource
from txetcd.resources.listings import SMALL, Listings
from txetcd.site import Site
from txetcd.store import Store
from txetcd.tree import Dir, listing_json


def directory(key: str = "/d") -> Dir:
    return Dir(key, HashTrieMap(), 1, 1)


def text(size: int, extra: str = "") -> bytes:
    """A listing of so many bytes."""
    begin = '{"action":"get","node":{"key":"/d","dir":true,"nodes":[{"key":"/d/a","value":"'
    return (begin + "x" * (size - len(begin) - len(extra)) + extra).encode()


class ListingsTests(SynchronousTestCase):
    """`Listings`"""

    def test_of_this_very_directory(self) -> None:
        listings, one, equal = Listings(), directory(), directory()
        listings.keep(one, False, text(SMALL))
        self.assertEqual(listings.get(one, False, False), text(SMALL))
        self.assertIsNone(listings.get(equal, False, False))
        self.assertIsNone(listings.get(one, True, False))
        self.assertIsNone(listings.get(one, False, True))
        listings.keep_compressed(one, False, b"packed")
        self.assertEqual(listings.get(one, False, True), b"packed")
        self.assertEqual(listings.size, SMALL + 6)

    def test_one_of_each_key(self) -> None:
        """An old directory, with all that was in it, is let go as soon as a newer one is listed."""
        listings, old, new = Listings(), directory(), directory()
        listings.keep(old, True, text(SMALL))
        listings.keep_compressed(old, True, b"packed")
        listings.keep(new, True, text(SMALL + 1))
        self.assertIsNone(listings.get(old, True, False))
        self.assertIsNone(listings.get(old, True, True))
        self.assertEqual(listings.size, SMALL + 1)
        listings.keep(directory(), True, b"small")
        self.assertEqual(listings.size, 0)

    def test_not_worth_it_or_not_for_ever(self) -> None:
        listings, one = Listings(), directory()
        listings.keep(one, True, text(SMALL - 1))
        listings.keep(one, True, text(SMALL, '","expiration":"2026-01-01T00:00:00Z","ttl":9}'))
        listings.keep_compressed(one, True, b"packed")
        self.assertEqual(listings.size, 0)

    def test_with_more_in_it_than_it_shows(self) -> None:
        listings, one = Listings(), directory()
        shown = text(SMALL, '"},{"key":"/d/sub","dir":true}')
        listings.keep(one, False, shown)
        self.assertEqual(listings.size, 0)
        listings.keep(one, True, shown)
        self.assertEqual(listings.size, SMALL)

    def test_room(self) -> None:
        listings = Listings(room=2 * SMALL + 10)
        first, second, third = (directory(key) for key in ("/1", "/2", "/3"))
        listings.keep(first, False, text(SMALL))
        listings.keep(second, False, text(SMALL))
        # What was asked for lately stays.
        listings.get(first, False, False)
        listings.keep(third, False, text(SMALL))
        self.assertIsNone(listings.get(second, False, False))
        self.assertIsNotNone(listings.get(first, False, False))
        self.assertIsNotNone(listings.get(third, False, False))
        self.assertEqual(listings.size, 2 * SMALL)

    def test_too_large(self) -> None:
        listings, one = Listings(room=SMALL), directory()
        listings.keep(one, False, text(SMALL + 1))
        self.assertEqual(listings.size, 0)
        self.assertIsNone(listings.get(one, False, False))


class KeptListingsTests(SynchronousTestCase):
    """What `/v2/keys` answers while it keeps listings."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.now = 1_700_000_000_000_000_000
        self.store = Store(MemoryJournal(), self.clock, now=lambda: self.now)
        self.store.startService()
        self.addCleanup(self.store.stopService)
        self.site = Site(KeysResource(self.store), self.clock)

    def put(self, key: str, value: str, ttl: int | None = None) -> None:
        done = self.store.set(key, value, ttl=ttl)
        self.clock.advance(0)
        self.successResultOf(done)

    def listing(self, *, packed: bool = False) -> bytes:
        headers = [("Accept-Encoding", "gzip")] if packed else []
        response = conversation(self.site).request("GET", "/d?recursive=true", headers)
        body: bytes = response.body
        return gzip.decompress(body) if response.header("Content-Encoding") == "gzip" else body

    def test_same_object_until_a_write(self) -> None:
        made: list[object] = []

        def counting(*arguments: Any, **keywords: Any) -> Iterator[str]:
            made.append(arguments)
            return listing_json(*arguments, **keywords)

        self.patch(keys, "listing_json", counting)
        self.put("/d/a", "1" * 5000)
        self.put("/d/sub/b", "2")
        first = self.listing()
        self.assertEqual([self.listing(), self.listing(packed=True), self.listing(packed=True)], [first] * 3)
        self.assertEqual(len(made), 1)
        self.put("/elsewhere", "3")
        self.assertEqual(self.listing(), first)
        self.assertEqual(len(made), 1)
        self.put("/d/sub/b", "4")
        for packed in False, True:
            self.assertIn(b'"value":"4"', self.listing(packed=packed))
        self.assertEqual(len(made), 2)

    def test_ttl_counts_down(self) -> None:
        self.put("/d/a", "1", ttl=100)
        self.assertIn(b'"ttl":100', self.listing())
        self.now += 30_000_000_000
        self.assertIn(b'"ttl":70', self.listing())

    def test_a_value_that_looks_like_a_ttl(self) -> None:
        self.put("/d/a", ',"expiration":"')
        self.assertEqual(self.listing(), self.listing())
