"""Whose a connection on this machine is, as Linux tells (sock_diag(7))."""

from __future__ import annotations

import os
import socket
import struct

_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST = 1
_ALL_STATES = 0xFFFFFFFF
_NO_COOKIE = (0xFFFFFFFF, 0xFFFFFFFF)
_LOOPBACK = socket.inet_aton("127.0.0.1")

_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBxI")
# The rest of an answer, up to the inode: its state, the socket's names, and counters.
_ANSWER = struct.Struct("=4B48x4xIIII")


def owns(pid: int | None, port: int, remote_port: int) -> bool:
    """Whether a process has the end at C{port} of a connection to C{remote_port}, both on 127.0.0.1."""
    if pid is None:
        return False
    name = f"socket:[{_inode(port, remote_port)}]"
    descriptors = f"/proc/{pid}/fd"
    return any(_target(f"{descriptors}/{number}") == name for number in os.listdir(descriptors))


def _inode(port: int, remote_port: int) -> int:
    """The socket's number; 0 if there is none."""
    addresses = struct.pack("!HH4s12x4s12x", port, remote_port, _LOOPBACK, _LOOPBACK)
    names = addresses + struct.pack("=III", 0, *_NO_COOKIE)
    question = _QUESTION.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, _ALL_STATES) + names
    header = _HEADER.pack(_HEADER.size + len(question), _SOCK_DIAG_BY_FAMILY, _REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.send(header + question)
        answer = kernel.recv(4096)
    if _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return 0
    return int(_ANSWER.unpack_from(answer, _HEADER.size)[-1])


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
