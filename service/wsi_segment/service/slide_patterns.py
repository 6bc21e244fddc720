"""Slides of a server by folder or pattern, once or as they come."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from wsi_segment.errors import InputError, RunError
from wsi_segment.service.client import Client

_WILD = frozenset("*?[")
_TOKEN = re.compile(r"(?P<deep>\*\*/)|(?P<all>\*\*)|(?P<star>\*)|(?P<one>\?)|(?P<set>\[[^]/]+\])|(?P<other>.)", re.S)


def is_pattern(text: str) -> bool:
    """Return whether a text is meant as a pattern or a folder, and not as one slide."""
    return text.endswith("/") or bool(_WILD & set(text))


def match(pattern: str) -> re.Pattern[str]:
    """Compile a pattern: ``*`` and ``?`` stay within a folder, ``**/`` is any number of folders, ``[ab]`` a set.

    A folder, with a slash at its end, is all that lies below it.

    >>> [bool(match(pattern).fullmatch("r/a/b.svs")) for pattern in ("r/**/*.svs", "r/a/", "r/*.svs")]
    [True, True, False]
    """
    made = {"deep": "(?:.*/)?", "all": ".*", "star": "[^/]*", "one": "[^/]"}
    parts = []
    for found in _TOKEN.finditer(pattern + "**" if pattern.endswith("/") else pattern):
        kind, text = str(found.lastgroup), found[0]
        if kind == "set":
            parts.append(
                f"[{'^' if text[1] == '!' else ''}{re.escape(text[1:-1].lstrip('!')).replace(chr(92) + '-', '-')}]"
            )
        else:
            parts.append(made.get(kind, re.escape(text)))
    return re.compile("".join(parts), re.DOTALL)


def slides_of(client: Client, pattern: str) -> Iterator[dict[str, Any]]:
    """Iterate over the slides of a server whose ``ROOT/path/below`` matches a pattern.

    Raises:
        InputError: the server has no such root.
    """
    root, _, below = pattern.partition("/")
    if _WILD & set(root):
        raise InputError(f"{pattern}: a pattern begins with the name of a root, such as slides/**/*.svs")
    wanted = match(pattern)
    prefix = re.split(r"[*?\[]", below, maxsplit=1)[0]
    for slide in client.slides(root=root, prefix=prefix):
        if wanted.fullmatch("/".join(part for part in (slide["root"], slide["folder"], slide["name"]) if part)):
            yield slide


def watch(
    client: Client,
    pattern: str,
    post: Callable[[str], None],
    *,
    seconds: float,
    report: Callable[[str], None],
    goes_on: Callable[[], bool] = lambda: True,
) -> None:
    """Post each slide that comes, once: when two looks find the same image and it has no job yet.

    A slide that is replaced by another image is posted again. What the server refuses is reported, and not posted
    again until it changes.

    Args:
        client: Of the server.
        pattern: Which slides; see :func:`match`.
        post: Called with the id of each.
        seconds: Between two looks.
        report: Called with what goes wrong, once for each kind.
        goes_on: Asked before each look.

    Raises:
        InputError: the first look found that the server has no such root.
    """
    before: dict[str, str] = {}
    done: set[tuple[str, str]] = set()
    said, first = "", True
    while goes_on():
        try:
            # slides with an error are still on their way, not looked into yet, or no slides
            now = {one["id"]: one["fingerprint"] for one in slides_of(client, pattern) if one["error"] is None}
            for image in now.items():
                if image not in done and before.get(image[0]) == image[1]:
                    _post_once(client, image, post, report)
                    done.add(image)
            before, said = now, ""
        except (RunError, InputError) as error:  # the server is away, or its root is: both come back
            if first and isinstance(error, InputError):
                raise
            if said != str(error):
                said = str(error)
                report(f"{said}; it is tried again")
        first = False
        time.sleep(seconds)


def _post_once(
    client: Client, image: tuple[str, str], post: Callable[[str], None], report: Callable[[str], None]
) -> None:
    """Post a slide, by id and fingerprint, unless it has a job; one of an earlier version knows no fingerprint."""
    slide, fingerprint = image
    if any(job["slide_fingerprint"] in (None, fingerprint) for job in client.jobs(slide=slide)):
        return
    try:
        post(slide)
    except InputError as error:
        report(f"slide {slide}: {error}")
