"""Reading bodies beside the event loop, large ones in a process of their own.

To check a million positions takes seconds, in which a thread would let no other request of the server go on.
"""

from __future__ import annotations

import codecs
import gc
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import anyio
import anyio.to_process
import anyio.to_thread
from pydantic import BaseModel, ValidationError

_LARGE = 1 << 20
"""Bytes from which on a process of its own is worth its start."""
_MOST_PROBLEMS = 1000
_LARGE_AT_ONCE = anyio.CapacityLimiter(2)
"""A process keeps the memory that it has taken."""

_Checked = TypeVar("_Checked", bound=BaseModel)
_Read = TypeVar("_Read")


class UnsoundError(Exception):
    """A body is not what it should be; its argument lists what is wrong, as pydantic does."""

    @property
    def problems(self) -> Sequence[dict[str, Any]]:
        """What is wrong."""
        found: Sequence[dict[str, Any]] = self.args[0]
        return found


def check(kind: type[_Checked], content: bytes) -> _Checked:
    """Parse and check a body.

    Raises:
        UnsoundError: it is something else.
    """
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:  # which cannot be handed from one process to another
        found = error.errors(include_url=False, include_context=False, include_input=False)
    raise UnsoundError([{**one, "loc": ("body", *one["loc"])} for one in found[:_MOST_PROBLEMS]])


async def read_aside(read: Callable[..., _Read], content: bytes, *arguments: Any) -> _Read:
    """Return what a function makes of a body; the less it returns of a large one, the less the event loop does.

    Args:
        read: A function of a module; its arguments, result and errors go from one process to another.
        content: Its first argument.
        arguments: The others.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    if len(content) < _LARGE:
        return await anyio.to_thread.run_sync(read, content, *arguments)
    return await anyio.to_process.run_sync(_read_large, read, content, *arguments, limiter=_LARGE_AT_ONCE)


def _read_large(read: Callable[..., _Read], content: bytes, *arguments: Any) -> _Read:
    """Read a large body; to look for garbage among millions of numbers would take most of the time."""
    gc.disable()
    try:
        return read(content, *arguments)
    finally:
        gc.enable()
