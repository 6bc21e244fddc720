"""An object that is read as a file: by small blocks, and by the very ranges that are asked for; both are kept.

What another process has fetched may be had from there.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsi_segment.inference.places.bucket_folder import object_of
from wsi_segment.inference.places.kept_bytes import KeptBytes

_BLOCK = 1 << 16
_SMALL = 2 << 20
"""Bytes of an object that is fetched whole: of so small a slide little is left that its levels, its fingerprint and its
tissue do not need."""
_MOST_NOTED = 1 << 20
"""Bytes of parts that are noted for others."""

Borrow = Callable[[Sequence[int], Sequence[int]], list[bytes | None]]
"""Returns parts of an object that another process has, by their starts and lengths; None for those that it lacks."""


@dataclass(slots=True)
class Parts:
    """Parts of an object that were read, so that whoever reads the same ones need not fetch them.

    What was noted travels to other processes; of more than 1 MiB none is. What else was fetched stays in this one.
    """

    size: int = 0
    """Of the object in bytes; 0 where that is not known."""
    state: Mapping[str, str] = field(default_factory=dict)
    """What told the content from any later one when the object was opened, as far as its server says any."""
    noted: dict[int, bytes] = field(default_factory=dict, repr=False)
    """By where they start."""
    counted: int = 0
    """Bytes of all that were noted."""
    kept: KeptBytes = field(default_factory=KeptBytes, repr=False)
    """All that was fetched last."""
    borrow: Borrow | None = field(default=None, repr=False)
    """Asked before the bucket is."""

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
        self._folder, self._key = object_of(path)
        self._parts = Parts() if parts is None else parts
        if self._parts.size:
            return
        found = self._folder.look(self._key, _BLOCK)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such object", str(path))
        self._parts.size = size = int(found[1]["size"])
        self._parts.state = named_by(found[1])
        self._parts.kept.ranges([0], [len(found[0])], lambda *missing: [found[0]])
        if size <= _SMALL:
            self.ranges([0], [size])

    def ranges(self, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Return parts; those that are missing come by as few requests as there are gaps between them."""
        return self._parts.kept.ranges(starts, lengths, self._fetched)

    def _fetched(self, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Return parts that this process lacks, those that another one has from there."""
        borrow = self._parts.borrow
        found: list[bytes | None] = [None] * len(starts) if borrow is None else borrow(starts, lengths)
        missing = [index for index, part in enumerate(found) if part is None]
        if missing:
            rest = [starts[index] for index in missing], [lengths[index] for index in missing]
            for index, part in zip(missing, self._folder.ranges(self._key, *rest), strict=True):
                found[index] = part
        return [part or b"" for part in found]

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
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._parts.size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there are bytes."""
        view = memoryview(buffer).cast("B")
        content = self.read(len(view))
        view[: len(content)] = content
        return len(content)

    def read(self, size: int | None = -1) -> bytes:
        """Return bytes from the position on; a large part is fetched as it is, a small one with its block."""
        end = self._parts.size if size is None or size < 0 else min(self._parts.size, self._at + size)
        start, self._at = self._at, max(self._at, end)
        if end <= start:
            return b""
        if (known := self._parts.find(start, end - start)) is not None:
            return known
        low, high = start, end
        if end - start < _BLOCK // 2:
            low, high = start - start % _BLOCK, min(self._parts.size, end + -end % _BLOCK)
        content = self.ranges([low], [high - low])[0][start - low : end - low]
        self._parts.note(start, content)
        return content

    def readall(self) -> bytes:
        """Return all that follows."""
        return self.read(-1)


def named_by(found: Mapping[str, Any]) -> dict[str, str]:
    """Return what of an object's description names its content."""
    return {name: str(found[name]) for name in ("size", "e_tag") if found.get(name)}
