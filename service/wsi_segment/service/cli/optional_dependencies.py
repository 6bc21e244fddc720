"""Say which command installs an optional part that is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wsi_segment.errors import InputError


@contextmanager
def needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Turn a missing library into the command that installs it.

    Args:
        extra: Extra of the package, such as ``train``.
        purpose: What needs it, as the start of a sentence.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; {purpose} needs: pip install wsi-segment[{extra}]") from error
