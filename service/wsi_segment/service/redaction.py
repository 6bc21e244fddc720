"""Messages for clients, without paths and names of files, which can be names of patients."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_SLIDE, _FILE = "the slide", "a file of the server's"


def without_paths(message: str, folders: Iterable[Path], slide: Path | None = None) -> str:
    """Remove the paths under some folders, and the name of the slide, from a message.

    Args:
        message: Of an error.
        folders: What starts like one of them is removed, up to a colon, a quote or a bracket.
        slide: Location of the slide, if known.
    """
    if slide is not None:
        for known in (str(slide), slide.name):
            message = message.replace(known, _SLIDE)
    for folder in sorted((str(folder) for folder in folders), key=len, reverse=True):
        message = re.sub(re.escape(folder) + r"""[^:;'"()]*""", _FILE, message)
    return message
