#!/usr/bin/env bash
# dask.array.to_zarr hands what else it is given to zarr.create_array, so shards=(1024, 1024) makes a sharded array. One would
# guess that the pixels come out as they went in, or that an error asks for blocks as large as the shards.
# What happens: every block is written by itself, and of those that are written to one shard at the same time each puts back
# the whole shard as it had found it, without the others. Most pixels are zero: no error, no warning, and the docstring does
# not mention it. chunks= larger than Dask's blocks does the same. Handed an array that exists already, of the very same
# chunks and shards, the same function loses nothing: for that one it joins the blocks of a shard first.
# Reported as dask issue 12583 (September 2026).
# Seen with dask 2026.8.0 and zarr 3.1.6 on Linux x86-64, Python 3.11, four threads; the shares differ from run to run:
#     shards.zarr: 73.4% of the pixels lost
#     chunks.zarr: 68.8% of the pixels lost
#     existing.zarr: 0.0% of the pixels lost
#     same.zarr: 0.0% of the pixels lost
#     rechunked.zarr: 0.0% of the pixels lost
# What does help: blocks.rechunk(shards) before, or an array made by zarr.create_array.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dask==2026.8.0 zarr==3.1.6 numpy==2.4.6
cd "$folder" && venv/bin/python - <<'PYTHON'
import warnings

import dask
import dask.array
import numpy as np
import zarr

warnings.simplefilter("error")  # none is seen
dask.config.set(scheduler="threads", num_workers=4)
pixels = np.ones((1024, 1024), np.uint8)
blocks = dask.array.from_array(pixels, chunks=(128, 128))
layout = {"chunks": (128, 128), "shards": (1024, 1024)}


def lost(name):
    return float((zarr.open_array(name, mode="r")[:] != 1).mean())


dask.array.to_zarr(blocks, "shards.zarr", **layout)
dask.array.to_zarr(blocks, "chunks.zarr", chunks=(1024, 1024))
existing = zarr.create_array("existing.zarr", shape=pixels.shape, dtype="u1", **layout)
dask.array.to_zarr(blocks, existing)
dask.array.to_zarr(blocks, "same.zarr")
dask.array.to_zarr(blocks.rechunk(layout["shards"]), "rechunked.zarr", **layout)
for name in ("shards", "chunks", "existing", "same", "rechunked"):
    print(f"{name}.zarr: {lost(f'{name}.zarr'):.1%} of the pixels lost")
assert lost("existing.zarr") == lost("same.zarr") == lost("rechunked.zarr") == 0
assert lost("shards.zarr") > 0 and lost("chunks.zarr") > 0, "this has changed"
PYTHON
