#!/usr/bin/env bash
# slideio reads slides of many scanners, and writes what it has read as SVS or OME-TIFF. One would guess that all its drivers
# give colours in one order, and that a converted slide has the colours of the original. A CZI file of Zeiss holds blue,
# green, red (Bgr24), and the CZI driver gives it so, while the SVS driver gives red, green, blue. Nothing tells which one it
# is: the channels are called 1, 2 and 3. What builds on it exchanges red and blue: the SVS or OME-TIFF that slideio makes of
# a CZI is one of RGB, in which other readers show pink eosin as violet; a grey value (ColorTransformation) weighs blue for red.
# Reported for read_block as slideio issue 13 and closed: channels are given as they lie in the file.
# Seen with slideio 2.10.0, pylibCZIrw 6.1.0, openslide-bin 4.0.1.2 and tifffile 2026.3.3 on Linux x86-64, Python 3.11:
#     written to CZI by Zeiss's library: red 200, green 80, blue 150 (a grey value of 123.86)
#     slideio, CZI: [150, 80, 200], grey 115, channels ['bf:1', 'bf:2', 'bf:3']
#     made into SVS by slideio, OpenSlide: [150, 80, 200]
#     made into OME-TIFF by slideio, tifffile: [150, 80, 200]
#     the same colour in an SVS of tifffile, slideio: [200, 80, 150]
# What does help: read_block(channel_indices=[2, 1, 0]) for CZI of pixel type Bgr24.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet slideio==2.10.0 pylibCZIrw==6.1.0 openslide-python==1.4.7 openslide-bin==4.0.1.2 \
  tifffile==2026.3.3 imagecodecs==2026.3.6
cd "$folder" && venv/bin/python -W ignore - <<'PYTHON'
import numpy as np
import openslide
import slideio
import tifffile
from pylibCZIrw import czi

colour = [200, 80, 150]
picture = np.full((512, 512, 3), colour, np.uint8)
with czi.create_czi("slide.czi", compression_options="uncompressed:") as file:
    file.write(picture[..., ::-1].copy(), plane={"C": 0, "T": 0, "Z": 0}, scene=0)  # Bgr24, the only order it writes
    file.write_metadata("slide", scale_x=0.5e-6, scale_y=0.5e-6, channel_names={0: "bf"})
with czi.open_czi("slide.czi") as file:
    assert file.pixel_types == {0: "Bgr24"}
weights = np.array([0.299, 0.587, 0.114])
print(f"written to CZI by Zeiss's library: red 200, green 80, blue 150 (a grey value of {weights @ colour:.2f})")

scene = slideio.open_slide("slide.czi", "CZI").get_scene(0)
read = scene.read_block()[100, 100].tolist()
to_grey = slideio.ColorTransformation()
to_grey.color_space = slideio.ColorSpace.GRAY
grey = int(np.squeeze(scene.apply_transformation([to_grey]).read_block())[100, 100])
print(f"slideio, CZI: {read}, grey {grey}, channels {[scene.get_channel_name(i) for i in range(3)]}")

quality = slideio.SVSJpegParameters()
quality.quality = 100
scene.save_image(quality, "made.svs")
made = list(openslide.OpenSlide("made.svs").read_region((100, 100), 0, (1, 1)).getpixel((0, 0))[:3])
print(f"made into SVS by slideio, OpenSlide: {made}")
scene.save_image(slideio.OMETIFFJpegParameters(), "made.ome.tiff")
with tifffile.TiffFile("made.ome.tiff") as tiff:
    ome = tiff.pages[0].asarray()[100, 100].tolist()
print(f"made into OME-TIFF by slideio, tifffile: {ome}")

description = "Aperio Image Library v11.2.1 \r\n512x512|AppMag = 20|MPP = 0.5"
tifffile.imwrite(
    "plain.svs", picture, photometric="rgb", tile=(256, 256), compression="deflate", description=description, metadata=None
)
plain = slideio.open_slide("plain.svs", "SVS").get_scene(0).read_block()[100, 100].tolist()
print(f"the same colour in an SVS of tifffile, slideio: {plain}")


def near(found, wanted):
    return np.abs(np.subtract(found, wanted)).max() <= 3  # JPEG


assert plain == colour and read == colour[::-1] and abs(grey - weights @ colour[::-1]) < 2, "this has changed"
assert near(made, colour[::-1]) and near(ome, colour[::-1]), "this has changed"
PYTHON
