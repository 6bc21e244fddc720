#!/usr/bin/env bash
# GDAL's Zarr driver names Zarr 3 among what it reads. One would guess that it opens what zarr-python writes by default: the
# plainest array has the codec "bytes", which the specification asks of every array. The GDAL 3.10.3 of rasterio's wheel
# refuses it by that very name, whether or not the codec states an endianness; the same array of Zarr 2 is read.
# Seen with rasterio 1.4.4 and zarr 3.1.6 on Linux x86-64, Python 3.11:
#     Zarr 2, uint8: read; Zarr 3, uint8 and uint16: refused (Unsupported codec: bytes)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rasterio==1.4.4 zarr==3.1.6 numpy
cd "$folder" && venv/bin/python -W ignore - <<'PYTHON'
import json

import numpy as np
import rasterio
import zarr

print("GDAL", rasterio.__gdal_version__, "zarr", zarr.__version__)
pixels = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
found = {}
for name, dtype, version in (("a", "uint8", 2), ("b", "uint8", 3), ("c", "uint16", 3)):
    array = zarr.create_array(
        f"{name}.zarr", shape=(64, 64), chunks=(32, 32), dtype=dtype, zarr_format=version, compressors=None
    )
    array[:] = pixels
    codecs = json.loads(open(f"{name}.zarr/zarr.json").read())["codecs"] if version == 3 else ""
    try:
        with rasterio.open(f'ZARR:"{name}.zarr"') as opened:
            found[name] = "read" if (opened.read(1) == pixels).all() else "other values"
    except rasterio.errors.RasterioIOError as error:
        found[name] = f"refused ({error})"
    print(f"Zarr {version}, {dtype}: {found[name]} {codecs}")
refused = "refused (Unsupported codec: bytes)"
assert found == {"a": "read", "b": refused, "c": refused}, "this has changed"
PYTHON
