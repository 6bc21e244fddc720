"""Files below one name: what is put there, and how much memory that takes."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from synthetic import files_of
from wsi_segment.inference.places.folder import LocalFolder, PackedFiles

MIB = 1 << 20


def test_packed_files_are_put_without_being_held_as_a_whole(tmp_path: Path) -> None:
    """Metadata of 100,000 regions is 27 MiB of text, which a client of a cluster must not hold beside all else."""
    files = {"empty": b"", "small": b"{}", "labels/large": b'"0,0": {"sha256": "aa"},' * (MIB // 2)}
    packed = PackedFiles(files)
    tracemalloc.start()
    try:
        LocalFolder(tmp_path).put(packed)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert files_of(tmp_path) == files
    assert peak < 4 * MIB < len(files["labels/large"])
