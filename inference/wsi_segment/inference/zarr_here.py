"""zarr's work on the thread that asks for it.

zarr hands every call to one thread of its own, and from there each chunk to another one that compresses it. To wake
them costs several times what compressing a chunk of class ids does, and all regions of a process would wait for the
same thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_here(work: Coroutine[Any, Any, T]) -> T:
    """Run what zarr's asynchronous arrays give, and return its result; nothing in it may wait for another thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(work)
    with ThreadPoolExecutor(1) as beside:  # a notebook's cells run within a loop, which holds no second one
        return beside.submit(_run, work).result()


def _run(work: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.new_event_loop()
    try:
        loop.set_default_executor(_AtOnce(1))
        return loop.run_until_complete(work)
    finally:
        loop.close()


class _AtOnce(ThreadPoolExecutor):
    """Calls what it is given at once, on the same thread; asyncio takes no other kind of executor."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return a future that is done."""
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:  # raised again where the future is awaited
            done.set_exception(error)
        return done
