from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tifffile

from synthetic import tissue_like

CODE = """
import sys
from wsi_segment.service.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """A TIFF that tifffile writes notices about: a tag of a type that does not exist."""
    path = tmp_path / "noisy.tiff"
    pixels = tissue_like(512, 512)
    tifffile.imwrite(
        path,
        pixels,
        tile=(256, 256),
        photometric="rgb",
        metadata=None,
        extratags=[(65000, 3, 1, 7, True)],
        resolution=(10000, 10000),
        resolutionunit="CENTIMETER",
    )
    content = bytearray(path.read_bytes())
    entry = content.index((65000).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    content[entry + 2 : entry + 4] = (99).to_bytes(2, "little")
    path.write_bytes(content)
    return path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "default", "-c", CODE, *arguments], capture_output=True, text=True, check=False
    )


def test_notices_of_libraries_show_with_debug_only(noisy: Path) -> None:
    plain = run("info", str(noisy))
    assert plain.returncode == 0, plain.stderr
    assert plain.stderr == ""
    debug = run("info", str(noisy), "--debug")
    assert debug.returncode == 0
    assert debug.stdout == plain.stdout
    assert "65000" in debug.stderr


def test_warnings_of_libraries_show_with_debug_only() -> None:
    code = (
        "import sys, warnings\n"
        "from wsi_segment.service.cli.commands import models\n"
        "models.run = lambda args: warnings.warn('a notice', stacklevel=1) or 0\n"
    ) + CODE
    for arguments, said in ((["models"], False), (["models", "--debug"], True)):
        done = subprocess.run(
            [sys.executable, "-W", "default", "-c", code, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert ("a notice" in done.stderr) == said
