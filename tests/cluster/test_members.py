"""The clusters that tests run: real ones, with their faults."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.client_harness import eventually
from tests.cluster.members import Cluster, etcd_program
from tests.cluster.worlds import EtcdWorld

SKIP = None if etcd_program() else "there is no etcd"


class ClusterTests(SynchronousTestCase):
    skip = SKIP

    def test_certificates_and_passwords(self) -> None:
        """The leader is killed, and comes back; another leads meanwhile."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        cluster = Cluster(Path(temporary.name), tls=True, password="secret")
        self.addCleanup(cluster.close)
        cluster.start()
        self.assertEqual(cluster.endpoints, [member.client_url for member in cluster.members])
        self.assertTrue(all(url.startswith("https://127.0.0.1:") for url in cluster.endpoints))
        self.assertRaises(ValueError, cluster.members[0].call, "/v3/kv/range", {"key": "AA=="})
        self.assertGreaterEqual(cluster.revision(), 1)
        leader = cluster.leader()
        leader.kill()
        self.assertNotEqual(cluster.leader(), leader)
        leader.start()
        cluster.wait_healthy()


class IsolationTests(TestCase):
    skip = SKIP
    timeout = 120

    async def test_leader(self) -> None:
        """A leader that is cut off from its peers is replaced, but still serves plain reads."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        world = EtcdWorld(reactor, Path(temporary.name))
        self.addCleanup(lambda: Deferred.fromCoroutine(world.close()))

        def isolate() -> None:
            world.start()
            leader = world.cluster.leader()
            world.isolate_leader()
            eventually(lambda: world.cluster.leader() is not leader)
            self.assertFalse(leader.healthy())
            self.assertEqual(leader.call("/v2/keys/")["action"], "get")
            world.heal()
            world.cluster.wait_healthy()

        await deferToThread(isolate)
