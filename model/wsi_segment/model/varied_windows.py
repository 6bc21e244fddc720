"""Windows of every kind, on which a network is tried where no slide is at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def varied_windows(count: int, side: int) -> NDArray[np.uint8]:
    """Make windows (count, side, side, 3) of many colours and structures of many sizes; the same ones every time."""
    random, windows = np.random.default_rng(20), []
    for index in range(count):
        picture = np.zeros((side, side, 3), np.float32)
        for cells, weight in ((2, 1.0), (7, 0.8), (31, 0.6), (side, 0.3)):
            coarse = random.random((cells, cells, 3), np.float32)
            coarse *= weight
            times = np.bincount(np.arange(side) * cells // side, minlength=cells)
            picture += coarse if cells == side else coarse.repeat(times, 0).repeat(times, 1)
        low, high = picture.min(), picture.max()
        picture -= low
        picture /= high - low
        if index % 2:  # glass
            picture[side // 2 :] *= 0.04
            picture[side // 2 :] += 0.94
        picture *= 255
        windows.append(np.rint(picture, out=picture).astype(np.uint8))
    return np.stack(windows)
