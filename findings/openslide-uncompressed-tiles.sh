#!/usr/bin/env bash
# OpenSlide 4.0.1 (openslide-bin 4.0.1.2) and uncompressed tiles whose bytes are not a multiple of 1,024.
#
# One would guess: an uncompressed tiled TIFF opens and reads whatever its tile size, as with Pillow and GDAL.
# What happens: it opens, and the last tile of a page cannot be read:
#   "Invalid tile byte count for tile 1. Expected 172800, got 173056" (240 x 240 px of RGB; 173056 is 172800 rounded
#   up to 1,024). Tiles of 256 x 256 px (192 x 1,024 bytes) are read, and compressed ones of any size.
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install openslide-python==1.4.7 openslide-bin==4.0.1.2 tifffile==2026.3.3 imagecodecs==2026.3.6 \
  pillow==13.0.0 rasterio==1.4.4 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder" && venv/bin/python -W ignore - <<'PYTHON'
import numpy as np, openslide, rasterio, tifffile
from PIL import Image

print("OpenSlide", openslide.__library_version__, "tifffile", tifffile.__version__, "GDAL", rasterio.__gdal_version__)
pixels = np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8)
for tile, compression, expected in ((240, None, "no"), (48, None, "no"), (256, None, "yes"), (240, "deflate", "yes")):
    tifffile.imwrite("t.tif", pixels, tile=(tile, tile), photometric="rgb", compression=compression, metadata=None)
    assert (np.asarray(Image.open("t.tif")) == pixels).all()
    assert (rasterio.open("t.tif").read().transpose(1, 2, 0) == pixels).all()
    try:
        image = openslide.OpenSlide("t.tif").read_region((0, 0), 0, (400, 400))
        found = "yes" if (np.asarray(image)[..., :3] == pixels).all() else "other pixels"
        reason = ""
    except openslide.OpenSlideError as error:
        found, reason = "no", str(error).split(": ")[-1]
    print(f"tiles of {tile} px, {compression}: Pillow yes, GDAL yes, OpenSlide {found} {reason}")
    assert found == expected, "this has changed"
PYTHON
