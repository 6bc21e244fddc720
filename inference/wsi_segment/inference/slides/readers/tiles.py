"""Slides whose TIFF segments are read directly: by position, with the codecs that tifffile uses.

A TIFF of no vendor is read so on its own account, wherever it lies. In a vendor's format OpenSlide stays in charge of
what the slide is; its tiles are decoded here only where a comparison at opening, of the tiles of each level that hold
most, finds the very same pixels; it is faster and scales with threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.readers.canvas import exact_downsample, read_on_white
from wsi_segment.inference.slides.readers.pixel_size import decide, of_these_pixels
from wsi_segment.inference.slides.readers.segments import PageReader
from wsi_segment.inference.slides.slide import Level, PixelSize, Slide

if TYPE_CHECKING:
    from wsi_segment.inference.slides.candidate import Candidate, SlideImage

_CODECS = {"JPEG", "APERIO_JP2000_RGB", "APERIO_JP2000_YCBC", "JPEG2000", "DEFLATE", "ADOBE_DEFLATE"}
_ENCODING = ("compression", "photometric", "subsampling")
_ORIGIN = 256
_SEAM = 16
"""Pixels of the next tiles to the right and below that are compared with each tile."""


class Reference(Slide, Protocol):
    """The reader that pixels are compared with."""

    exact: tuple[bool, ...]
    """Whether it gives the pixels of each level as they are; otherwise it interpolates between them."""


class TileSlide(Slide):
    """A TIFF whose tiles or strips are decoded directly.

    Memory bound:
        What is asked for, one segment per thread, and what its readers keep.
    """

    reader = "tifffile"

    def __init__(
        self,
        readers: Sequence[PageReader],
        *,
        levels: tuple[Level, ...],
        bounds: Box,
        pixel_size: PixelSize | None,
        icc_profile: bytes | None,
        doubts: tuple[Doubt, ...],
        close: Callable[[], None],
    ) -> None:
        """Use :meth:`of_image` or :meth:`over`."""
        self.levels, self.bounds = levels, bounds
        self.pixel_size, self.icc_profile, self.doubts = pixel_size, icc_profile, doubts
        self.readers = tuple(readers)
        self._close = close

    @classmethod
    def of_image(cls, image: SlideImage, candidate: Candidate, doubts: tuple[Doubt, ...] = ()) -> Self:
        """Open one image of a TIFF; what its own directories state counts, nothing else.

        Args:
            image: One that can be read.
            candidate: Its file, which the slide closes.
            doubts: What is known of the choice already.
        """
        first = image.readers[0]
        stated, left_out = of_these_pixels(
            image.picture.stated_sizes, first.page.description or "", first.width, first.height
        )
        pixel_size, about_size = decide(stated)
        slide = cls(
            image.readers,
            levels=tuple(_level(first, reader) for reader in image.readers),
            bounds=first.whole,
            pixel_size=pixel_size,
            icc_profile=first.page.tags.valueof("InterColorProfile"),
            doubts=doubts + left_out + about_size,
            close=candidate.release,
        )
        candidate.take()
        return slide

    @classmethod
    def over(cls, slide: Reference, candidate: Candidate) -> Self | None:
        """Read another reader's slide by tiles; None where that is impossible or gives other pixels."""
        pages = [_page_of(candidate.tiff, level) for level in slide.levels]
        if None in pages:
            return None

        def close() -> None:
            candidate.release()
            slide.close()

        try:
            tiled = cls(
                [candidate.reader(page) for page in pages],
                levels=slide.levels,
                bounds=slide.bounds,
                pixel_size=slide.pixel_size,
                icc_profile=slide.icc_profile,
                doubts=slide.doubts,
                close=close,
            )
            if any(reader.left_out for reader in tiled.readers) or not tiled.reads_like(slide):
                return None  # each format makes up what it leaves out in its own way, Aperio's from a coarser level
        except Exception:  # every codec has errors of its own; the other reader says what is wrong
            return None
        candidate.take()
        return tiled

    def read(self, level: int, l_box: Box) -> NDArray[np.uint8]:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        return read_on_white(l_box, self.levels[level], self.readers[level].read)

    def fetch(self, level: int, l_boxes: Sequence[Box]) -> None:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        self.readers[level].fetch_boxes(l_boxes)

    def close(self) -> None:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        self._close()

    def reads_like(self, other: Reference) -> bool:
        """Return whether every level has the pixels that another reader gives."""
        return all(self._is_identical(index, other) for index in range(len(self.levels)))

    def _is_identical(self, level: int, other: Reference) -> bool:
        """Compare the tiles that hold most, and the level's corners.

        Of a level that the other reader interpolates only its origin can be compared; its encoding must be that of
        level 0.
        """
        info, reader = self.levels[level], self.readers[level]
        whole = Box(0, 0, info.width, info.height)
        if not other.exact[level]:
            origin = Box(0, 0, _ORIGIN, _ORIGIN).intersect(whole)
            alike = all(
                getattr(reader.page.keyframe, name) == getattr(self.readers[0].page.keyframe, name)
                for name in _ENCODING
            )
            return alike and np.array_equal(self.read(level, origin), other.read(level, origin))
        for index in {0, reader.segments - 1, *reader.fullest(3)}:
            box = reader.segment(index)
            l_box = Box(box.x0, box.y0, box.x1 + _SEAM, box.y1 + _SEAM).intersect(whole)
            if not np.array_equal(self.read(level, l_box), other.read(level, l_box)):
                return False
        return True


def _level(first: PageReader, reader: PageReader) -> Level:
    """Return the whole downsample that both sides were rounded from, where there is one: powers of two first."""
    across, down = first.width / reader.width, first.height / reader.height
    whole = [
        step
        for step in range(math.floor(min(across, down)), math.ceil(max(across, down)) + 1)
        if abs(first.width / step - reader.width) < 1 and abs(first.height / step - reader.height) < 1
    ]
    mean = (across + down) / 2
    downsample = min(whole, key=lambda step: (step & (step - 1) != 0, abs(step - mean)), default=None)
    return Level(
        reader.width, reader.height, exact_downsample(mean, reader.width) if downsample is None else float(downsample)
    )


def _page_of(tiff: Any, level: Level) -> Any:
    """Find the page that holds a level, if its tiles are of a kind that is known here."""
    if tiff is None:
        return None
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
