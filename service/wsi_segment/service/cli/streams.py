"""Standard output and error as they are: of any encoding, and closed when a reader such as ``head`` had enough."""

from __future__ import annotations

import codecs
import os
import sys

_PLAIN = {"µ": "u", "²": "2", "×": "x", "…": "...", "–": "-", "—": "-", "•": "*"}


def print_anything() -> None:
    """Have this process print text that its standard streams cannot encode, with other characters in place of some.

    A stream has the code page of the country where it is piped on Windows, and file names may not be text at all.
    """
    codecs.register_error("wsi_segment.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a program may have put something else there
        if reconfigure is not None:
            reconfigure(errors="wsi_segment.plain")


def nobody_reads() -> bool:
    """Return whether the reader of standard output, such as ``head``, had enough and ended, which is not an error."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return True
    return False


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace what an encoding cannot hold: by a look-alike, by the byte of a name that is not text, or by ``?``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter) or _byte(letter) for letter in text), error.end


def _byte(letter: str) -> str:
    """Return the code of a byte that Python keeps as half of a surrogate pair (PEP 383)."""
    return f"\\x{ord(letter) - 0xDC00:02x}" if "\udc80" <= letter <= "\udcff" else "?"
