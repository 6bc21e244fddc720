"""An object that is read as a file: by small blocks that are kept, and by the very ranges that are asked for."""

from __future__ import annotations

import errno
import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsi_segment.inference.places.bucket_folder import ObjectFolder

_BLOCK = 1 << 17
_KEPT = 32
"""Blocks that are kept."""
_MOST_NOTED = 1 << 20
"""Bytes of parts that are noted for others."""


@dataclass(slots=True)
class Parts:
    """Parts of an object that were read, so that whoever reads the same ones elsewhere need not fetch them.

    Of more than 1 MiB none are noted.
    """

    size: int = 0
    """Of the object in bytes; 0 where that is not known."""
    noted: dict[int, bytes] = field(default_factory=dict, repr=False)
    """By where they start."""
    counted: int = 0
    """Bytes of all that were noted."""

    def find(self, start: int, length: int) -> bytes | None:
        """Return a part; None where it was not noted."""
        found = self.noted.get(start, b"")
        return found[:length] if len(found) >= length else None

    def note(self, start: int, content: bytes) -> None:
        """Note a part, while there are few bytes of them."""
        more = len(content) - len(self.noted.get(start, b""))
        if more <= 0 or self.counted > _MOST_NOTED:
            return
        self.noted[start] = content
        self.counted += more
        if self.counted > _MOST_NOTED:
            self.noted.clear()


def object_of(path: Path) -> tuple[ObjectFolder, str]:
    """Return the folder and the key of an object."""
    return ObjectFolder(str(path.parent).rstrip("/")), path.name


class ObjectFile(io.RawIOBase):
    """An object, opened for reading."""

    def __init__(self, path: Path, parts: Parts | None = None) -> None:
        """Fetch the first block, and learn the size with it, unless it is known.

        Args:
            path: Where it is.
            parts: Of this very object, which are not fetched; those that are read are added.

        Raises:
            OSError: there is no such object, or it cannot be read.
        """
        super().__init__()
        self._at = 0
        self._lock = threading.Lock()
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._folder, self._key = object_of(path)
        self._parts = parts
        if parts is not None and parts.size:
            self._size = parts.size
            return
        found = self._folder.look(self._key, _BLOCK)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such object", str(path))
        self._blocks[0], self._size = found[0], int(found[1]["size"])
        if parts is not None:
            parts.size = self._size

    def ranges(self, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Return parts, see :meth:`ObjectFolder.ranges`."""
        return self._folder.ranges(self._key, starts, lengths)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, counted from the start, from here or from the end."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there are bytes."""
        view = memoryview(buffer).cast("B")
        content = self.read(len(view))
        view[: len(content)] = content
        return len(content)

    def read(self, size: int | None = -1) -> bytes:
        """Return bytes from the position on; a large part is fetched as it is, a small one with its block."""
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        start, self._at = self._at, max(self._at, end)
        if end <= start:
            return b""
        if self._parts is not None and (known := self._parts.find(start, end - start)) is not None:
            return known
        content = self._read(start, end)
        if self._parts is not None:
            self._parts.note(start, content)
        return content

    def readall(self) -> bytes:
        """Return all that follows."""
        return self.read(-1)

    def _read(self, start: int, end: int) -> bytes:
        if end - start >= _BLOCK // 2:
            return self.ranges([start], [end - start])[0]
        pieces = []
        for number in range(start // _BLOCK, (end - 1) // _BLOCK + 1):
            block, from_ = self._block(number), number * _BLOCK
            pieces.append(block[max(0, start - from_) : end - from_])
        return b"".join(pieces)

    def _block(self, number: int) -> bytes:
        with self._lock:
            if number not in self._blocks:
                start = number * _BLOCK
                length = min(_BLOCK, self._size - start)
                self._blocks[number] = self.ranges([start], [length])[0]
                while len(self._blocks) > _KEPT:
                    self._blocks.popitem(last=False)
            self._blocks.move_to_end(number)
            return self._blocks[number]
