"""Make files last: what was synced survives a power cut, and what is replaced is never half written."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


def sync_file(path: Path) -> None:
    """Force a file's contents to the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Force a folder's entries to the disk; Windows does so by itself and has no call for it."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Force everything below a folder, and the folder itself, to the disk."""
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            sync_file(Path(folder) / name)
        sync_folder(Path(folder))


@contextmanager
def replacing(path: Path, *, text: bool = False) -> Iterator[IO[Any]]:
    """Write a file that takes its name only when it is complete and on the disk.

    Args:
        path: The file; its folder is created where it is missing. What stands there remains until the end.
        text: Open for UTF-8 text without translation of line ends, not for bytes.

    Yields:
        The open temporary file. If the block raises, it is removed and ``path`` stays as it was.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_for(path)
    try:
        with temporary.open("w", newline="", encoding="utf-8") if text else temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def temporary_for(path: Path) -> Path:
    """Return the name, in the same folder, of a file that will be called ``path``.

    It is short, since a name may have 255 bytes, and always the same, so that the next try replaces what a power cut
    has left.
    """
    return path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.partial")
