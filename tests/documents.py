"""The documents as tests see them: where they are, and the code that they show."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
README = CHECKOUT / "README.md"
HTTPS = CHECKOUT / "docs" / "https.md"
API = CHECKOUT / "docs" / "api.md"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def documents() -> list[Path]:
    """All of them."""
    return [README, *sorted((CHECKOUT / "docs").glob("*.md"))]


def code_blocks(path: Path, language: str) -> list[str]:
    """The blocks of code in one language, in order."""
    return [text for name, text in _FENCE.findall(path.read_text("utf-8")) if name == language]


def commands(path: Path, program: str) -> list[str]:
    """The lines in shell blocks that run a program."""
    lines = (line for block in code_blocks(path, "sh") for line in block.splitlines())
    return [line for line in lines if line.startswith(f"{program} ")]


def prose(path: Path) -> str:
    """The text without the blocks of code."""
    return _FENCE.sub("", path.read_text("utf-8"))
