"""Passwords: what is kept of one, and whether another is the same.

Both functions take tens of milliseconds and 32 MiB, on purpose; call them where that holds up nobody.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re

# The cost of a guess, to whoever has got hold of what is kept: 2**15 blocks of 8 * 128 bytes.
LOG_N, R, P = 15, 8, 1
_SALT = 16
_SIZE = 32

UNKNOWN = f"$scrypt$ln={LOG_N},r={R},p={P}${'A' * 22}${'A' * 43}"
"""As if kept of a password that nobody knows; to check one against it takes as long as against any."""

_KEPT = re.compile(r"\$scrypt\$ln=(\d+),r=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)", re.ASCII)


def hash_password(password: bytes) -> str:
    """Make what is kept of a password: scrypt with its parameters and a salt of its own, as text."""
    salt = os.urandom(_SALT)
    digest = _scrypt(password, salt, LOG_N, R, P)
    return f"$scrypt$ln={LOG_N},r={R},p={P}${_encode(salt)}${_encode(digest)}"


def verify_password(password: bytes, kept: str) -> bool:
    """Whether that is the password of which `kept` was made."""
    match = _KEPT.fullmatch(kept)
    if match is None:
        return False
    log_n, r, p = (int(number) for number in match.group(1, 2, 3))
    salt, digest = (_decode(text) for text in match.group(4, 5))
    return hmac.compare_digest(_scrypt(password, salt, log_n, r, p), digest)


def _scrypt(password: bytes, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    # OpenSSL wants to be allowed a little more than it needs.
    memory = 2 * 128 * r * ((1 << log_n) + p)
    return hashlib.scrypt(password, salt=salt, n=1 << log_n, r=r, p=p, maxmem=memory, dklen=_SIZE)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
