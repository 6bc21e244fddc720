from __future__ import annotations

import asyncio
import threading

import pytest

from wsi_segment.inference.zarr_here import run_here


async def _work() -> list[threading.Thread]:
    """Do what zarr does with the chunks of a shard: all at once, each on another thread."""
    return await asyncio.gather(*(asyncio.to_thread(threading.current_thread) for _ in range(3)))


def test_all_is_done_on_the_thread_that_asks() -> None:
    assert run_here(_work()) == [threading.current_thread()] * 3


def test_within_a_running_loop_all_is_done_on_one_thread_beside() -> None:
    async def in_a_notebook() -> list[threading.Thread]:
        return run_here(_work())

    assert len(set(asyncio.run(in_a_notebook()))) == 1


def test_what_fails_is_raised_as_it_is() -> None:
    async def fails() -> None:
        await asyncio.to_thread(lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        run_here(fails())


def test_an_interrupt_is_handed_on() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    async def fails() -> None:
        await asyncio.to_thread(interrupted)

    with pytest.raises(KeyboardInterrupt):
        run_here(fails())
