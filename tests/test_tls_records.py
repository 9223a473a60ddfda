"""txetcd.tls.records: which pieces of a stream are one record."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import properties
from txetcd.tls.records import Records


def record(kind: int, size: int) -> bytes:
    return bytes((kind, 3, 3, size >> 8, size & 255)) + bytes(size)


class RecordsTests(SynchronousTestCase):
    def answers(self, *pieces: bytes) -> list[bool]:
        records = Records()
        return [records.is_one(piece) for piece in pieces]

    def test_one_at_a_time(self) -> None:
        self.assertEqual(self.answers(record(23, 30), record(23, 1), record(23, 16_400)), [True] * 3)

    def test_messages_of_tls(self) -> None:
        """They are followed, and are not what is asked for."""
        self.assertEqual(self.answers(record(22, 30), record(21, 2), record(23, 9)), [False, False, True])

    def test_several_together(self) -> None:
        self.assertEqual(self.answers(record(23, 30) * 2, record(23, 30)), [False, True])

    def test_what_looks_like_a_record_within_another(self) -> None:
        self.assertEqual(self.answers(record(23, 70)[:10], record(23, 30)), [False, False])

    @properties
    @given(st.lists(st.tuples(st.sampled_from((20, 21, 22, 23)), st.integers(0, 40))), st.data())
    def test_any_pieces(self, kinds: list[tuple[int, int]], data: st.DataObject) -> None:
        """However a stream is cut, those pieces are told that are a record of data."""
        stream = b"".join(record(*kind) for kind in kinds)
        starts = [sum(5 + size for _, size in kinds[:n]) for n in range(len(kinds) + 1)]
        whole = {(starts[n], starts[n + 1]) for n, (kind, size) in enumerate(kinds) if kind == 23 and size}
        cuts = {0, len(stream), *data.draw(st.lists(st.sampled_from(starts)))}
        cuts.update(data.draw(st.lists(st.integers(0, len(stream)))))
        ends = sorted(cuts)
        records = Records()
        for begin, end in itertools.pairwise(ends):
            self.assertEqual(records.is_one(stream[begin:end]), (begin, end) in whole)
