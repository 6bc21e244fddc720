"""Make files last: what was synced survives a power cut, and what is replaced is never half written."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from wsi_segment.errors import OutputError

_LONGEST_NAME = 255


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
def replacing(path: Path, *, text: bool = False, shared: bool = False, private: bool = False) -> Iterator[IO[Any]]:
    """Write a file that takes its name only when it is complete and on the disk.

    Args:
        path: The file; its folder is created where it is missing. What stands there remains until the end.
        text: Open for UTF-8 text without translation of line ends, not for bytes.
        shared: Several processes or threads may write the file at once: each gets a temporary file of its own, and the
            last one to end wins. A killed process leaves its temporary file behind.
        private: Let nobody but the owner read it, from the first byte on.

    Yields:
        The open temporary file. If the block raises, it is removed and ``path`` stays as it was.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
        OutputError: a device or a pipe has this name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    refuse_special(path)
    temporary = temporary_for(path)
    if shared:
        temporary = temporary.with_stem(f"{temporary.stem}-{secrets.token_hex(4)}")
    try:
        if private:
            temporary.unlink(missing_ok=True)  # what a killed process left may be open to others
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        descriptor = os.open(temporary, flags, 0o600 if private else 0o666)
        with os.fdopen(descriptor, "w", newline="", encoding="utf-8") if text else os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # an interrupted write leaves nothing either
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def refuse_special(path: Path) -> None:
    """Refuse to put a file in the place of a device, a pipe or a socket, which would be gone for everybody.

    Raises:
        OutputError: ``path`` is one, such as ``/dev/null`` or what a shell makes of ``>(gzip)``.
    """
    is_stream = path.is_symlink() and path.readlink().is_relative_to("/proc")  # /dev/stdout, even if it is a file
    if is_stream or (path.exists() and not (path.is_file() or path.is_dir())):
        raise OutputError(f"{path}: is a device or a pipe, which a file cannot replace; give the name of a file")


def temporary_for(path: Path) -> Path:
    """Return the name, in the same folder, of a file that will be called ``path``.

    It is short, since a name may have 255 bytes, and always the same, so that the next try replaces what a power cut
    has left.
    """
    return path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.partial")


def is_there(path: Path) -> bool:
    """Return whether there is a file or folder of this name; a name that no file system can hold is of none."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a null byte
        return False


def address_meant(text: str) -> str | None:
    """Return the address that a text lacks one slash to be; None for any other, such as one that starts with ``C:/``.

    >>> address_meant("s3:/bucket/a.svs"), address_meant("s3://bucket/a.svs"), address_meant("./s3:/a.svs")
    ('s3://bucket/a.svs', None, None)
    """
    found = re.match(r"([A-Za-z][\w+.-]+):/(?!/)", text)
    if found is None:
        return None
    return f"{found[1]}://{'/' if found[1].lower() == 'file' else ''}{text[found.end() :]}"


def refuse_existing(path: Path, *, overwrite: bool, exists: bool | None = None) -> None:
    """Refuse to replace what is there, unless that is wanted.

    Args:
        path: What is to be written.
        overwrite: Whether it may be replaced.
        exists: Whether it is there, where that is known already.

    Raises:
        OutputError: ``path`` exists and is not to be overwritten.
    """
    if not overwrite and (path.exists() if exists is None else exists):
        raise OutputError(f"{path}: already exists; choose another `out`, or set `overwrite`")


def refuse_long_names(paths: Iterable[Path]) -> None:
    """Refuse names that a file system cannot hold, before anything is computed for them.

    Args:
        paths: Files that will be written.

    Raises:
        OutputError: one has a longer name than its folder can hold.
    """
    for path in paths:
        longest, length = longest_name(path.parent), _length_of(path.name)
        if length > longest:
            name = printable(path.name)
            raise OutputError(
                f"{printable(path.parent)}: names can have {longest} bytes there, {name[:24]}...{name[-16:]} would "
                f"have {length}; choose a shorter `out`"
            )


def _length_of(name: str) -> int:
    """Return a name's length as the file system counts it."""
    if sys.platform == "win32":
        return len(name.encode("utf-16-le", "surrogatepass")) // 2
    return len(os.fsencode(name))


def longest_name(folder: Path) -> int:
    """Return how long a name in a folder may be: bytes, or UTF-16 units on Windows.

    Most file systems take 255; those that encrypt names take fewer, such as 143 with eCryptfs.
    """
    if sys.platform == "win32":
        return _LONGEST_NAME
    there = next((one for one in (folder, *folder.parents) if one.exists()), Path())
    try:
        return os.pathconf(there, "PC_NAME_MAX")
    except (OSError, ValueError):  # a file system that does not say
        return _LONGEST_NAME


def printable(path: Path | str) -> str:
    r"""Return a path as text that every encoding of Unicode can hold: bytes that are not UTF-8 become ``\xfc``."""
    return os.fsencode(str(path)).decode("utf-8", "backslashreplace")  # addresses are no os.PathLike
