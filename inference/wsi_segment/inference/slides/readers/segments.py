"""Tiles and strips of one TIFF directory: positioned reads, and the codecs that tifffile uses."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import RunError, SlideError
from wsi_segment.inference.grid.box import Box, ceil_div
from wsi_segment.inference.places.object_file import ObjectFile
from wsi_segment.inference.slides.location import is_remote
from wsi_segment.inference.slides.readers.canvas import HIDDEN, WHITE, tile_parts
from wsi_segment.inference.slides.readers.encoded_colours import JPEG, RGB, other_colours
from wsi_segment.inference.slides.readers.kept_tiles import KeptTiles

_LARGEST_SEGMENT = 64 << 20
"""Bytes as they are stored; a damaged file can promise any number."""
_FETCHED_AT_ONCE = 4096
_ENDED, _TAIL = b"\xff\xd9", 64
"""Mark of JPEG's end, and the last bytes in which it stands; some writers fill up after it."""

_LOOKED_AT = 9
"""Segments spread over a picture in which something opaque is looked for."""
_ASSOCIATED_ALPHA = 1
"""TIFF's ExtraSamples: colours are already multiplied by alpha."""
_ROUNDED = 24
"""Grey levels by which such a colour can exceed alpha after lossy compression."""


class PageReader:
    """One directory of a TIFF as an 8-bit RGB picture. Reading is safe from several threads.

    Segments that the file leaves out (no bytes: nothing was scanned there) are white.
    """

    def __init__(
        self, page: Any, path: Path, lock: threading.Lock, content: Any = None, tiles: KeptTiles | None = None
    ) -> None:
        """Prepare to read.

        Args:
            page: A ``tifffile.TiffPage`` of 8-bit RGB or RGBA.
            path: For messages.
            lock: Shared by all that read the file where it has no positioned reads.
            content: The file, where it is one over the network.
            tiles: Where decoded segments are kept, among those of the file's other directories; None to keep none.
        """
        self.page, self._path, self._lock = page, path, lock
        self.width, self.height = int(page.imagewidth), int(page.imagelength)
        self._file = page.parent.filehandle
        self._side_x = int(page.tilewidth if page.is_tiled else page.imagewidth)
        self._side_y = int(page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength))
        self._columns = ceil_div(self.width, self._side_x)
        self._per_plane = self._columns * ceil_div(self.height, self._side_y)
        self._planes = int(page.samplesperpixel) if page.planarconfig == 2 else 1
        self._samples = int(page.samplesperpixel)
        self._positioned = hasattr(os, "pread") and not is_remote(path)
        self._object = content if isinstance(content, ObjectFile) else None
        self._kept = tiles
        page.init_decode()  # which is not safe to happen in several threads at once

    @property
    def whole(self) -> Box:
        """All of the directory."""
        return Box(0, 0, self.width, self.height)

    @property
    def left_out(self) -> bool:
        """Whether some segment has no bytes."""
        return (
            not np.asarray(self.page.databytecounts).all()
            or len(self.page.databytecounts) < self._per_plane * self._planes
        )

    @property
    def obeys_jfif(self) -> bool:
        """Whether JPEG under a tag of RGB is read as YCbCr, as the JFIF segment of the first tile or strip asks.

        Bio-Formats and QuPath long wrote such files. OpenSlide follows the tag.
        """
        return bool(self.page.compression == JPEG and self.page.photometric == RGB and self.page.is_jfif)

    def other_colours(self, *, jfif_counts: bool) -> str | None:
        """Say that the directory names other colours than the segment that holds most; None where nothing tells.

        Args:
            jfif_counts: Where the segment is JFIF, and read as such, the directory does not matter.

        Raises:
            SlideError: it cannot be read.
            RunError: it could not be fetched over the network.
        """
        encoded = self.encoded(self.fullest(1)[-1]) or b""
        compression, photometric = int(self.page.compression), int(self.page.photometric)
        return other_colours(encoded, compression, photometric, obeys_jfif=jfif_counts and self.obeys_jfif)

    @property
    def is_hidden(self) -> bool:
        """Whether alpha hides the segments that hold most and some that are spread over the picture.

        Raises:
            SlideError: one of them cannot be decoded.
            RunError: it could not be fetched over the network.
        """
        if self._samples == 3:
            return False
        plane = 3 if self._planes > 1 else 0
        spread = {int(index) for index in np.linspace(0, self._per_plane - 1, _LOOKED_AT)}
        found = (self.tile(index + plane * self._per_plane) for index in (*self.fullest(3), *sorted(spread)))
        return all(one is None or int(one[..., -1].max()) <= HIDDEN for one in found)

    @property
    def is_fetched(self) -> bool:
        """Whether segments come by requests, so that it pays to :meth:`fetch` several at once."""
        return self._object is not None

    @property
    def segments(self) -> int:
        """Number of tiles or strips of one plane."""
        return self._per_plane

    def fullest(self, count: int) -> list[int]:
        """Return the segments (of the first plane) that hold most bytes; they come last."""
        counts = np.asarray(self.page.databytecounts[: self._per_plane])
        return [int(index) for index in np.argsort(counts, kind="stable")[-count:]]

    def telling(self) -> list[Box]:
        """Return the boxes of the segments that hold most."""
        return [self.segment(index).intersect(self.whole) for index in self.fullest(3)]

    def density(self, columns: int, rows: int) -> NDArray[np.float64]:
        """Return the bytes (rows, columns) of the segments of the first plane in cells of the picture."""
        counts = np.zeros(self._per_plane)
        stated = np.asarray(self.page.databytecounts[: self._per_plane], np.float64)
        counts[: len(stated)] = stated
        down = self._per_plane // self._columns
        cells = np.zeros((rows, columns))
        row = (np.arange(down) + 0.5) * self._side_y * rows // self.height
        column = (np.arange(self._columns) + 0.5) * self._side_x * columns // self.width
        places = np.ix_(np.minimum(row, rows - 1).astype(int), np.minimum(column, columns - 1).astype(int))
        np.add.at(cells, places, counts.reshape(down, self._columns))
        return cells

    def segment(self, index: int) -> Box:
        """Pixels that a segment of the first plane covers; at the edges they reach over the picture."""
        x, y = index % self._columns * self._side_x, index // self._columns * self._side_y
        return Box(x, y, x + self._side_x, y + self._side_y)

    def read(self, inside: Box) -> NDArray[np.uint8]:
        """Return RGB (height, width, 3) of a box that lies in the picture, from all segments that it touches.

        Raises:
            SlideError: a segment cannot be decoded.
            RunError: it could not be fetched over the network.
        """
        pixels = np.full((inside.height, inside.width, self._samples), WHITE, np.uint8)
        parts = list(tile_parts(inside, self._side_x, self._side_y))
        self.fetch_boxes([inside])
        for part in parts:
            for plane in range(self._planes):
                decoded = self.tile(part.row * self._columns + part.column + plane * self._per_plane)
                if decoded is not None:
                    samples = slice(None) if self._planes == 1 else slice(plane, plane + 1)
                    pixels[(*part.into, samples)] = decoded[part.cut]
        return pixels if self._samples == 3 else self._on_white(pixels)

    def tile(self, index: int) -> NDArray[np.uint8] | None:
        """Return the samples of a segment, which must not be written to, as they are kept or :meth:`decoded`."""
        if self._kept is None:
            return self.decoded(index)
        key = self.page.offset, index
        if (tile := self._kept.get(key)) is None and (tile := self.decoded(index)) is not None:
            self._kept.put(key, tile)
        return tile

    def _on_white(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Lay RGBA on white."""
        colour, alpha = pixels[..., :3].astype(np.uint16), pixels[..., 3:].astype(np.uint16)
        if int(self.page.extrasamples[0]) != _ASSOCIATED_ALPHA:
            colour = (colour * alpha + WHITE // 2) // WHITE
        elif ((colour > alpha + _ROUNDED) & (alpha > 0)).any():
            raise SlideError(
                f"{self._path}: says that its colours are multiplied by alpha (ExtraSamples 1), and they are not; "
                "write it without alpha"
            )
        laid: NDArray[np.uint8] = np.minimum(colour + (WHITE - alpha), WHITE).astype(np.uint8)
        return laid

    def fetch(self, indices: Iterable[int]) -> None:
        """Fetch segments of the first plane that will be asked for, in as few requests as there are gaps between them.

        Raises:
            RunError: they could not be fetched over the network.
        """
        if self._object is None:
            return
        counts, offsets = self.page.databytecounts, self.page.dataoffsets
        wanted = sorted(
            (offsets[index], counts[index])
            for plane in range(self._planes)
            for one in indices
            if (index := one + plane * self._per_plane) < len(counts)
            and 0 < counts[index] <= _LARGEST_SEGMENT
            and not (self._kept is not None and (self.page.offset, index) in self._kept)
        )
        for start in range(0, len(wanted), _FETCHED_AT_ONCE):
            some = wanted[start : start + _FETCHED_AT_ONCE]
            try:
                self._object.ranges([offset for offset, _ in some], [count for _, count in some])
            except Exception as error:  # said of the first segment
                raise self._unreachable(offsets.index(some[0][0]), error) from error

    def fetch_boxes(self, boxes: Sequence[Box]) -> None:
        """Do that for what boxes will be read of; they may reach over the picture.

        Raises:
            RunError: it could not be fetched over the network.
        """
        if self._object is not None:
            parts = (tile_parts(box.intersect(self.whole), self._side_x, self._side_y) for box in boxes)
            self.fetch({part.row * self._columns + part.column for some in parts for part in some})

    def encoded(self, index: int) -> bytes | None:
        """Return a segment as it is stored; None where it is left out.

        Raises:
            SlideError: it cannot be read.
            RunError: it could not be fetched over the network.
        """
        page = self.page
        if index >= len(page.databytecounts) or not (count := page.databytecounts[index]):
            return None
        if count > _LARGEST_SEGMENT:
            raise SlideError(f"{self._path}: tile {index} claims {count} bytes; the file is damaged")
        try:
            content = self._bytes(page.dataoffsets[index], count)
        except Exception as error:  # every protocol has errors of its own
            if self._file.closed:
                raise SlideError(f"{self._path}: the slide is closed; open it again") from error
            if not is_remote(self._path):
                raise SlideError(f"{self._path}: tile {index} cannot be read: {error}; copy the file again") from error
            raise self._unreachable(index, error) from error
        if len(content) < count:
            raise SlideError(
                f"{self._path}: the file is cut off: tile {index} has {len(content)} of its {count} bytes; copy it "
                "again"
            )
        return content

    def _unreachable(self, index: int, error: Exception) -> RunError:
        box = self.segment(index % self._per_plane)
        return RunError(
            f"{self._path}: pixels at ({box.x0}, {box.y0}) could not be fetched: {' '.join(str(error).split())}; "
            "what is finished is kept, run the same command again"
        )

    def decoded(self, index: int) -> NDArray[np.uint8] | None:
        """Return the samples (height, width, samples) of a segment; None where it is left out.

        Raises:
            SlideError: it cannot be read or decoded.
            RunError: it could not be fetched over the network.
        """
        if (encoded := self.encoded(index)) is None:
            return None
        if self.page.compression == JPEG and _ENDED not in encoded[-_TAIL:]:
            self._refuse_cut_jpeg(index, encoded)
        try:
            decoded: NDArray[np.uint8] = self.page.decode(encoded, index, jpegtables=self.page.jpegtables)[0]
        except Exception as error:  # every codec has errors of its own
            raise self.undecodable(index, error) from error
        return decoded.reshape(decoded.shape[-3:])

    def _refuse_cut_jpeg(self, index: int, encoded: bytes) -> None:
        """Refuse JPEG that ends before its pixels do, where decoders make up what is missing.

        Some writers only leave out the mark of the end, which does no harm: then what follows changes no pixel.
        """
        content = encoded.rstrip(b"\0")
        content += b"\0" if content.endswith(b"\xff") else b""
        try:
            one, other = (
                self.page.decode(content + more * _TAIL + _ENDED, index, jpegtables=self.page.jpegtables)[0]
                for more in (b"\0", b"\xa5")
            )
        except Exception as error:  # every codec has errors of its own
            raise self.undecodable(index, error) from error
        if not np.array_equal(one, other):
            raise self.undecodable(index, ValueError("its JPEG ends early"))

    def undecodable(self, index: int, error: Exception) -> SlideError:
        """Say that a segment cannot be decoded."""
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return SlideError(
            f"{self._path}: tile {index} cannot be decoded: {reason:.200}; the file seems damaged, copy it again"
        )

    def _bytes(self, offset: int, count: int) -> bytes:
        if self._positioned:
            return os.pread(self._file.fileno(), count, offset)
        if self._object is not None:
            return self._object.ranges([offset], [count])[0]
        with self._lock:
            self._file.seek(offset)
            content: bytes = self._file.read(count)
            return content
