"""Where operators read on: the places exist, and each error that ends a program is printed with its own."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.documents import CHECKOUT
from tests.test_documents import anchors
from txetcd import pages
from txetcd.ca import command as ca
from txetcd.moving import command as moving
from txetcd.server import StartError
from txetcd.tap import Options

PLACES = {name: place for name, place in vars(pages).items() if name.isupper() and name[0] != "_"}


class PlacesTests(SynchronousTestCase):
    def test_they_exist(self) -> None:
        self.assertGreater(len(PLACES), 5)
        for name, place in PLACES.items():
            path, _, anchor = place.partition("#")
            self.assertIn(anchor, anchors(CHECKOUT / path), name)

    def test_each_is_one_of_its_own(self) -> None:
        self.assertEqual(len(set(PLACES.values())), len(PLACES))


class PrintedTests(SynchronousTestCase):
    """What each program ends with."""

    def setUp(self) -> None:
        self.patch(os, "environ", {})
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def assert_ends(self, page: str, ended: SystemExit) -> None:
        self.assertRegex(str(ended.code), rf"\Atxetcd.*: .*; more in {page}\Z")

    def test_server(self) -> None:
        for page, arguments in (
            (pages.OPTIONS, ["--no-such-option"]),
            (pages.OPTIONS, [f"--engine-user-file={self.directory}/none", "--engine=etcd://h:1/p"]),
            (pages.CERTIFICATES, [f"--cert-file={self.directory}/none", "--key-file=none"]),
        ):
            self.assert_ends(page, self.assertRaises(SystemExit, Options().parseOptions, arguments))

    def test_other_commands(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            for name, arguments in (("backup", ["--data-dir", str(self.directory), "f"]), ("export", ["-x"])):
                self.assert_ends(pages.MOVING, self.assertRaises(SystemExit, moving.main, name, arguments))
        there = ["server", "--dir", str(self.directory), "localhost"]
        self.assert_ends(pages.CA, self.assertRaises(SystemExit, ca.main, there))

    def test_start(self) -> None:
        """Its errors say what they are about."""
        error = StartError("--data-dir d: is damaged", pages.DATA)
        self.assertEqual(
            pages.with_page(error, error.page), f"--data-dir d: is damaged; more in {pages.DATA}"
        )
        self.assertEqual(StartError("something else").page, pages.START)
