"""Levels that a slide does not hold: JPEG tiles of its finest level, decoded at a quarter or an eighth of their size.

The inverse cosine transform of libjpeg can give fewer pixels than were encoded, in less time than all of them; that
stands in for the missing level. Such pixels differ a little from averages of all, so they are used only where a coarse
picture would otherwise be averaged from level 0 by four or more, and only on slides where that takes long.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import Box, ceil_div
from wsi_segment.inference.slides.readers.canvas import WHITE, read_on_white, tile_parts
from wsi_segment.inference.slides.readers.encoded_colours import JPEG, RGB, YCBCR
from wsi_segment.inference.slides.readers.kept_tiles import CACHE_BYTES, KeptTiles
from wsi_segment.inference.slides.readers.segments import PageReader
from wsi_segment.inference.slides.readers.tiles import TileSlide
from wsi_segment.inference.slides.slide import Level, PixelSize, Slide

SCALES = (4, 8)
"""Both are also scales of libjpeg. At 2 hardly any time is won."""
LEAST_PIXELS = 1 << 24
"""A finest level of fewer is decoded whole within a fraction of a second, and gives averages of all its pixels."""
_BYTES = 3
_FAR_APART = 4.0
"""Mean difference in grey levels between a scaled tile and the averages of its pixels that is more than rounding."""
_START = b"\xff\xd8"
_NO_TRANSFORM = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""JPEG's APP14 segment: the three components are red, green and blue."""


def with_scaled_levels(slide: Slide) -> Slide:
    """Return a slide with levels decoded at a smaller scale where it lacks them, or the slide itself.

    It must be read by tiles (:class:`~wsi_segment.inference.slides.readers.tiles.TileSlide`), of JPEG on its finest
    level, hold ``LEAST_PIXELS`` or more there, and have no level of its own up to that scale. Tiles that hold most are
    tried.
    """
    if not isinstance(slide, TileSlide) or slide.levels[0].width * slide.levels[0].height < LEAST_PIXELS:
        return slide
    own = [level.downsample for level in slide.levels[1:]]
    scales = [scale for scale in SCALES if not any(downsample <= scale * 1.05 for downsample in own)]
    if not scales or not _is_plain_jpeg(slide.readers[0]):
        return slide
    tiles = ScaledTiles.of(slide.readers[0])
    return slide if tiles is None else ScaledSlide(slide, tiles, scales)


class ScaledSlide(Slide):
    """A slide, and its finest level at smaller scales, as levels after its own.

    Memory bound:
        Its own, and ``CACHE_BYTES``.
    """

    def __init__(self, slide: TileSlide, tiles: ScaledTiles, scales: list[int]) -> None:
        """Use :func:`with_scaled_levels`."""
        self._slide, self._tiles = slide, tiles
        self._own = len(slide.levels)
        finest = slide.levels[0]
        self.levels: tuple[Level, ...] = slide.levels + tuple(
            replace(
                finest, width=finest.width // scale, height=finest.height // scale, downsample=float(scale), scale=scale
            )
            for scale in scales
            if min(finest.width, finest.height) >= scale
        )
        self.reader, self.bounds = slide.reader, slide.bounds
        self.pixel_size: PixelSize | None = slide.pixel_size
        self.icc_profile: bytes | None = slide.icc_profile
        self.doubts = slide.doubts

    def read(self, level: int, l_box: Box) -> NDArray[np.uint8]:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        if level < self._own:
            return self._slide.read(level, l_box)
        info = self.levels[level]
        return read_on_white(l_box, info, partial(self._tiles.read, info.scale))

    def fetch(self, level: int, l_boxes: Sequence[Box]) -> None:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        if level < self._own:
            self._slide.fetch(level, l_boxes)
            return
        info = self.levels[level]
        whole = Box(0, 0, info.width, info.height)
        self._tiles.fetch(info.scale, [box.intersect(whole) for box in l_boxes])

    def close(self) -> None:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        self._slide.close()


