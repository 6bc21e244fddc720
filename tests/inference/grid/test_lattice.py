from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_segment.errors import InputError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.grid.lattice import Lattice, stride_of

lattices = st.builds(
    Lattice,
    width=st.integers(1, 900),
    height=st.integers(1, 900),
    window=st.just(128),
    stride=st.sampled_from([8, 32, 64, 96, 128]),
) | st.builds(
    Lattice,
    width=st.integers(1, 900),
    height=st.integers(1, 900),
    window=st.just(128),
    stride=st.sampled_from([8, 32, 64, 96]),
    margin=st.integers(0, 16),
)


def core_of(lattice: Lattice, row: int, column: int) -> Box:
    """The part of a window that the network gives classes for."""
    window, margin = lattice.box(row, column), lattice.margin
    return Box(window.x0 + margin, window.y0 + margin, window.x1 - margin, window.y1 - margin)


def test_the_first_core_starts_where_the_mask_does() -> None:
    lattice = Lattice(500, 500, 128, 60, margin=4)
    assert core_of(lattice, 0, 0) == Box(0, 0, 120, 120)
    with pytest.raises(ValueError, match="core of 120"):
        Lattice(500, 500, 128, 128, margin=4)


@given(lattices, st.data())
def test_every_pixel_lies_in_a_window(lattice: Lattice, data: st.DataObject) -> None:
    x, y = data.draw(st.integers(0, lattice.width - 1)), data.draw(st.integers(0, lattice.height - 1))
    rows, columns = lattice.touching(Box(x, y, x + 1, y + 1))
    assert len(rows) >= 1
    assert len(columns) >= 1


@given(lattices, st.data())
def test_touching_windows_are_exactly_those_that_share_a_pixel(lattice: Lattice, data: st.DataObject) -> None:
    x0, y0 = data.draw(st.integers(0, lattice.width - 1)), data.draw(st.integers(0, lattice.height - 1))
    box = Box(x0, y0, data.draw(st.integers(x0 + 1, lattice.width)), data.draw(st.integers(y0 + 1, lattice.height)))
    rows, columns = lattice.touching(box)
    expected = {
        (row, column)
        for row in range(lattice.rows)
        for column in range(lattice.columns)
        if not core_of(lattice, row, column).intersect(box).empty
    }
    assert {(row, column) for row in rows for column in columns} == expected


@given(lattices)
def test_no_window_lies_wholly_outside(lattice: Lattice) -> None:
    last = core_of(lattice, lattice.rows - 1, lattice.columns - 1)
    assert last.x0 < lattice.width
    assert last.y0 < lattice.height


def test_stride_is_whole_output_cells() -> None:
    assert [stride_of(overlap, 128, 8) for overlap in (0, 0.25, 0.5, 0.55)] == [128, 96, 64, 56]


@pytest.mark.parametrize("overlap", [-0.1, 1.0, float("nan")])
def test_overlap_out_of_range_names_the_flag(overlap: float) -> None:
    with pytest.raises(InputError, match="`overlap`"):
        stride_of(overlap, 128, 8)
