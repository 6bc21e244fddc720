"""A look at the installation: what works here, and what does not."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HELP = "Check this installation: versions, network providers, codecs, disk, database, and a small run."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``wsi-segment doctor``."""
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        default=Path("wsi-data"),
        metavar="FOLDER",
        help="the service's data folder (default: %(default)s)",
    )
    add("--database", metavar="URL", help="the service's database, if it uses PostgreSQL")


def run(args: argparse.Namespace) -> int:
    """Run all checks; return 1 where one failed."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("versions", _versions),
        ("providers", _providers),
        ("codecs", _codecs),
        ("disk", lambda: _disk(args.data)),
        ("database", lambda: _database(args.data, args.database)),
        ("self-test", _self_test),
    ]
    failed = False
    for name, check in checks:
        try:
            print(f"ok      {name:<10} {check()}")
        except _NotInstalledError as missing:
            print(f"-       {name:<10} {missing}")
        except Exception as error:  # a boundary: each check says what it met, and the others run
            failed = True
            print(f"FAILED  {name:<10} {' '.join(str(error).split()) or type(error).__name__}")
    return 1 if failed else 0


class _NotInstalledError(Exception):
    """A part that was not asked for is not there, which is no fault."""


def _versions() -> str:
    from importlib.metadata import version

    names = ("wsi-segment", "onnxruntime-gpu", "openslide-python", "zarr", "numpy")
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except ModuleNotFoundError:
            continue
    return f"Python {sys.version.split()[0]}, {', '.join(found)}"


def _providers() -> str:
    from wsi_segment.inference.engine.networks.network import load_network
    from wsi_segment.model.card import DEFAULT_MODEL, find_model

    network = load_network(find_model(DEFAULT_MODEL))
    return f"networks run on {network.provider}, in {network.precision}"


def _codecs() -> str:
    import imagecodecs
    import numpy as np
    import openslide

    pixels: Any = np.zeros((16, 16, 3), np.uint8)
    for encode, decode in (
        (imagecodecs.jpeg_encode, imagecodecs.jpeg_decode),
        (imagecodecs.jpeg2k_encode, imagecodecs.jpeg2k_decode),
        (imagecodecs.zlib_encode, imagecodecs.zlib_decode),
    ):
        decode(bytes(encode(pixels)))
    return f"JPEG, JPEG 2000, Deflate; OpenSlide {openslide.__library_version__}"


def _disk(data: Path) -> str:
    import shutil

    from wsi_segment.errors import InputError

    there = next(folder for folder in (data.absolute(), *data.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < 1 << 30:
        raise InputError(f"{free >> 20} MiB are free for {data}; a service waits below 1 GiB")
    return f"{free >> 30} GiB free for {data}"


def _database(data: Path, url: str | None) -> str:
    from importlib.util import find_spec

    from wsi_segment.extras import how_to_install

    if find_spec("sqlalchemy") is None:
        raise _NotInstalledError(f"not checked; the service needs {how_to_install('service')}")
    from wsi_segment.service.jobs.database import SQLITE_FILE, Database

    if url is None and not (data / SQLITE_FILE).exists():
        return f"none yet; the service makes {data / SQLITE_FILE}"
    database = Database(data, url)
    try:
        return database.state()
    finally:
        database.close()


def _self_test() -> str:
    import tempfile

    import numpy as np
    from PIL import Image

    from wsi_segment.inference.engine.options import SegmentOptions
    from wsi_segment.inference.engine.segment import segment
    from wsi_segment.inference.mask.verify import verify
    from wsi_segment.model.card import DEFAULT_MODEL, find_model

    model, started = find_model(DEFAULT_MODEL), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        slide, out = Path(folder) / "made.png", Path(folder) / "mask.zarr"
        rng = np.random.default_rng(0)
        Image.fromarray(rng.integers(100, 220, (384, 384, 3), np.uint8)).save(slide)
        summary = segment(slide, model, out, SegmentOptions(mpp=model.card.mpp, tissue="none", overlap=0.0))
        if damage := verify(out).damage:
            raise RuntimeError(damage[0])
    return f"{summary.windows} windows segmented and verified in {time.monotonic() - started:.1f} s"
