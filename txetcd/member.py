"""A server as it tells clients, and other servers of the same key space, of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """One server of a key space.

    @ivar name: its name.
    @ivar client_urls: where clients reach it; at least one.
    """

    name: str
    client_urls: tuple[str, ...]
