#!/usr/bin/env bash
# GEOS repairs a ring that crosses itself in two ways. One would guess that the default of shapely.make_valid, "linework",
# follows the even-odd rule, as drawing programs and rasterisers do. It does not where a ring goes back along one of its own
# edges and then over the same line again, as a pen does: it fills faces that neither the even-odd nor the non-zero rule
# fills, and says nothing. method="structure" follows the non-zero rule there.
# Seen with shapely 2.1.2 (GEOS 3.13.1) and 2.2.0 (GEOS 3.14.1) on Linux x86-64, Python 3.11:
#     even-odd 10.11, non-zero 10.11, linework 14.56, structure 10.11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
for version in 2.1.2 2.2.0; do
  "$folder/venv/bin/pip" install --quiet "shapely==$version" numpy
  "$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import shapely

ring = [(1, 2), (5, 8), (5, 4), (8, 7), (2, 7), (10, 7)]  # from (8, 7) back to (2, 7), then over the same line again
linework, structure = (shapely.make_valid(shapely.Polygon(ring), method=name).area for name in ("linework", "structure"))

# both rules by crossings to the right of each point of a fine grid, without any library
x, y = np.meshgrid(np.arange(0.005, 11, 0.01), np.arange(0.0051, 9, 0.01))
crossings, turns = np.zeros(x.shape, int), np.zeros(x.shape, int)
for (x1, y1), (x2, y2) in zip(ring, ring[1:] + ring[:1]):
    if y1 != y2:
        crossed = ((y1 > y) != (y2 > y)) & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
        crossings += crossed
        turns += np.where(crossed, 1 if y2 > y1 else -1, 0)
even_odd, non_zero = (float(np.count_nonzero(inside) * 0.0001) for inside in (crossings % 2, turns))
print(f"shapely {shapely.__version__}, GEOS {shapely.geos_version_string}: even-odd {even_odd:.2f}, "
      f"non-zero {non_zero:.2f}, linework {linework:.2f}, structure {structure:.2f}")
assert abs(even_odd - structure) < 0.02 and abs(non_zero - structure) < 0.02
assert abs(linework - 14.556) < 0.001, "this has changed"
PYTHON
done