class ScaledTiles:
    """The JPEG tiles of a TIFF directory at smaller scales. Reading is safe from several threads.

    Where the whole picture at a quarter fits into the cache, the eighth is averaged from it, so that no tile is decoded
    for tissue and again for the mask.

    Memory bound:
        ``CACHE_BYTES`` of decoded tiles, the last ones that were used, and what is asked for.
    """

    def __init__(self, reader: PageReader, header: bytes) -> None:
        """Use :meth:`of`."""
        self._reader, self._header = reader, header
        whole = reader.segment(0)
        self._side_x, self._side_y = whole.width, whole.height
        self._columns = ceil_div(reader.width, self._side_x)
        finer = self._side_x * self._side_y * _BYTES // SCALES[0] ** 2
        self._holds_all = reader.segments * finer <= CACHE_BYTES
        self._kept = KeptTiles(CACHE_BYTES)

    @classmethod
    def of(cls, reader: PageReader) -> ScaledTiles | None:
        """Return the scaled tiles of a directory; None where Pillow's pixels are not those of the whole tiles."""
        tables = reader.page.jpegtables or b""
        shared = tables[2:-2]  # without the marks of start and end
        forms = [shared, _NO_TRANSFORM + shared]
        for header in forms:
            tiles = cls(reader, _START + header)
            try:
                if all(tiles._is_like(index) for index in reader.fullest(3)):
                    return tiles
            except SlideError:  # said by the reader of whole tiles, if it is one for that too
                continue
        return None

    def read(self, scale: int, inside: Box) -> NDArray[np.uint8]:
        """Return RGB (height, width, 3) of a box that lies in the picture at 1 / ``scale``.

        Raises:
            SlideError: a tile cannot be decoded.
            RunError: it could not be fetched over the network.
        """
        pixels = np.empty((inside.height, inside.width, 3), np.uint8)
        side_x, side_y = self._side_x // scale, self._side_y // scale
        self.fetch(scale, [inside])
        for part in tile_parts(inside, side_x, side_y):
            pixels[part.into] = self._tile(part.row * self._columns + part.column, scale)[part.cut]
        return pixels

    def fetch(self, scale: int, boxes: Sequence[Box]) -> None:
        """Fetch what boxes at 1 / ``scale``, which lie in the picture, will be read of, in few requests.

        Raises:
            RunError: it could not be fetched over the network.
        """
        if self._reader.is_fetched:
            side_x, side_y = self._side_x // scale, self._side_y // scale
            kept_at = SCALES[0] if self._holds_all else scale
            parts = (part for box in boxes for part in tile_parts(box, side_x, side_y))
            indices = {part.row * self._columns + part.column for part in parts}
            self._reader.fetch(index for index in indices if (index, kept_at) not in self._kept)

    def _tile(self, index: int, scale: int) -> NDArray[np.uint8]:
        if scale != SCALES[0] and self._holds_all:
            return np.asarray(Image.fromarray(self._tile(index, SCALES[0])).reduce(scale // SCALES[0]))
        key = index, scale
        if (tile := self._kept.get(key)) is None:
            tile = self._decode(index, scale)
            self._kept.put(key, tile)
        return tile

    def _decode(self, index: int, scale: int) -> NDArray[np.uint8]:
        """Return a tile (height, width, 3) at 1 / ``scale``; white where the file leaves it out."""
        width, height = self._side_x // scale, self._side_y // scale
        encoded = self._reader.encoded(index)
        if encoded is None:
            return np.full((height, width, 3), WHITE, np.uint8)
        try:
            with Image.open(io.BytesIO(self._header + encoded[2:]), formats=["JPEG"]) as picture:
                picture.draft("RGB", (width, height))
                decoded = np.asarray(picture.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise self._reader.undecodable(index, error) from error
        if decoded.shape != (height, width, 3):
            size = f"it has {decoded.shape[1]} x {decoded.shape[0]} px, not {width} x {height}"
            raise self._reader.undecodable(index, ValueError(size))
        return decoded

    def _is_like(self, index: int) -> bool:
        """Whether a tile has the pixels of the whole tile's reader, and at each scale nearly their averages."""
        whole = self._reader.tile(index)
        if whole is None:
            return True
        if not np.array_equal(self._decode(index, 1), whole):
            return False
        picture = Image.fromarray(np.ascontiguousarray(whole))
        return all(
            np.abs(self._decode(index, scale) - np.asarray(picture.reduce(scale), np.float32)).mean() < _FAR_APART
            for scale in SCALES
        )


def _is_plain_jpeg(reader: PageReader) -> bool:
    page: Any = reader.page
    return (
        page.is_tiled
        and page.compression == JPEG
        and page.photometric in (RGB, YCBCR)
        and page.samplesperpixel == 3
        and page.planarconfig == 1
        and page.tilewidth % SCALES[-1] == 0
        and page.tilelength % SCALES[-1] == 0
    )
