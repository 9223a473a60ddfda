"""What `tests.differential` has found, each as a test of its own.

Everything here was once answered otherwise than by the real etcd.
"""

from __future__ import annotations

from tests.store_harness import StoreTestCase, Told


class ExpiryTests(StoreTestCase):
    """Keys that run out together."""

    def test_key_that_ran_out_before_its_directory(self) -> None:
        """A watch on a key that has gone is not told that its directory goes; on one that is there, it is."""
        store = self.started()
        told = {key: Told() for key in ("/d/gone", "/d/there", "/d/never")}
        for key, watch in told.items():
            store.stream(key, watch.notify, watch.clear)
        self.done(store.set("/d/there"))
        self.done(store.set("/d/gone", ttl=1))
        self.clock.advance(0.1)
        self.done(store.update("/d", ttl=1))
        self.clock.advance(2)
        self.turn()
        self.assertEqual(
            {key: watch.actions for key, watch in told.items()},
            {
                "/d/gone": ["set /d/gone", "expire /d/gone"],
                "/d/there": ["set /d/there", "expire /d"],
                "/d/never": [],
            },
        )
