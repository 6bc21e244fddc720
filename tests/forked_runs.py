"""Runs of the engine in processes of their own, forked from one that has imported it: what is killed need not start."""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path

_IMPORTED = (
    "wsi_segment.inference.engine.segment",
    "wsi_segment.inference.engine.networks.onnx_network",
    "wsi_segment.inference.places.bucket_folder",
)


@functools.cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    return context


class Forked:
    """A process, with the methods of :class:`subprocess.Popen` that tests use."""

    def __init__(
        self, run: Callable[..., None], *arguments: object, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start it.

        Args:
            run: A function of a module.
            arguments: Of the function.
            cwd: Folder in which it runs.
            environment: Variables that it has besides; those of this process are not its own.
        """
        self._process = _context().Process(
            target=_run, args=(run, arguments, cwd, dict(environment or {})), daemon=True
        )
        self._process.start()

    def poll(self) -> int | None:
        """Return how it ended; None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float = 240.0) -> int:
        """Wait until it has ended, and return how."""
        self._process.join(seconds)
        assert self._process.exitcode is not None, f"it still runs after {seconds} s"
        return self._process.exitcode

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()


def _run(run: Callable[..., None], arguments: tuple[object, ...], cwd: Path, environment: dict[str, str]) -> None:
    os.chdir(cwd)
    os.environ.update(environment)
    run(*arguments)
