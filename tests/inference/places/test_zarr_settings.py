from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import zarr

from synthetic import ChannelNetwork, files_of, make_model, tissue_like, write_slide
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.verify import verify
from wsi_segment.inference.places.zarr_settings import shipped_settings

SETTINGS: tuple[dict[str, Any], ...] = (
    {"array.write_empty_chunks": True},
    {"array.read_missing_chunks": False},
    {"array.order": "F"},
    {"json_indent": None},
    {"default_zarr_format": 2},
    {"codec_pipeline.path": "nowhere.Pipeline"},
    {"codecs": {"zstd": "nowhere.Codec", "bytes": "nowhere.Codec"}},
    {"buffer": "nowhere.Buffer", "ndbuffer": "nowhere.NDBuffer"},
)
ENVIRONMENT = {
    "ZARR_ARRAY__WRITE_EMPTY_CHUNKS": "True",
    "ZARR_ARRAY__READ_MISSING_CHUNKS": "False",
    "ZARR_JSON_INDENT": "7",
    "ZARR_CODEC_PIPELINE__PATH": "nowhere.Pipeline",
    "ZARR_DEFAULT_ZARR_FORMAT": "2",
    "BLOSC_COMPRESSOR": "zlib",
    "BLOSC_CLEVEL": "9",
}


def make(folder: Path, name: str, version: str) -> Path:
    options = SegmentOptions(region_size=1024, ome_zarr=version, probabilities=True)  # type: ignore[arg-type]
    segment(folder / "s.tiff", make_model(), folder / name, options, network=ChannelNetwork())
    return folder / name


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A store of each version, made with the settings that zarr has here; one of its chunks is all background."""
    folder = tmp_path_factory.mktemp("settings")
    pixels = tissue_like(700, 1300)
    pixels[:, :660] = 255
    write_slide(folder / "s.tiff", pixels)
    return {version: make(folder, f"{version}.zarr", version) for version in ("0.5", "0.4")}


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: ", ".join(settings))
def test_settings_of_a_user_change_no_mask(usual: dict[str, Path], version: str, settings: dict[str, Any]) -> None:
    store = usual[version]
    with zarr.config.set(settings):
        again = make(store.parent, "again.zarr", version)
        mask = Mask.open(store)
        assert verify(store).damage == ()
        ids = mask.read(0, Box(0, 0, 1300, 700))
        assert zarr.config.get(next(iter(settings))) == next(iter(settings.values()))  # still the user's
    assert not ids[:, :512].any()
    assert ids.any()
    assert files_of(again) == files_of(store)
    shutil.rmtree(again)


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_variables_of_the_environment_change_no_mask(usual: dict[str, Path], version: str) -> None:
    folder = usual[version].parent
    code = (
        "import sys; from pathlib import Path; from test_zarr_settings import make\n"
        "from wsi_segment.inference import verify\n"
        f"store = make(Path({str(folder)!r}), 'elsewhere.zarr', {version!r})\n"
        "assert verify(store).damage == ()"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert files_of(folder / "elsewhere.zarr") == files_of(usual[version])
    shutil.rmtree(folder / "elsewhere.zarr")


def test_the_settings_last_until_the_last_thread_leaves() -> None:
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with shipped_settings():
            entered.set()
            leave.wait(120)

    with zarr.config.set({"json_indent": 7}):
        other = threading.Thread(target=stay)
        with shipped_settings():
            other.start()
            assert entered.wait(120)
        assert zarr.config.get("json_indent") == 2
        leave.set()
        other.join()
        assert zarr.config.get("json_indent") == 7
