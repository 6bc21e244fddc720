#!/usr/bin/env bash
# Two libraries for OME-Zarr make the coarser levels of a label image (a segmentation mask) by "nearest". Both state the same
# scale and translation: pixel i of the level of 1/8 lies at column 8 i + 3.5 of level 0. One would guess that it holds the
# label that is found about there, so that masks of both, and the image below them, fall on each other.
# Both are off, to opposite sides: ome-zarr takes the label of column 8 i + 7, the last one of its eight, and ngff-zarr that of
# column 8 i, the first one. The same mask from the two differs by 7 columns and 7 rows at 1/8, by 15 at 1/16: nearly one pixel of
# the level. In a store of ome-zarr alone, whose defaults are "resize" for images and "nearest" for labels, the mask lies half
# a pixel of the level up and left of its image, since the image's levels do lie where they say. Nothing warns of it.
# Seen with ome-zarr 0.18.0, ngff-zarr 0.50.0 and zarr 3.1.6 on Linux x86-64, Python 3.11:
#     stated for pixel 4 of level 3, all three: column 35.5
#     ome-zarr, write_image: shows column 35.5
#     ome-zarr, write_labels: shows column 39.0
#     ngff-zarr, DASK_IMAGE_NEAREST: shows column 32.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ome-zarr==0.18.0 ngff-zarr==0.50.0 dask-image==2026.5.0 dask==2026.8.0 zarr==3.1.6
cd "$folder" && venv/bin/python -W ignore - <<'PYTHON'
import ngff_zarr
import numpy as np
import zarr
from ome_zarr.writer import write_image, write_labels

columns = np.tile(np.arange(256, dtype=np.uint16), (256, 1))  # each pixel holds the number of its column
row, pixel, factors = 16, 4, [2, 4, 8]
group = zarr.create_group("image.zarr")
write_image(columns.astype(np.float32), group, axes="yx", scale_factors=factors)
write_labels(columns, group, name="mask", axes="yx", scale_factors=factors)


def of_ome_zarr(group):
    level = dict(group.attrs)["ome"]["multiscales"][0]["datasets"][3]
    scale, translation = level["coordinateTransformations"]
    assert scale["scale"] == [8, 8]
    return scale["scale"][1] * pixel + translation["translation"][1], float(group[level["path"]][row, pixel])


image = ngff_zarr.to_ngff_image(columns, ["y", "x"], {"y": 1.0, "x": 1.0}, {"y": 0.0, "x": 0.0})
nearest = ngff_zarr.Methods.DASK_IMAGE_NEAREST
level = ngff_zarr.to_multiscales(image, scale_factors=factors, method=nearest).images[3]
found = {
    "ome-zarr, write_image": of_ome_zarr(group),
    "ome-zarr, write_labels": of_ome_zarr(group["labels/mask"]),
    "ngff-zarr, DASK_IMAGE_NEAREST": (
        level.scale["x"] * pixel + level.translation["x"], float(np.asarray(level.data)[row, pixel])
    ),
}
for name, (stated, shown) in found.items():
    print(f"{name}: stated for pixel {pixel} of level 3: column {stated}; shows column {shown:.1f}")
assert [stated for stated, _ in found.values()] == [35.5] * 3, "this has changed"
(_, averaged), (_, last), (_, first) = found.values()
assert abs(averaged - 35.5) < 0.1 and last == 39 and first == 32, "this has changed"
PYTHON
