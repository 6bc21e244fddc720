from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_segment.errors import OutputError
from wsi_segment.inference.mask.ledger import FinishedRegion, FinishedRegions, Ledger, RunIdentity
from wsi_segment.inference.places.ledger_records import LEDGER_FILE, LineRecords

RUN = {"model.sha256": "a", "parameters.overlap": 0.25}
IDENTITY = RunIdentity(RUN)


ROWS, COLUMNS = 10, 10


def resumed(folder: Path, run: RunIdentity = IDENTITY) -> Ledger:
    """The ledger of a run that starts, or goes on, in a folder."""
    ledger = Ledger(LineRecords(folder))
    ledger.begin(run)
    for _ in ledger.read(ROWS, COLUMNS):
        pass
    ledger.records.close()
    return ledger


def fill(folder: Path, count: int) -> None:
    records = resumed(folder).records
    for index in range(count):
        region = FinishedRegion(f"0,{index}", (1, 2, 3), 4, "ab")
        records.add(region.key, region.record)
    records.close()


def test_finished_regions_come_back(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    again = resumed(tmp_path)
    assert again.finished["0,2"] == FinishedRegion("0,2", (1, 2, 3), 4, "ab")
    assert len(again.finished) == 3


@pytest.mark.parametrize(
    "record",
    [
        FinishedRegion("0,-2", (9, 9, 9), 9, "cd").record,
        FinishedRegion("0,1000000000", (9, 9, 9), 9, "cd").record,
        FinishedRegion(f"{ROWS},0", (9, 9, 9), 9, "cd").record,
        FinishedRegion("0, 1", (9, 9, 9), 9, "cd").record,
        FinishedRegion("0", (9, 9, 9), 9, "cd").record,
        b'{"key":7,"pixels":[],"windows":1,"sha256":"cd"}',
        b'{"key":"0,9"}',
        b"[]",
        b"of another program",
    ],
)
def test_a_record_that_is_of_no_region_of_the_mask_is_as_if_never_written(tmp_path: Path, record: bytes) -> None:
    records, regions = (
        resumed(tmp_path).records,
        [FinishedRegion(f"0,{index}", (1, 2, 3), 4, "ab") for index in (0, 2, 3)],
    )
    for body in (regions[0].record, regions[1].record, record, regions[2].record):
        records.add("", body)
    records.close()
    assert list(resumed(tmp_path).finished.values()) == regions


def test_another_run_is_refused_with_the_difference_named(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    other = RunIdentity(RUN | {"parameters.overlap": 0.5})
    with pytest.raises(OutputError, match=r"parameters.overlap = 0.25, this run has 0.5"):
        resumed(tmp_path, other)


def test_another_version_is_named_before_what_comes_of_it(tmp_path: Path) -> None:
    old = RUN | {"versions.numpy": "1", "versions.wsi-segment": "0.1.0"}
    resumed(tmp_path, RunIdentity(old))
    new = RUN | {"parameters.added": True, "versions.numpy": "2", "versions.wsi-segment": "0.2.0"}
    with pytest.raises(OutputError, match=r"versions.wsi-segment = 0.1.0, this run has 0.2.0"):
        resumed(tmp_path, RunIdentity(new))


def test_a_ledger_without_a_whole_first_line_is_no_run(tmp_path: Path) -> None:
    assert Ledger(LineRecords(tmp_path)).started is None
    fill(tmp_path, 0)
    assert Ledger(LineRecords(tmp_path)).started == IDENTITY
    path = tmp_path / LEDGER_FILE
    path.write_bytes(path.read_bytes()[:-5])
    assert Ledger(LineRecords(tmp_path)).started is None
    assert not resumed(tmp_path, RunIdentity(RUN | {"parameters.overlap": 0.5})).finished


@given(cut=st.integers(0, 200), flip=st.integers(0, 255))
def test_a_torn_or_damaged_tail_is_as_if_never_written(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    fill(folder, 3)
    path = folder / LEDGER_FILE
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    keep = max(header, len(whole) - cut)
    torn = bytearray(whole[:keep])
    if flip and len(torn) > header:
        torn[-1] ^= flip
    path.write_bytes(bytes(torn))
    ledger = resumed(folder)
    intact = len(ledger.finished)
    assert intact == 3 or (intact < 3 and (cut or flip))
    ledger.records.add("9,9", FinishedRegion("9,9", (0, 0, 0), 0, "cd").record)
    ledger.records.close()
    assert len(resumed(folder).finished) == intact + 1


def test_finished_regions_are_listed_row_by_row_and_those_without_windows_share_what_they_hold() -> None:
    regions = [FinishedRegion(f"{row},{column}", (9, 0), 0, "".join("ab")) for row in (10, 2) for column in (11, 3)]
    regions.append(FinishedRegion("2,5", (4, 5), 1, "cd"))
    finished = FinishedRegions()
    for region in regions * 2:
        finished.add(region)
    assert list(finished) == ["2,3", "2,5", "2,11", "10,3", "10,11"]
    assert len(finished) == 5
    assert sorted(finished.values(), key=lambda region: region.key) == sorted(regions, key=lambda region: region.key)
    assert "2,4" not in finished
    assert "3,3" not in finished
    assert "2,99" not in finished


def test_regions_without_windows_that_differ_in_a_digest_share_nothing() -> None:
    regions = [FinishedRegion(f"0,{column}", (9,), 0, "ab", digest) for column, digest in enumerate((None, "cd", "ef"))]
    finished = FinishedRegions()
    for region in regions:
        finished.add(region)
    assert list(finished.values()) == regions


def test_a_place_of_a_finished_region_takes_few_bytes() -> None:
    """Whatever its object is; a slide may have 100,000, and nothing in most of them."""
    finished = FinishedRegions()
    tracemalloc.start()
    try:
        for row in range(100):
            for column in range(100):
                finished.add(FinishedRegion(f"{row},{column}", (9, 0), 0, "ab"))
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(finished) == 10_000
    assert taken < 20 * 10_000
