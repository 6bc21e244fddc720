"""Stores as archives: how they are sent, and what is in them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from wsi_segment.service.api.viewing.store_zip import zipped


def test_no_more_of_a_store_than_a_piece_is_in_memory(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    (store / "0").mkdir(parents=True)
    (store / "zarr.json").write_text("{}")
    with (store / "0" / "chunk").open("wb") as file:
        file.truncate(32 << 20)
    for index in range(5):
        (store / "0" / f"small{index}").write_bytes(bytes([index]) * 1000)
    pieces = list(zipped(store))
    assert len(pieces) > 16
    assert max(len(piece) for piece in pieces) < 3 << 20
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert archive.getinfo("0/chunk").file_size == 32 << 20
        assert archive.namelist() == ["zarr.json", "0/chunk", *(f"0/small{index}" for index in range(5))]
        assert archive.read("0/small4") == b"\x04" * 1000


def test_what_a_link_brings_in_from_outside_is_left_out(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    store.mkdir()
    (store / "zarr.json").write_text("{}")
    (tmp_path / "other").write_text("none of the store's")
    (store / "linked").symlink_to(tmp_path / "other")
    (store / "folder").symlink_to(tmp_path, target_is_directory=True)
    with zipfile.ZipFile(io.BytesIO(b"".join(zipped(store)))) as archive:
        assert archive.namelist() == ["zarr.json"]
