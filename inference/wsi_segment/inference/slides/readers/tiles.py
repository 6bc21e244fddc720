"""Tiled TIFF and SVS read directly: positioned reads, and the codecs that tifffile uses.

Another reader (OpenSlide, or tiffslide for what OpenSlide refuses) stays in charge of what the slide is. Tiles are
decoded here only where a comparison at opening, of the tiles of each level that hold most, finds the very same pixels
as that reader's; it is faster and scales with threads.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.readers.canvas import read_on_white
from wsi_segment.inference.slides.readers.tiff import open_tiff
from wsi_segment.inference.slides.slide import Level, Slide

_CODECS = {"JPEG", "APERIO_JP2000_RGB", "APERIO_JP2000_YCBC", "JPEG2000", "DEFLATE", "ADOBE_DEFLATE"}
_ENCODING = ("compression", "photometric", "subsampling")
_ORIGIN = 256
_LARGEST_TILE = 64 << 20
"""Bytes; a damaged file can promise any number."""


class Reference(Slide, Protocol):
    """The reader that pixels are compared with."""

    exact: tuple[bool, ...]
    """Of each level, whether it gives pixels as they are, or interpolates between them."""


class TileSlide:
    """A tiled TIFF whose tiles are decoded directly; everything else is another reader's.

    Memory bound:
        What is asked for, and one tile a thread.
    """

    def __init__(self, slide: Reference, path: Path, tiff: tifffile.TiffFile, pages: list[Any]) -> None:
        """Use :meth:`over`, which checks whether this is possible."""
        self.reader = "tifffile"
        self.levels: tuple[Level, ...] = slide.levels
        self.bounds, self.pixel_size, self.icc_profile = slide.bounds, slide.pixel_size, slide.icc_profile
        self._slide, self._path, self._tiff, self._pages = slide, path, tiff, pages
        self._file = tiff.filehandle
        self._lock = threading.Lock()

    @classmethod
    def over(cls, slide: Reference, path: Path) -> Self | None:
        """The same slide read by tiles, or None where that is impossible or gives other pixels."""
        try:
            tiff = open_tiff(path)
        except (tifffile.TiffFileError, OSError):
            return None
        try:
            pages = [_page_of(tiff, level) for level in slide.levels]
            if None not in pages:
                tiled = cls(slide, path, tiff, pages)
                if all(tiled._is_identical(index) for index in range(len(slide.levels))):
                    return tiled
        except Exception:
            pass
        tiff.close()
        return None

    def read(self, level: int, l_box: Box) -> NDArray[np.uint8]:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        return read_on_white(l_box, self.levels[level], lambda inside: self._assemble(self._pages[level], inside))

    def close(self) -> None:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        self._tiff.close()
        self._slide.close()

    def _assemble(self, page: Any, inside: Box) -> NDArray[np.uint8]:
        """RGB of a box that lies in a page, from all tiles that it touches."""
        pixels = np.empty((inside.height, inside.width, 3), np.uint8)
        columns = -(-page.imagewidth // page.tilewidth)
        for row in range(inside.y0 // page.tilelength, -(-inside.y1 // page.tilelength)):
            for column in range(inside.x0 // page.tilewidth, -(-inside.x1 // page.tilewidth)):
                x0, y0 = column * page.tilewidth, row * page.tilelength
                part = Box(x0, y0, x0 + page.tilewidth, y0 + page.tilelength).intersect(inside)
                tile = self._tile(page, row * columns + column)
                dst_rows = slice(part.y0 - inside.y0, part.y1 - inside.y0)
                dst_columns = slice(part.x0 - inside.x0, part.x1 - inside.x0)
                pixels[dst_rows, dst_columns] = tile[part.y0 - y0 : part.y1 - y0, part.x0 - x0 : part.x1 - x0]
        return pixels

    def _tile(self, page: Any, index: int) -> NDArray[np.uint8]:
        """RGB of a tile.

        Raises:
            SlideError: it cannot be decoded.
        """
        count = page.databytecounts[index]
        if count > _LARGEST_TILE:
            raise SlideError(f"{self._path}: tile {index} claims {count} bytes; the file is damaged")
        try:
            encoded = self._bytes(page.dataoffsets[index], count)
            decoded: NDArray[np.uint8] = page.decode(encoded, index, jpegtables=page.jpegtables)[0]
        except Exception as error:  # every codec has errors of its own
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise SlideError(
                f"{self._path}: tile {index} cannot be decoded: {reason:.200}; the file seems damaged, copy it again"
            ) from error
        return decoded.reshape(decoded.shape[-3:])

    def _bytes(self, offset: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), count, offset)
        with self._lock:
            self._file.seek(offset)
            content: bytes = self._file.read(count)
            return content

    def _is_identical(self, level: int) -> bool:
        """Whether the tiles that hold most, and the level's corners, are what the other reader reads.

        Tiles that the file leaves out are made up by each library in its own way, so there must be none. Of a level
        that the other reader interpolates only its origin can be compared; its encoding must be that of level 0.
        """
        info, page = self.levels[level], self._pages[level]
        counts = np.asarray(page.databytecounts)
        if not counts.all():
            return False
        if not self._slide.exact[level]:
            origin = Box(0, 0, min(_ORIGIN, info.width), min(_ORIGIN, info.height))
            alike = all(getattr(page.keyframe, name) == getattr(self._pages[0].keyframe, name) for name in _ENCODING)
            return alike and np.array_equal(self.read(level, origin), self._slide.read(level, origin))
        columns = -(-page.imagewidth // page.tilewidth)
        chosen = {0, len(counts) - 1, *np.argsort(counts)[-3:].tolist()}
        for index in chosen:
            x, y = index % columns * page.tilewidth, index // columns * page.tilelength
            reach = Box(x - 16, y - 16, x + page.tilewidth + 16, y + page.tilelength + 16)
            l_box = reach.intersect(Box(0, 0, info.width, info.height))
            if not np.array_equal(self.read(level, l_box), self._slide.read(level, l_box)):
                return False
        return True


def _page_of(tiff: tifffile.TiffFile, level: Level) -> Any:
    """The page that holds a level, if its tiles are of a kind that is known here."""
    candidates = list(tiff.pages)
    candidates += [page for first in tiff.pages for page in (first.pages or ())]
    for page in candidates:
        keyframe: Any = page.keyframe
        if (
            (keyframe.imagewidth, keyframe.imagelength) == (level.width, level.height)
            and keyframe.is_tiled
            and keyframe.compression.name in _CODECS
            and keyframe.dtype == np.uint8
            and keyframe.samplesperpixel == 3
            and keyframe.planarconfig == 1
        ):
            return page.aspage()
    return None
