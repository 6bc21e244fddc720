#!/usr/bin/env bash
# Which picture of a tiled TIFF of no vendor is the slide. One would guess: the largest one, with levels that show the same
# as it does. OpenSlide 4.0.1's generic-tiff driver takes the first directory, be it a label, and lists the larger slide
# after it nowhere; in a file that its Aperio driver takes, any tiled directory counts as a level, be it another picture. tiffslide 3.0.1 takes the first series, too, and shows tiles that are left out (byte count 0) as black, where
# OpenSlide gives transparent pixels.
# Seen with openslide-bin 4.0.1.2, tiffslide 3.0.1 and tifffile 2026.3.3 on Linux x86-64, Python 3.11:
#     label first: OpenSlide ((256, 256),), tiffslide ((256, 256),); the slide has 1024 x 1024 px
#     Aperio with a tiled picture of something else: levels ((1024, 1024), (512, 512)), level 1 is the other picture: True
#     left out: OpenSlide alpha 0, tiffslide (0, 0, 0)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openslide-python==1.4.7 openslide-bin==4.0.1.2 tiffslide==3.0.1 tifffile==2026.3.3 \
  imagecodecs==2026.3.6 'zarr>=3.1.6,<4'
cd "$folder" && venv/bin/python -W ignore - <<'PYTHON'
import numpy as np
import openslide
import tifffile
import tiffslide

random = np.random.default_rng(0)
slide, label, other = (random.integers(0, 255, (side, side, 3), np.uint8) for side in (1024, 256, 512))
form = {"photometric": "rgb", "tile": (256, 256), "compression": "deflate", "metadata": None}

with tifffile.TiffWriter("label-first.tif") as tiff:
    tiff.write(label, **form)
    tiff.write(slide, **form)
first = [library("label-first.tif").level_dimensions for library in (openslide.OpenSlide, tiffslide.TiffSlide)]
print(f"label first: OpenSlide {first[0]}, tiffslide {first[1]}; the slide has 1024 x 1024 px")

with tifffile.TiffWriter("other.svs") as tiff:
    tiff.write(slide, description="Aperio Image Library v11.2.1 \r\n1024x1024|AppMag = 20|MPP = 0.5", **form)
    tiff.write(other, **form)
aperio = openslide.OpenSlide("other.svs")
listed = aperio.level_dimensions
shown = len(listed) > 1 and np.array_equal(np.asarray(aperio.read_region((0, 0), 1, (512, 512)))[..., :3], other)
print(f"Aperio with a tiled picture of something else: levels {listed}, level 1 is the other picture: {shown}")

tifffile.imwrite("left-out.tif", slide, **form)
with tifffile.TiffFile("left-out.tif", mode="r+") as tiff:
    for name in ("TileByteCounts", "TileOffsets"):
        tag = tiff.pages[0].tags[name]
        tag.overwrite([*tag.value[:5], 0, *tag.value[6:]])
alpha = openslide.OpenSlide("left-out.tif").read_region((300, 300), 0, (1, 1)).getpixel((0, 0))[3]
black = tiffslide.TiffSlide("left-out.tif").read_region((300, 300), 0, (1, 1)).getpixel((0, 0))[:3]
print(f"left out: OpenSlide alpha {alpha}, tiffslide {black}")
assert first == [((256, 256),)] * 2 and len(listed) == 2 and shown and alpha == 0 and black == (0, 0, 0), "this has changed"
PYTHON
