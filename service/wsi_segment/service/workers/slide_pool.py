"""Slides opened in child processes, never in the API's own: descriptions, tiles, thumbnails."""

from __future__ import annotations

import io
import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pebble

from wsi_segment.errors import SlideError
from wsi_segment.service.logs import form_in_use, set_up_logs
from wsi_segment.service.workers.worker import NICE, cap_memory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from wsi_segment.inference.slides.slide import Slide

TILE = 256
THUMBNAIL = 1024
"""Longest side that a thumbnail may have."""
_SECONDS = 20.0
"""A call that takes longer is ended together with its process."""
_OUTLINE_SECONDS = 3600.0
_MOST_CALLS, _MOST_OUTLINES = 24, 4
"""Calls that may wait at once, in one thread of the server each; it has 40, and the rest serve what needs no pixels."""
_MOST_OPEN = 8
_READERS = 8
_QUALITY = 85

log = logging.getLogger(__name__)


class UnsureSlideError(SlideError):
    """A slide could not be read this time, which may be the machine's fault."""


class BusyError(Exception):
    """Too many calls wait for the processes; one more would only hold up the server."""


class PixelPool:
    """A few processes that open slides, and one for outlines; one that crashes or hangs is replaced."""

    def __init__(self, processes: int, memory: int) -> None:
        """Set up the pool; processes start with the first call.

        Args:
            processes: Number of processes for descriptions, tiles and thumbnails.
            memory: Memory limit of each process in bytes.
        """
        import multiprocessing

        context = multiprocessing.get_context("spawn")

        def make(count: int, nice: int) -> pebble.ProcessPool:
            return pebble.ProcessPool(
                max_workers=count, initializer=_begin, initargs=(memory, form_in_use(), nice), context=context
            )

        self._pool, self._outlines = make(processes, 0), make(1, NICE)  # somebody waits for tiles
        self._calls, self._outline_calls = threading.Semaphore(_MOST_CALLS), threading.Semaphore(_MOST_OUTLINES)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of this module in a child process, and wait for its result.

        Raises:
            SlideError: the slide is at fault.
            UnsureSlideError: it took too long, or crashed the process.
            BusyError: too many wait.
        """
        return _call(self._pool, self._calls, _SECONDS, function, *arguments)

    def outline(self, folder: Path, store: Path) -> None:
        """Write the outlines of a mask that has none, and wait up to an hour. See :meth:`call`."""
        _call(self._outlines, self._outline_calls, _OUTLINE_SECONDS, outline, folder, store)

    def close(self) -> None:
        """End all processes."""
        for pool in (self._pool, self._outlines):
            pool.stop()  # type: ignore[no-untyped-call]
        for pool in (self._pool, self._outlines):
            with suppress(FutureTimeoutError):  # a process that hangs in a system call ends when that does
                pool.join(2)


def _call(
    pool: pebble.ProcessPool,
    free: threading.Semaphore,
    seconds: float,
    function: Callable[..., Any],
    *arguments: Any,
) -> Any:
    if not free.acquire(blocking=False):
        raise BusyError("too many requests wait for pixels; try again in a moment")
    try:
        return pool.schedule(_guarded, args=(function, *arguments), timeout=seconds).result()
    except FutureTimeoutError as error:
        raise UnsureSlideError("the slide takes too long to be read; try again") from error
    except pebble.ProcessExpired as error:
        raise UnsureSlideError("the slide cannot be read: the library that decodes it crashed") from error
    except MemoryError as error:
        raise UnsureSlideError("the slide needs too much memory to be read") from error
    finally:
        free.release()


def _guarded(function: Callable[..., Any], location: Path, *arguments: Any) -> Any:
    """Call a function in a child process; a slide that failed is not kept open."""
    try:
        return function(location, *arguments)
    except FileNotFoundError as error:  # it was moved, or its root went away, after it was found
        _forget_all()
        raise UnsureSlideError("a file of the slide is no longer there") from error
    except Exception as error:  # decoders raise errors of every kind
        _forget_all()
        if isinstance(error, SlideError | MemoryError):
            raise
        log.exception("a slide cannot be read")
        raise SlideError("the slide cannot be read: its decoder failed; is the file whole?") from error


def describe(location: Path, image: int | None = None) -> dict[str, Any]:
    """Describe size, pixel size and levels of a slide for JSON. Runs in a child process."""
    from wsi_segment.inference.grid.box import ceil_div

    slide = _opened(location, image)
    size = slide.pixel_size
    zooms = _zooms(slide.bounds.width, slide.bounds.height)
    return {
        "width": slide.bounds.width,
        "height": slide.bounds.height,
        "origin": [slide.bounds.x0, slide.bounds.y0],
        "mpp": None if size is None else size.mpp,
        "mpp_x": None if size is None else size.x,
        "mpp_y": None if size is None else size.y,
        "mpp_source": None if size is None else size.source,
        "reader": slide.reader,
        "fingerprint": _fingerprint(location),
        "levels": [
            {
                "downsample": 2**z,
                "width": max(1, ceil_div(slide.bounds.width, 2**z)),
                "height": max(1, ceil_div(slide.bounds.height, 2**z)),
            }
            for z in range(zooms)
        ],
    }


def _fingerprint(location: Path) -> str:
    """Return the fingerprint of a slide that can be opened; one over the network is read once while it is open."""
    from wsi_segment.inference.slides.fingerprint import slide_fingerprint
    from wsi_segment.inference.slides.slide_files import slide_files

    if isinstance(location, Path):
        return slide_fingerprint(slide_files(location))
    if location not in _remote:
        _remote[location] = slide_fingerprint((location,))
    return _remote[location]


def fingerprints(locations: Sequence[Path]) -> list[str | None]:
    """Return the fingerprints of slides, None where one cannot be read. Runs in a child process.

    Threads wait for a disk far away at the same time.
    """
    from wsi_segment.inference.slides.fingerprint import slide_fingerprint
    from wsi_segment.inference.slides.slide_files import slide_files

    def one(location: Path) -> str | None:
        try:
            return slide_fingerprint(slide_files(location))
        except (OSError, SlideError):
            return None

    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(one, locations))


def tile(location: Path, z: int, x: int, y: int) -> bytes | None:
    """Return a tile as JPEG, ``2**z`` level-0 pixels per pixel; None outside. Runs in a child process."""
    from wsi_segment.inference.grid.box import Box, ceil_div
    from wsi_segment.inference.slides.frame import mask_frame
    from wsi_segment.inference.slides.pixels import PixelSource

    slide = _opened(location)
    if z > (max(slide.bounds.width, slide.bounds.height) - 1).bit_length():  # by then it is a single pixel
        return None
    width, height = (max(1, ceil_div(side, 2**z)) for side in (slide.bounds.width, slide.bounds.height))
    box = Box(x * TILE, y * TILE, x * TILE + TILE, y * TILE + TILE).intersect(Box(0, 0, width, height))
    if box.empty:
        return None
    return _jpeg(PixelSource(slide, mask_frame(slide, 1.0, float(2**z))).read(box))


def thumbnail(location: Path, longest: int) -> bytes:
    """Return the whole slide as JPEG. Runs in a child process."""
    from PIL import Image

    from wsi_segment.inference.slides.frame import mask_frame
    from wsi_segment.inference.slides.pixels import PixelSource, read_whole

    slide = _opened(location)
    side = max(slide.bounds.width, slide.bounds.height)
    pixels = read_whole(PixelSource(slide, mask_frame(slide, 1.0, max(1.0, side / longest))))
    image = Image.fromarray(pixels)
    image.thumbnail((longest, longest))
    return _encoded(image)


def outline(folder: Path, store: Path) -> int:
    """Write the outlines of a mask that has none. Runs in a child process."""
    from wsi_segment.service.workers.outline_index import has_objects, write_objects

    return 0 if has_objects(folder) else write_objects(folder, store)


_open: OrderedDict[Path, Slide] = OrderedDict()
_remote: dict[Path, str] = {}
"""Fingerprints of slides over the network."""


def _begin(memory: int, form: str, nice: int) -> None:
    import os

    set_up_logs(form)
    if hasattr(os, "nice"):
        os.nice(nice)
    cap_memory(memory)
    # slow imports happen here, before the time of a slide is counted
    from wsi_segment.inference.slides import open, pixels  # noqa: F401


def _opened(location: Path, image: int | None = None) -> Slide:
    from wsi_segment.inference.slides.open import open_slide

    stat = location.stat() if isinstance(location, Path) else None
    key = Path(f"{location}\0{image}\0{None if stat is None else (stat.st_size, stat.st_mtime_ns)}")
    if key in _open:
        _open.move_to_end(key)
        return _open[key]
    while len(_open) >= _MOST_OPEN:
        _open.popitem(last=False)[1].close()
    _open[key] = open_slide(location, image)
    return _open[key]


def _forget_all() -> None:
    _remote.clear()
    while _open:
        _open.popitem()[1].close()


def _zooms(width: int, height: int) -> int:
    """Count the levels from the slide's own pixels down to a single tile."""
    return max(1, math.ceil(math.log2(max(width, height) / TILE)) + 1)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    return _encoded(Image.fromarray(pixels))


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=_QUALITY)
    return buffer.getvalue()
