"""A slide in a bucket whose store fails while it is read: the same mask, or one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from buckets import Bucket, emulated
from synthetic import files_of, tissue_like, write_model, write_slide
from wsi_segment.service.cli.main import main

FAULTS = ("503", "cut")


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with emulated() as running:
        yield running


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spoiled")
    write_slide(folder / "s.tiff", tissue_like(2500, 2500), levels=2, compression=None)  # too large to come as a whole
    write_model(folder / "model")
    return folder


def command(slide: str, folder: Path, out: Path) -> list[str]:
    return [slide, "--model", str(folder / "model"), "--out", str(out), "--overlap", "0", "--workers", "2", "--quiet"]


def test_a_store_that_fails_while_a_slide_is_read(
    bucket: Bucket, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.client.upload_file(str(made / "s.tiff"), bucket.name, "s.tiff")
    there = f"s3://{bucket.name}/s.tiff"
    assert main(command(there, made, tmp_path / "undisturbed.zarr")) == 0
    undisturbed = files_of(tmp_path / "undisturbed.zarr")
    for kind in FAULTS:
        spoiled = list[int]()

        def every_tenth(number: int, method: str, path: str, kind: str = kind) -> str | None:
            if number % 10:
                return None
            spoiled.append(number)  # noqa: B023
            return kind

        bucket.fault = every_tenth
        assert main(command(there, made, tmp_path / f"{kind}.zarr")) == 0
        assert len(spoiled) > 3
        assert files_of(tmp_path / f"{kind}.zarr") == undisturbed
    capsys.readouterr()
    for kind in ("403", "cut"):  # for good, in the middle of the run
        bucket.requests.clear()
        bucket.fault = lambda number, method, path, kind=kind: kind if number > 20 else None  # type: ignore[misc]
        out = tmp_path / f"{kind} for good.zarr"
        assert main(command(there, made, out)) in (1, 2)
        [said] = capsys.readouterr().err.splitlines()
        assert "s.tiff" in said
        assert not out.exists()
        bucket.fault = lambda number, method, path: None
        assert main(command(there, made, out)) == 0
        assert files_of(out) == undisturbed
        capsys.readouterr()
