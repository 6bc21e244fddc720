#!/usr/bin/env bash
# zarr-python 3.1.6 under `python -O` (PYTHONOPTIMIZE=1), which leaves assertions out.
#
# One would guess: a library does the same without assertions, only with fewer checks.
# What happens: a group within a group of Zarr format 3 cannot be reached, not even by the process that has just made it:
#   "GroupMetadata.__init__() got an unexpected keyword argument 'node_type'" (the key is taken off the metadata within
#   an assert). The outermost group, arrays, and groups of format 2 are read. Reported as zarr-python issue 4362.
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install zarr==3.1.6 numpy==2.4.6 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cat > "$folder/try.py" <<'PYTHON'
import sys

import zarr

folder, version = sys.argv[1], int(sys.argv[2])
root = zarr.create_group(folder, zarr_format=version)
root.create_array("a", shape=(4,), dtype="u1")[:] = 7
root.create_group("g").create_array("a", shape=(4,), dtype="u1")[:] = 7
print(zarr.open_group(folder, mode="r")["a"][0], zarr.open_group(folder, mode="r")["g"]["a"][0])
PYTHON
cd "$folder"
for flag in "" -O; do
  for version in 2 3; do
    said=$(venv/bin/python -W ignore $flag try.py "$folder/v$version$flag.zarr" $version 2>&1 | tail -1) || true
    echo "python $flag, format $version: $said"
    case "$flag$version" in
      -O3) [[ $said == *"unexpected keyword argument 'node_type'"* ]] || { echo "this has changed"; exit 1; } ;;
      *) [[ $said == "7 7" ]] || { echo "this has changed"; exit 1; } ;;
    esac
  done
done
