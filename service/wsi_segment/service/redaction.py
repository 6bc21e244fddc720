"""Messages for clients, without paths and names of files: they can be names of patients."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_SLIDE, _FILE = "the slide", "a file of the server's"


def without_paths(message: str, folders: Iterable[Path], slide: Path | None = None) -> str:
    """A message in which no path under a folder is left, and no name of the slide.

    Args:
        message: Of an error.
        folders: Whatever begins like one of them is left out, up to a colon, a quote or a bracket.
        slide: Where the slide is, if that is known.
    """
    if slide is not None:
        for known in (str(slide), slide.name):
            message = message.replace(known, _SLIDE)
    for folder in sorted((str(folder) for folder in folders), key=len, reverse=True):
        message = re.sub(re.escape(folder) + r"""[^:;'"()]*""", _FILE, message)
    return message
