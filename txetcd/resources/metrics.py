"""`/metrics`: the figures of a server, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from twisted.web.server import Request

from txetcd.resources.endpoint import Endpoint


class Metrics(Endpoint):
    """Answers with the figures.

    @param expose: gives their text, in the format that every Prometheus reads.
    """

    content_type: ClassVar[bytes] = b"text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, expose: Callable[[], str]) -> None:
        super().__init__()
        self._expose = expose

    def body(self, request: Request) -> str:
        """The text."""
        return self._expose()
