"""Bytes that were fetched last: always the object's own, fetched once while they are kept, and bounded."""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence

from wsi_segment.inference.allowance import Allowance
from wsi_segment.inference.places.kept_bytes import KEPT_BYTES, KeptBytes
from wsi_segment.inference.places.object_file import Parts

CONTENT = bytes(random.Random(1).randbytes(5000))


class Object:
    """Counts what is fetched of it."""

    def __init__(self) -> None:
        self.fetched: list[tuple[int, int]] = []

    def fetch(self, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        self.fetched += zip(starts, lengths, strict=True)
        return [CONTENT[start : start + length] for start, length in zip(starts, lengths, strict=True)]


def test_only_what_follows_a_kept_beginning_is_fetched() -> None:
    kept, source = KeptBytes(), Object()
    assert kept.ranges([100, 300], [50, 10], source.fetch) == [CONTENT[100:150], CONTENT[300:310]]
    assert kept.ranges([120, 300], [130, 10], source.fetch) == [CONTENT[120:250], CONTENT[300:310]]
    assert source.fetched == [(100, 50), (300, 10), (150, 100)]
    kept.ranges([100], [150], source.fetch)
    assert len(source.fetched) == 3


def test_the_same_part_asked_for_twice_at_once_is_fetched_once() -> None:
    kept, source = KeptBytes(), Object()
    assert kept.ranges([7, 7], [5, 5], source.fetch) == [CONTENT[7:12]] * 2
    assert source.fetched == [(7, 5)]


def test_any_order_of_parts_gives_the_bytes_of_the_object() -> None:
    rng = random.Random(2)
    for most in (0, 300, 10000):
        kept, source = KeptBytes(Allowance(most)), Object()
        for _ in range(2000):
            starts = [rng.randrange(4700) for _ in range(rng.randrange(1, 5))]
            lengths = [rng.randrange(300) for _ in starts]
            found = kept.ranges(starts, lengths, source.fetch)
            assert found == [CONTENT[start : start + length] for start, length in zip(starts, lengths, strict=True)]
            assert kept.nbytes <= max(most, 4 * 300)


def test_what_another_thread_fetched_meanwhile_is_kept_once() -> None:
    kept, source = KeptBytes(), Object()

    def meanwhile(starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        kept.ranges([150, 90, 240], [20, 30, 30], source.fetch)
        return source.fetch(starts, lengths)

    assert kept.ranges([100], [150], meanwhile) == [CONTENT[100:250]]
    assert kept.nbytes == 270 - 90
    assert kept.ranges([90], [180], lambda *missing: []) == [CONTENT[90:270]]


def test_none_of_them_travels() -> None:
    kept = KeptBytes()
    kept.ranges([0], [5000], Object().fetch)
    assert len(pickle.dumps(kept)) < 100


def test_what_is_kept_can_be_had_by_others_and_where_it_lies_is_told() -> None:
    kept, source = KeptBytes(), Object()
    kept.ranges([300, 100, 150], [100, 50, 30], source.fetch)
    assert kept.spans() == ((100, 180), (300, 400))
    found = kept.find([100, 120, 170, 300, 399, 500], [80, 10, 20, 100, 2, 1])
    assert found == [CONTENT[100:180], CONTENT[120:130], None, CONTENT[300:400], None, None]
    assert len(source.fetched) == 3


def test_all_objects_together_keep_no_more_than_one_may() -> None:
    """The oldest goes first, whichever object it is of; what nobody uses any more takes no room."""
    allowance = Allowance(1000)
    one, other, source = KeptBytes(allowance), KeptBytes(allowance), Object()
    one.ranges([0, 400], [400, 400], source.fetch)
    other.ranges([0], [400], source.fetch)
    assert (one.spans(), other.spans()) == (((400, 800),), ((0, 400),))
    other.ranges([1000], [100], source.fetch)
    assert one.nbytes + other.nbytes == allowance.nbytes == 900
    del other
    one.ranges([2000], [500], source.fetch)
    assert one.spans() == ((400, 800), (2000, 2500))
    assert one.nbytes == allowance.nbytes == 900


def test_parts_of_a_process_share_one_allowance() -> None:
    ours = [Parts().kept for _ in range(3)]
    for kept in ours:
        kept.ranges([0], [KEPT_BYTES // 2], lambda starts, lengths: [bytes(length) for length in lengths])
    assert sum(kept.nbytes for kept in ours) <= KEPT_BYTES
    assert ours[-1].nbytes == KEPT_BYTES // 2
