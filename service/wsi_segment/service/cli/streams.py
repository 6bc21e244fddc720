"""Standard output and error as they are: of any encoding, closed from the start, or without a reader any more."""

from __future__ import annotations

import codecs
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN = {"µ": "u", "²": "2", "×": "x", "…": "...", "–": "-", "—": "-", "•": "*"}


class _Unfailing:
    """A stream that drops what cannot be written, so that the work goes on.

    Its reader, such as ``head``, may have had enough, which is no error; or the disk behind it is full.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None
        """Why something was lost that somebody would have read."""

    def write(self, text: str) -> int:
        """Write text, or drop it."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Write what is held back, or drop it."""
        self._try(self._stream.flush)

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.failure = error
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())  # what is held back, and all that comes, goes there
            os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def print_anything() -> None:
    """Have this process print to whatever its standard streams are.

    A stream may have been closed: the first file that is opened would get its number, and whatever a library prints
    would be written into it. It may have the code page of the country where it is piped on Windows, and file names
    may not be text at all. Its reader may end before this process does.
    """
    codecs.register_error("wsi_segment.plain", _plain)
    _open_closed()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        reconfigure = getattr(stream, "reconfigure", None)  # a program may have put something else there
        if reconfigure is not None:
            reconfigure(errors="wsi_segment.plain")
        if stream is not None and stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, cast("TextIO", _Unfailing(stream)))


def lost_output() -> OSError | None:
    """Return why standard output could not be written, and None where it was, or where nobody read it."""
    return sys.stdout.failure if isinstance(sys.stdout, _Unfailing) else None


def _open_closed() -> None:
    """Open the null device in the place of standard streams that are closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace what an encoding cannot hold: by a look-alike, by the byte of a name that is not text, or by ``?``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter) or _byte(letter) for letter in text), error.end


def _byte(letter: str) -> str:
    """Return the code of a byte that Python keeps as half of a surrogate pair (PEP 383)."""
    return f"\\x{ord(letter) - 0xDC00:02x}" if "\udc80" <= letter <= "\udcff" else "?"
