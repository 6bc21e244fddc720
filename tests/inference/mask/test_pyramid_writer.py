from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.grid.region import CHUNK
from wsi_segment.inference.mask.ngff import OmeZarrVersion
from wsi_segment.inference.mask.pyramid_writer import PyramidWriter

SIDE = 2 * CHUNK


def _written(version: OmeZarrVersion, plane: np.ndarray) -> tuple[PyramidWriter, dict[str, Buffer]]:
    """Return a pyramid of one level, and what zarr's own arrays make of a plane at once."""
    files: dict[str, Buffer] = {}
    group = zarr.create_group(MemoryStore(files), zarr_format=3 if version == "0.5" else 2)
    PyramidWriter.create(group, (plane.shape,), channels=None, version=version, region_size=SIDE, compression_level=1)
    metadata = set(files)
    group["0"][:] = plane  # type: ignore[index]
    return PyramidWriter.open(group, SIDE, lambda ids: ids), {key: files[key] for key in files.keys() - metadata}


def _encoded(writer: PyramidWriter, plane: np.ndarray) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for m_box in Box(0, 0, plane.shape[1], plane.shape[0]).tiles(SIDE):
        ids = plane[m_box.y0 : m_box.y1, m_box.x0 : m_box.x1]
        found |= writer.encode(0, m_box.y0, m_box.x0, ids, channel=None)
    return found


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@settings(deadline=None, max_examples=15)
@given(
    shape=st.tuples(st.integers(1, 2 * SIDE), st.integers(1, 2 * SIDE)),
    empty=st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3))),
)
def test_shards_are_what_zarr_makes_of_them_whichever_chunks_are_empty(
    version: OmeZarrVersion, shape: tuple[int, int], empty: set[tuple[int, int]]
) -> None:
    plane = np.random.default_rng(0).integers(0, 3, shape, np.uint8)
    for y, x in empty:
        plane[y * CHUNK : (y + 1) * CHUNK, x * CHUNK : (x + 1) * CHUNK] = 0
    writer, made = _written(version, plane)
    assert _encoded(writer, plane) == {key: content.to_bytes() for key, content in made.items()}
