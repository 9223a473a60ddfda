"""Hostile clients, real server processes: the attacks of `tests.hostile` in short, and too few descriptors.

What counts is that the server answers afterwards, that its descriptors come back and that its log has no
traceback.
"""

from __future__ import annotations

import resource
import socket
import unittest
from collections.abc import Mapping

from tests.e2e import TWISTD, EndToEndCase, ServerProcess, free_port
from tests.hostile import attacks, tls_attacks
from tests.hostile.attacks import Plan
from tests.hostile.good import GoodClient
from tests.hostile.swarm import Swarm
from tests.hostile.target import Target, issue
from tests.hostile.vitals import UNKNOWN, processor, settled, vitals

# Seconds that an attack lasts.
HOLD = 0.2
# Seconds that the server has to let go of what is gone.
PATIENCE = 20.0


@unittest.skipIf(bool(UNKNOWN), UNKNOWN)
class AttackTests(EndToEndCase):
    def attack(self, plans: Mapping[str, Plan], secure: bool) -> None:
        """Attack one server in all these ways; a good client is answered all the while."""
        more = issue(self.directory) if secure else ()
        server = self.start("--idle-timeout=1", *more)
        target = Target(server.port, server.process.pid, self.directory, secure)
        # With the first write it has what it needs for the database.
        GoodClient(target).end()
        before = vitals(target.pid)
        for name, plan in plans.items():
            good = GoodClient(target)
            plan.attack(target, plan.short, HOLD)
            fared = good.end()
            self.assertGreater(fared.answers, 0, name)
            self.assertEqual(fared.failures, 0, name)
            after = settled(target.pid, before.descriptors, PATIENCE)
            self.assertLessEqual(after.descriptors, before.descriptors, name)
            self.assertNotIn("Traceback", server.output, name)
        server.stop()

    def test_plain(self) -> None:
        self.attack(attacks.ATTACKS, secure=False)

    def test_tls(self) -> None:
        self.attack(tls_attacks.ATTACKS, secure=True)


@unittest.skipIf(bool(UNKNOWN), UNKNOWN)
class DescriptorTests(EndToEndCase):
    """Servers that may have few descriptors"""

    LIMIT = 64

    def limited(self, soft: int, hard: int) -> ServerProcess:
        """Start a server with these limits."""
        port = free_port()
        shell = f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"'
        command = ["sh", "-c", shell, "sh", *TWISTD, "--data-dir=data", f"--addr=127.0.0.1:{port}"]
        server = self.launch(command, port)
        server.wait_for("Serving on")
        return server

    def test_limit_is_raised(self) -> None:
        server = self.limited(self.LIMIT, 2 * self.LIMIT)
        self.assertEqual(resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE), (128, 128))
        self.assertIn("--max-connections 10000: does not fit into the limit of 128 open files", server.output)
        server.stop()

    def test_accepting_pauses_and_goes_on(self) -> None:
        server = self.limited(self.LIMIT, self.LIMIT)
        pid = server.process.pid
        inside = server.client()
        self.addCleanup(inside.close)
        inside.request("PUT", "/v2/keys/a", value="1")
        before = vitals(pid)
        with Swarm(server.port, 3 * self.LIMIT) as swarm:
            server.wait_for("new connections wait")
            self.assertEqual(len(swarm.sockets), 3 * self.LIMIT)
            used = processor(pid)
            # Those who are in are served, and what they write gets to the disk.
            for number in range(200):
                self.assertEqual(inside.request("PUT", "/v2/keys/a", value=number).status, 200)
            self.assertLess(vitals(pid).descriptors, self.LIMIT)
            self.assertLess(processor(pid) - used, 2.0)
            # Nobody has been sent away.
            self.assertEqual([each for each in swarm.sockets if closed(each)], [])
        self.assertEqual(server.request("GET", "/v2/keys/a").status, 200)
        self.assertLessEqual(
            settled(pid, before.descriptors + 1, PATIENCE).descriptors, before.descriptors + 4
        )
        self.assertEqual(server.output.count("new connections wait"), 1)
        self.assertNotIn("EMFILE", server.output)
        server.stop()


def closed(connection: socket.socket) -> bool:
    """Whether the server has ended a connection on which it has said nothing."""
    try:
        connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
