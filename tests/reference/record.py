"""Ask the real etcd, and write down what it says: C{python -m tests.reference.record [--etcd PATH]}.

etcd 3.4 is started with an empty store of its own and stopped again; C{answers.json} beside this file is
written anew.  It holds nothing that differs from one run to the next.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import quote

from tests.reference.conversation import KEYS, Answer, play
from tests.reference.differences import DIFFERENCES
from tests.reference.scripts import CONVERSATIONS

ANSWERS = Path(__file__).with_name("answers.json")


class Etcd:
    """A running etcd as a `tests.reference.conversation.Server`; each request has a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self, method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes | None
    ) -> Answer:
        """See `Server.ask`."""
        lines = [method + b" " + target + b" HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close"]
        lines += [name + b": " + value for name, value in headers]
        if body is not None:
            lines.append(b"Content-Length: %d" % len(body))
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(b"\r\n".join([*lines, b"", body or b""]))
            response = HTTPResponse(connection, method=method.decode())
            response.begin()
            text = response.read()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, fields, text)

    def pause(self, seconds: float) -> None:
        """See `Server.pause`."""
        time.sleep(seconds)

    def now(self) -> float:
        """See `Server.now`."""
        return time.time()

    def clear(self) -> None:
        """Delete all that is not hidden."""
        root = json.loads(self.ask(b"GET", KEYS.encode(), (), None).body)
        for node in root["node"].get("nodes", []):
            self.ask(b"DELETE", f"{KEYS}{quote(node['key'])}?recursive=true".encode(), (), None)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def running(program: str, *flags: str) -> Iterator[Etcd]:
    """An etcd with an empty store, for as long as the context lasts.

    @param flags: what it is started with besides.
    """
    directory = tempfile.mkdtemp(prefix="txetcd-reference-")
    client, peer = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
    command = [program, "--enable-v2", "--data-dir", directory, "--log-level", "error"]
    command += ["--listen-client-urls", client, "--advertise-client-urls", client]
    command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
    command += ["--initial-cluster", f"default={peer}", *flags]
    try:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError as error:
        shutil.rmtree(directory)
        raise SystemExit(f"--etcd {program}: {error.strerror}; name an etcd 3.4") from error
    try:
        etcd = Etcd(int(client.rpartition(":")[2]))
        _wait_for(etcd, process)
        yield etcd
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory)


def _wait_for(etcd: Etcd, process: subprocess.Popen[bytes]) -> None:
    """Wait until etcd has made all the writes of its start, which would move the index later on."""
    for _ in range(200):
        if process.poll() is not None:
            break
        try:
            version = json.loads(etcd.ask(b"GET", b"/version", (), None).body)
            if version["etcdcluster"] != "not_decided":
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("--etcd: etcd does not answer; run it by hand to see why")


def main() -> None:
    """Record all conversations, and what etcd says where txetcd differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--etcd", default="/usr/bin/etcd", help="the etcd 3.4 to ask (default %(default)s)")
    options = parser.parse_args()
    answers = {}
    with running(options.etcd) as etcd:
        conversations = {**CONVERSATIONS, **{name: entry.steps for name, entry in DIFFERENCES.items()}}
        for name, steps in conversations.items():
            answers[name] = play(name, steps, etcd)
            etcd.clear()
    text = json.dumps(answers, indent=1, sort_keys=True, ensure_ascii=True)
    ANSWERS.write_text(text + "\n", encoding="ascii")
    count = sum(len(told) for told in answers.values())
    sys.stdout.write(f"{count} answers in {len(answers)} conversations: {ANSWERS}\n")


if __name__ == "__main__":
    main()
