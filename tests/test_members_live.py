"""Two gateways on a real engine: who is listed, and clients that go to the other when one is killed."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from subprocess import run
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.client_harness import eventually
from tests.cluster.gateways import Gateway
from tests.cluster.members import Cluster, etcd_program
from tests.e2e import TIMEOUT, environment
from tests.test_client_etcdctl import ETCDCTLS
from txetcd.journal.etcd.members import BEAT, LEASE

# It has no type hints.  (The name `suppress` alone would mean something to trial.)
etcd: Any = None
with contextlib.suppress(ImportError):
    etcd = importlib.import_module("etcd")

# Seconds that the engine and this machine may add.
SLACK = 3.0


class GatewaysTests(SynchronousTestCase):
    skip = None if etcd_program() else "there is no etcd"

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        cluster = Cluster(self.directory, size=1)
        self.addCleanup(cluster.close)
        cluster.start()
        engine = cluster.members[0].client_url.replace("http://", "etcd://")
        self.one, self.two = (self.gateway(name, f"--name={name}", f"--engine={engine}/p") for name in "ab")
        eventually(lambda: self.machines(self.one) == [self.one.url, self.two.url])

    def gateway(self, name: str, *options: str) -> Gateway:
        gateway = Gateway(name, self.directory, options)
        self.addCleanup(gateway.kill)
        gateway.start()
        gateway.wait_healthy()
        return gateway

    def get(self, gateway: Gateway, path: str) -> bytes:
        connection = HTTPConnection("127.0.0.1", gateway.port, timeout=TIMEOUT)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def machines(self, gateway: Gateway) -> list[str]:
        return self.get(gateway, "/v2/machines").decode().split(", ")

    def took(self, condition: Callable[[], object]) -> float:
        """Wait for it; how many seconds that was."""
        began = time.monotonic()
        eventually(condition)
        return time.monotonic() - began

    def test_they_agree(self) -> None:
        """Each names the same members, and the same leader; one that is stopped is gone at once."""
        for path in ("/v2/members", "/v2/members/leader", "/v2/leader", "/v2/machines", "/v2/stats/leader"):
            self.assertEqual(self.get(self.one, path), self.get(self.two, path), path)
        leader = json.loads(self.get(self.two, "/v2/members/leader"))
        self.assertEqual((leader["name"], leader["clientURLs"]), ("a", [self.one.url]))
        self.assertEqual(self.states(), ["StateLeader", "StateFollower"])
        assert self.one.pid is not None
        os.kill(self.one.pid, signal.SIGTERM)
        self.assertLess(self.took(lambda: self.machines(self.two) == [self.two.url]), BEAT + SLACK)
        self.one.start()
        self.one.wait_healthy()
        eventually(lambda: self.machines(self.two) == [self.two.url, self.one.url])
        self.assertEqual(self.states(), ["StateFollower", "StateLeader"])

    def states(self) -> list[str]:
        return [json.loads(self.get(each, "/v2/stats/self"))["state"] for each in (self.one, self.two)]

    def test_one_is_killed(self) -> None:
        """Clients go on with the other, to which they are led soon."""
        began = [self.python_etcd(), self.etcdctl()]
        self.one.kill()
        gone = time.monotonic()
        for end in began:
            end()
        eventually(lambda: self.machines(self.two) == [self.two.url])
        self.assertLess(time.monotonic() - gone, LEASE + BEAT + SLACK)

    def python_etcd(self) -> Callable[[], None]:
        """It is told of both."""
        if etcd is None:
            return lambda: None
        client = etcd.Client(host="127.0.0.1", port=self.one.port, allow_reconnect=True, read_timeout=10)
        written = client.write("/python", "1")

        def end() -> None:
            self.assertEqual(client.read("/python", quorum=True).value, "1")
            self.assertEqual(client.base_uri, self.two.url)
            self.assertEqual(client.write("/python", "2", prevIndex=written.modifiedIndex).value, "2")

        return end

    def etcdctl(self) -> Callable[[], None]:
        """It is given both."""
        endpoints = f"--endpoints={self.one.url},{self.two.url}"

        def ctl(program: str, *arguments: str) -> str:
            environ = {**environment(self.directory), "ETCDCTL_API": "2"}
            command = [program, endpoints, *arguments]
            return run(command, capture_output=True, text=True, timeout=TIMEOUT, env=environ).stdout.strip()

        for version, program in ETCDCTLS.items():
            self.assertEqual(ctl(program, "set", f"/{version}", "1"), "1")

        def end() -> None:
            for version, program in ETCDCTLS.items():
                # It begins with one that it draws.
                self.assertEqual([ctl(program, "get", f"/{version}") for _ in range(4)], ["1"] * 4)
                self.assertEqual(ctl(program, "set", f"/{version}", "2"), "2")
                self.assertEqual(ctl(program, "get", "-q", f"/{version}"), "2")

        return end
