"""The clusters that tests run: real ones, with their faults."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.members import Cluster, etcd_program

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
