"""Messages for clients, without paths and names of files, which can be names of patients, and without addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_SLIDE, _FILE, _FILE_OF_SLIDE = "the slide", "a file of the server's", "a file of the slide"


_MACHINE = re.compile(r"(?:worker )?\b(?:tcp|tls)://\S*\w")
_NAME = re.compile(
    r"""[^\s:;,'"()]+\.(?:btf|bif|dat|dcm|ini|jpe?g|mrxs|ndpi|opt|png|scn|svs|svslide|tiff?|txt|vms|vmu|webp|xml)\b""",
    re.I,
)
"""A word that may be the name of a slide's file, there or missing."""


def without_paths(message: str, folders: Iterable[Path], slide: Path | None = None, files: Iterable[Path] = ()) -> str:
    """Remove the paths under some folders, the names of the slide and its files, and addresses of machines.

    Args:
        message: Of an error.
        folders: What starts like one of them is removed, up to a colon, a quote or a bracket.
        slide: Location of the slide, if known.
        files: All files that a library opens with it.
    """
    if slide is not None:
        for known in (str(slide), slide.name):
            message = message.replace(known, _SLIDE)
    for folder in sorted((str(folder) for folder in folders), key=len, reverse=True):
        message = re.sub(re.escape(folder) + r"""[^:;'"()]*""", _FILE, message)
    for name in sorted({file.name for file in files}, key=len, reverse=True):
        message = message.replace(name, _FILE_OF_SLIDE)
    message = re.sub(rf"(`\w+`) {_FILE}", r"\1", message)  # outlines that a client sent have no file for it
    message = _NAME.sub(_FILE_OF_SLIDE, _MACHINE.sub("a worker of the cluster", message))
    return message if slide is None else re.sub(rf"\b{re.escape(slide.stem)}\b", _SLIDE, message)
