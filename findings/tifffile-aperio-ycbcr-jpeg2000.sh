#!/usr/bin/env bash
# Aperio scanners write JPEG 2000 in two ways: compression 33005 holds RGB, 33003 YCbCr ("J2K/YUV16" in the description). The
# code stream of the latter names no colour space; that the TIFF calls the pixels YCbCr is all there is. tifffile and tiffslide
# know both numbers as APERIO_JP2000..., and decode both, so one would guess that both give the same colours as OpenSlide. But
# of 33003 they hand on the stored Y, Cb and Cr as red, green and blue: violet tissue turns green and blue, and white glass
# pink. Nothing is raised or logged; page.photometric says YCBCR, as it also does for JPEG, which is given as RGB.
# OpenSlide converts (its page on the Aperio format tells the two compressions apart by RGB and YCbCr).
# Seen with tifffile 2026.3.3, tiffslide 3.0.1, imagecodecs 2026.3.6, openslide-python 1.4.7, openslide-bin 4.0.1.2, Python 3.11:
#     written: tissue [200, 60, 120], glass [240, 240, 240]
#     OpenSlide: tissue [200, 61, 120], glass [240, 240, 240]
#     tifffile, photometric YCBCR: tissue [109, 134, 193], glass [240, 128, 128]
#     tiffslide: tissue [109, 134, 193], glass [240, 128, 128]
#     tifffile, the same colours as YCbCr JPEG: tissue [200, 61, 120], glass [240, 240, 240]
# What does help: read such slides with OpenSlide, or convert what tifffile gives where compression is 33003.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tifffile==2026.3.3 tiffslide==3.0.1 imagecodecs==2026.3.6 openslide-python==1.4.7 \
  openslide-bin==4.0.1.2 numpy==2.4.6
cd "$folder" && venv/bin/python -W ignore - <<'PYTHON'
import imagecodecs
import numpy as np
import openslide
import tifffile
import tiffslide

TISSUE, GLASS = [200, 60, 120], [240, 240, 240]
picture = np.full((256, 256, 3), GLASS, np.uint8)
picture[:, :128] = TISSUE
red, green, blue = np.moveaxis(picture.astype(float), -1, 0)
luma = 0.299 * red + 0.587 * green + 0.114 * blue
stored = np.stack([luma, 128 + 0.564 * (blue - luma), 128 + 0.713 * (red - luma)], axis=-1).round().astype(np.uint8)

tile = {"shape": picture.shape, "dtype": "uint8", "tile": (256, 256), "metadata": None, "software": None}
words = "Aperio Image Library v12.0.15\n256x256 [0,0 256x256] (256x256) J2K/YUV16 Q=70|AppMag = 20|MPP = 0.5"
stream = imagecodecs.jpeg2k_encode(stored, level=0, codecformat="j2k", mct=False, reversible=True)
kind = {"photometric": "ycbcr", "subsampling": (1, 1), "compression": 33003}
with tifffile.TiffWriter("slide.svs") as tiff:
    tiff.write(iter([stream]), description=words, **kind, **tile)
tifffile.imwrite("jpeg.tiff", picture, photometric="rgb", compression="jpeg", compressionargs={"level": 95}, tile=(256, 256))


def shown(who, pixels):
    found = [pixels[100, x][:3].tolist() for x in (50, 200)]
    print(f"{who}: tissue {found[0]}, glass {found[1]}")
    return np.array(found)


def near(found, wanted):
    return np.abs(found - wanted).max() <= 3


written = shown("written", picture)
by_openslide = shown("OpenSlide", np.asarray(openslide.OpenSlide("slide.svs").read_region((0, 0), 0, (256, 256))))
with tifffile.TiffFile("slide.svs") as tiff:
    page = tiff.pages[0]
    by_tifffile = shown(f"tifffile, photometric {page.photometric.name}", page.asarray())
by_tiffslide = shown("tiffslide", np.asarray(tiffslide.TiffSlide("slide.svs").read_region((0, 0), 0, (256, 256))))
with tifffile.TiffFile("jpeg.tiff") as tiff:
    assert tiff.pages[0].photometric.name == "YCBCR"
    as_jpeg = shown("tifffile, the same colours as YCbCr JPEG", tiff.pages[0].asarray())

assert near(by_openslide, written) and near(as_jpeg, written), "this has changed"
as_stored = np.array([stored[100, 50], stored[100, 200]], int)
assert near(by_tifffile, as_stored) and near(by_tiffslide, as_stored), "this has changed"
PYTHON
