"""Who still writes an output in a bucket, told to workers by way of the scheduler, so that none asks the bucket for it.

The client that holds the output vouches for its run every few seconds, with a time that the scheduler had named before
the client looked whether it holds it. Whoever is told how long ago that time was knows that the client held it since
then, however long any message took. A scheduler runs a part of this, so nothing here may import the engine.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from wsi_segment.inference.places import bucket_shards
from wsi_segment.inference.places.lease import now

OPERATION = "wsi_segment_vouched"
"""Name by which Dask's workers call it of the scheduler."""
_PATIENCE = "5s"
_MOST_SECONDS = 60.0
"""Age of what is forgotten."""
_AGAIN_SECONDS = 1.0
"""Seconds after which a worker asks again where it was not answered."""

_vouched: dict[str, float] = {}
"""On a scheduler: when a run's client held its output, by the run's token."""

log = logging.getLogger(__name__)


def name_time() -> float:
    """Return the scheduler's time, before which what a client vouches for next is not known."""
    return now()


def vouch(tokens: Iterable[str], named: float, dask_scheduler: Any) -> None:
    """Note on a scheduler that runs have held their outputs since it named a time; Dask passes it itself."""
    dask_scheduler.handlers[OPERATION] = age
    for token in [token for token, time in _vouched.items() if now() - time > _MOST_SECONDS]:
        del _vouched[token]
    if named > now():  # by another scheduler, at the same address before this one
        return
    for token in tokens:
        _vouched[token] = max(named, _vouched.get(token, named))


def age(token: str) -> float | None:
    """Return how many seconds ago a run's client held its output at the latest; None where that is not known."""
    seconds = now() - _vouched.get(token, float("inf"))
    return seconds if seconds >= 0 else None


class Vouched:
    """Says on a worker whether a run surely holds its output, as the scheduler knows it."""

    def __init__(self, token: str, worker: Any) -> None:
        """Ask nothing yet.

        Args:
            token: Of the run.
            worker: Dask's worker of this process.
        """
        self._token, self._worker = token, worker
        self._held = self._next = -float("inf")

    def __call__(self) -> bool:
        """Return whether the run held it so short a time ago that this can be relied on; ask only where it must be."""
        if not self._is_trusted() and now() >= self._next:
            asked = now()
            if (seconds := self._asked()) is not None:
                self._held = max(self._held, asked - seconds)
            else:
                self._next = now() + _AGAIN_SECONDS
        return self._is_trusted()

    def _is_trusted(self) -> bool:
        return now() - self._held < bucket_shards.TRUSTED_SECONDS

    def _asked(self) -> float | None:
        from distributed.utils import sync

        ask = getattr(self._worker.scheduler, OPERATION)
        try:
            found: float | None = sync(self._worker.loop, ask, token=self._token, callback_timeout=_PATIENCE)
        except Exception:  # of any kind: nobody vouches there, it is gone or hangs, or this worker ends
            log.debug("the scheduler vouches for nothing", exc_info=True)
            return None
        return found
