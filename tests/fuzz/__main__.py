"""Runs one target: see `tests.fuzz`."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def main(arguments: list[str]) -> None:
    """Fuzz the target that the first argument names; the rest is libFuzzer's."""
    if len(arguments) < 2 or arguments[1] not in ("channel", "query"):
        raise SystemExit("python -m tests.fuzz: name a target, channel or query")
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        raise SystemExit("python -m tests.fuzz: there is no atheris; pip install atheris") from None
    with atheris.instrument_imports(include=["txetcd"]):
        targets = importlib.import_module("tests.fuzz.targets")
    atheris.Setup([arguments[0], *arguments[2:]], getattr(targets, arguments[1]))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
