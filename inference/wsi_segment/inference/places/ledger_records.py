"""Records of what is done, each with a checksum: a line of a file, or an object of its own."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from wsi_segment.files import sync_folder

LEDGER_FILE = "ledger.jsonl"


class Records(Protocol):
    """What was started, and one record for each thing that was done; a damaged record is as if it were not there.

    Adding is safe from several threads and processes: it pickles, and each process that it comes to writes apart from
    all others. Records of one run never count for another one, whichever process adds them.
    """

    def started(self) -> bytes | None:
        """Return what :meth:`start` was given, by whichever process; None where nothing was started."""

    def start(self, body: bytes) -> None:
        """Say what is started; on return that lasts."""

    def finished(self) -> Iterator[bytes]:
        """Yield every record that was added to what was started, in no order; one may come twice."""

    def add(self, key: str, body: bytes) -> None:
        """Add a record; on return it lasts.

        Args:
            key: Of what was done; adding it again is harmless.
            body: A line of text without its end.
        """

    def close(self) -> None:
        """Let go of what is open; adding opens it again."""


class LineRecords:
    """Lines of ``ledger.jsonl`` in a folder: ``crc32 body``, synced one by one.

    What is started is the first line. A line that was cut off, or follows one that was, is as if it were not there.
    Another process adds to ``ledger-RUN-….jsonl``, a file of its own, since appending to one file from several machines
    loses lines.
    """

    def __init__(self, folder: Path, run: str = "", name: str = LEDGER_FILE) -> None:
        """Look at nothing yet; the folder need not be there."""
        self._folder, self._run, self._name = folder, run, name
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Be another writer wherever it is unpickled."""
        return _other_writer, (self._folder, self._run)

    def started(self) -> bytes | None:
        """See :class:`Records`."""
        body = next(iter(_intact(self._folder / LEDGER_FILE)[0]), None)
        if body is not None:
            self._run = run_name(body)
        return body

    def state(self) -> tuple[int, int] | None:
        """Return size and time of all that is there, which change with every record; None where nothing was started."""
        try:
            found = [
                (self._folder / LEDGER_FILE).stat(),
                *(path.stat() for path in self._folder.glob("ledger-*.jsonl")),
            ]
        except (FileNotFoundError, NotADirectoryError):
            return None
        return sum(one.st_size for one in found), max(one.st_mtime_ns for one in found)

    def start(self, body: bytes) -> None:
        """See :class:`Records`."""
        self.close()
        self._run = run_name(body)
        (self._folder / self._name).unlink(missing_ok=True)
        self.add("", body)

    def finished(self) -> Iterator[bytes]:
        """See :class:`Records`."""
        yield from _intact(self._folder / LEDGER_FILE)[0][1:]
        for path in sorted(self._folder.glob(f"ledger-{self._run}-*.jsonl")):
            yield from _intact(path)[0]

    def add(self, key: str, body: bytes) -> None:
        """See :class:`Records`."""
        with self._lock:
            if self._file is None:
                path = self._folder / self._name
                intact = _intact(path)[1]
                self._file = path.open("ab")
                self._file.truncate(intact)
                sync_folder(self._folder)
            self._append(self._file, body)

    def close(self) -> None:
        """See :class:`Records`."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _append(self, file: BinaryIO, body: bytes) -> None:
        file.write(sealed(body))
        file.flush()
        os.fsync(file.fileno())


def _other_writer(folder: Path, run: str) -> LineRecords:
    return LineRecords(folder, run, f"ledger-{run}-{secrets.token_hex(8)}.jsonl")


def run_name(body: bytes) -> str:
    """Return the name of the run that a body says was started: 16 hexadecimal digits."""
    return hashlib.sha256(body).hexdigest()[:16]


def sealed(body: bytes) -> bytes:
    r"""Return a line with its checksum.

    >>> sealed(b"{}")
    b'a3a6bf43 {}\n'
    """
    return b"%08x %s\n" % (zlib.crc32(body), body)


def unsealed(line: bytes) -> bytes | None:
    r"""Return the body of a line; None if it was cut off or changed.

    >>> unsealed(b'a3a6bf43 {}\n'), unsealed(b'a3a6bf43 {')
    (b'{}', None)
    """
    checksum, _, body = line.rstrip(b"\n").partition(b" ")
    return body if line.endswith(b"\n") and checksum == b"%08x" % zlib.crc32(body) else None


def _intact(path: Path) -> tuple[list[bytes], int]:
    """Return the bodies of the intact lines from the start, and the bytes that these lines take."""
    bodies: list[bytes] = []
    intact = 0
    if not path.exists():
        return bodies, intact
    for line in path.read_bytes().splitlines(keepends=True):
        if (body := unsealed(line)) is None:
            break
        bodies.append(body)
        intact += len(line)
    return bodies, intact
