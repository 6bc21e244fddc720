"""A store as one ZIP archive that is written while it is sent: no more of it is in memory than a piece."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

_PIECE = 1 << 20
"""Bytes that are sent at a time."""


class _Sent(io.RawIOBase):
    """What an archive writes, until it is sent; like a connection it has no way back."""

    def __init__(self) -> None:
        self.waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]  # any buffer would do
        self.waiting += content
        return len(content)

    def take(self) -> bytes:
        taken = bytes(self.waiting)
        self.waiting.clear()
        return taken


def zipped(store: Path) -> Iterator[bytes]:
    """Yield a store as a ZIP archive; its files stand at the top, as readers of a zipped store expect them.

    Chunks are compressed already, and are put in as they are. What a link brings in from outside is left out.
    """
    root, sent = store.resolve(), _Sent()
    with zipfile.ZipFile(sent, "w", zipfile.ZIP_STORED) as archive:
        for path in _files(root):
            entry = zipfile.ZipInfo.from_file(path, path.relative_to(root).as_posix(), strict_timestamps=False)
            with path.open("rb") as source, archive.open(entry, "w") as target:
                while piece := source.read(_PIECE):
                    target.write(piece)
                    if len(sent.waiting) >= _PIECE:
                        yield sent.take()
    yield sent.take()


def _files(root: Path) -> Iterator[Path]:
    """Yield the files below a folder, those of a folder before its folders."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.resolve().is_relative_to(root) and path.is_file():
                yield path
