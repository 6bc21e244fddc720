"""The probabilities of a finished mask, where it keeps them, opened for reading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from wsi_segment.errors import OutputError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.mask.ngff import PROBABILITIES_04
from wsi_segment.inference.places.zarr_settings import shipped_settings


@dataclass(frozen=True, slots=True)
class Probabilities:
    """Probability planes beside a class map; reading is safe from several threads."""

    path: Path
    """Path of the store."""
    _arrays: tuple[zarr.Array[Any], ...]

    @classmethod
    @shipped_settings()
    def open(cls, store: Path) -> Probabilities | None:
        """Open the probabilities of a finished mask on this machine; return None where it keeps none."""
        root = zarr.open_group(store, mode="r")
        group: Any = root if root.metadata.zarr_format == 3 else root.get(PROBABILITIES_04)
        arrays: list[zarr.Array[Any]] = []
        while isinstance(array := None if group is None else group.get(str(len(arrays))), zarr.Array):
            if array.ndim != 3:  # the class map at the root of an earlier store
                return None
            arrays.append(array)
        return cls(store, tuple(arrays)) if arrays else None

    @shipped_settings()
    def read(self, level: int, class_id: int, box: Box) -> NDArray[np.uint8]:
        """Return probability * 255 (height, width) of a class in a box that lies inside the level.

        Args:
            level: As of the class map: 0 is the finest.
            class_id: From 1 on.
            box: In pixels of that level.

        Raises:
            OutputError: the store is damaged.
        """
        try:
            plane = self._arrays[level][class_id - 1, box.y0 : box.y1, box.x0 : box.x1]
            return np.asarray(plane, np.uint8)
        except Exception as error:  # every codec has errors of its own
            reason = f"{' '.join(str(error).split()) or type(error).__name__:.200}"
            raise OutputError(f"{self.path}: cannot be decoded: {reason}; `wsi-segment verify` says more") from error
