"""What only pytest needs to know."""

from __future__ import annotations

import unittest

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run TestCase classes first.

    pytest-twisted parks the reactor at the first test that is a function, and a `TestCase` that needs the
    reactor fails from then on.
    """
    items.sort(key=lambda item: not issubclass(getattr(item, "cls", None) or object, unittest.TestCase))
