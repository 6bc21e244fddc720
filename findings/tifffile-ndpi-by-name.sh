#!/usr/bin/env bash
# tifffile 2026.3.3 and a plain TIFF whose file is called .ndpi.
#
# One would guess: what a TIFF is, is told by its content, as OpenSlide and Pillow do; a plain pyramid that somebody has
#   renamed to .ndpi opens as under any other name.
# What happens: the suffix alone makes tifffile read offsets of 64 bits at 4 bytes into the file, as Hamamatsu writes
#   them: it finds no page, logs "invalid offset to first page", and imread returns an empty array. With
#   `is_ndpi=False` the same file is read.
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install openslide-python==1.4.7 openslide-bin==4.0.1.2 tifffile==2026.3.3 imagecodecs==2026.3.6 \
  pillow==13.0.0 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder" && venv/bin/python -W ignore - <<'PYTHON'
import logging, shutil
import numpy as np, openslide, tifffile
from PIL import Image

logging.disable()
print("OpenSlide", openslide.__library_version__, "tifffile", tifffile.__version__)
pixels = np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8)
tifffile.imwrite("t.tif", pixels, tile=(256, 256), photometric="rgb", compression="deflate", metadata=None)
for name in ("t.svs", "t.ndpi"):
    shutil.copy("t.tif", name)
    assert openslide.OpenSlide.detect_format(name) == "generic-tiff"
    assert (np.asarray(Image.open(name)) == pixels).all()
    read = tifffile.imread(name)
    found = "reads it" if np.array_equal(read, pixels) else f"gives an array of shape {read.shape}"
    print(f"{name}: OpenSlide generic-tiff, Pillow reads it, tifffile {found}")
    assert (found == "reads it") == (name == "t.svs"), "this has changed"
with tifffile.TiffFile("t.ndpi", is_ndpi=False) as tiff:
    assert (tiff.asarray() == pixels).all(), "this has changed"
PYTHON
