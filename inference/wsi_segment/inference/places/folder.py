"""Files by key below one name: what is written there, whichever kind of place it is."""

from __future__ import annotations

import errno
import os
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wsi_segment.files import sync_folder


class Folder(Protocol):
    """Files below one name, by keys such as ``labels/segmentation/0/c/0/0``.

    It is safe to use from several threads. It pickles as its name alone: opening, and whatever credentials that needs,
    happen in each process.
    """

    @property
    def path(self) -> Path:
        """Return its name: a path or an address."""

    @property
    def near(self) -> bool:
        """Return whether reading back what was put costs next to nothing."""

    def put(self, contents: Mapping[str, bytes]) -> None:
        """Write whole files; each is there as a whole or not at all, and all of them last when this returns.

        Raises:
            OSError: one cannot be written.
        """

    def get(self, key: str) -> bytes | None:
        """Return what a file holds; None where there is none.

        Raises:
            OSError: it cannot be read.
        """

    def find(self, prefix: str = "") -> list[str]:
        """Return the keys of all files below a prefix, which is empty or ends in ``/``.

        Raises:
            OSError: they cannot be listed.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Remove files; those that are not there do not matter.

        Raises:
            OSError: one cannot be removed.
        """


_PART = 1 << 20
"""Bytes of a piece of a packed file."""


class PackedFiles(Mapping[str, bytes]):
    """Whole files by key, compressed while nobody reads them."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        """Compress files."""
        self._packed = {key: (len(content), zlib.compress(content, 1)) for key, content in files.items()}

    def __getitem__(self, key: str) -> bytes:
        length, packed = self._packed[key]
        return zlib.decompress(packed, bufsize=max(1, length))  # in place, or it would hold some of it twice

    def parts(self, key: str) -> Iterator[bytes]:
        """Yield a file piece by piece, of which no more than one is held at a time."""
        unpacker, packed = zlib.decompressobj(), self._packed[key][1]
        while not unpacker.eof:
            yield unpacker.decompress(packed, _PART)
            packed = unpacker.unconsumed_tail

    def __contains__(self, key: object) -> bool:
        return key in self._packed

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def try_to_put(folder: Folder, key: str) -> None:
    """Put a file that is of no use, and remove it.

    Raises:
        OSError: that may not be done there.
    """
    folder.put({key: b""})
    folder.delete([key])


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder of this machine, or one that several machines share."""

    path: Path
    scratch: bool = False
    """Whether it need not survive a power cut, so that nothing is forced to the disk."""
    made_once: bool = False
    """Whether somebody else makes the folder itself, so that nothing is written once it is gone."""

    @property
    def near(self) -> bool:
        """See :class:`Folder`."""
        return True

    def put(self, contents: Mapping[str, bytes]) -> None:
        """See :class:`Folder`."""
        folders: set[Path] = set()
        for key in contents:
            path = self.path / key
            self._make(path.parent)
            self._write(path, contents.parts(key) if isinstance(contents, PackedFiles) else [contents[key]])
            folders |= {path.parent, *(folder for folder in path.parents if folder.is_relative_to(self.path))}
        if not self.scratch:
            for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
                sync_folder(folder)

    def get(self, key: str) -> bytes | None:
        """See :class:`Folder`."""
        try:
            return (self.path / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def find(self, prefix: str = "") -> list[str]:
        """See :class:`Folder`."""
        files = (path for path in (self.path / prefix).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.path).as_posix() for path in files)

    def delete(self, keys: Iterable[str]) -> None:
        """See :class:`Folder`."""
        for key in keys:
            (self.path / key).unlink(missing_ok=True)

    def remove_torn(self) -> None:
        """Remove the temporary files of whoever was cut off while it wrote; nobody may be writing now."""
        for torn in self.path.rglob("*.partial"):
            torn.unlink()

    def _make(self, folder: Path) -> None:
        if not self.made_once:
            folder.mkdir(parents=True, exist_ok=True)
        elif not folder.is_dir():
            if folder == self.path:
                raise FileNotFoundError(errno.ENOENT, "the run that it belongs to has ended", str(folder))
            self._make(folder.parent)
            folder.mkdir(exist_ok=True)

    def _write(self, path: Path, parts: Iterable[bytes]) -> None:
        """Write a file under a name of its own, since another process may be writing the same one, and rename it."""
        temporary = path.with_name(f".{secrets.token_hex(8)}.partial")
        try:
            with temporary.open("wb") as file:
                file.writelines(parts)
                file.flush()
                if not self.scratch:
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:  # an interrupted write leaves nothing either
            temporary.unlink(missing_ok=True)
            raise
