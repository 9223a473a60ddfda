"""What only pytest needs to know."""

from __future__ import annotations

import os
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path

import pytest

# For the tests of `benchmarks`, which is not installed.  Last, so that an installed txetcd is found first.
sys.path.append(str(Path(__file__).parent.parent))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run TestCase classes first.

    pytest-twisted parks the reactor at the first test that is a function, and a `TestCase` that needs the
    reactor fails from then on.
    """
    items.sort(key=lambda item: not issubclass(getattr(item, "cls", None) or object, unittest.TestCase))


@pytest.fixture(scope="session", autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run in a scratch directory, as trial does: a TestCase's `mktemp` makes its files where it runs."""
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("scratch"))
    yield
    os.chdir(before)
