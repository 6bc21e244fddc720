"""Say which extra of the package is missing, and how to install it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wsi_segment.errors import InputError


def how_to_install(extra: str) -> str:
    """Return the end of a message about a library that is missing.

    >>> how_to_install("train")
    "the extra [train]; in a checkout: pip install '.[train]'"
    """
    return f"the extra [{extra}]; in a checkout: pip install '.[{extra}]'"


@contextmanager
def needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Turn a missing library into a line that says how to install it.

    Args:
        extra: Extra of the package, such as ``train``.
        purpose: What needs it, as the start of a sentence.

    Raises:
        InputError: a library is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; {purpose} needs {how_to_install(extra)}") from error
