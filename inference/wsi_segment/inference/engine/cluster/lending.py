"""What one worker has fetched of a slide in a bucket, lent to the others of its run, so that the bucket is asked once.

Planning reads many of the tiles that regions need. A worker that lacks a part of the slide asks the one that planned,
if that had the part then, and only after it the bucket. Nothing depends on an answer.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

OPERATION = "wsi_segment_lend"
"""Name by which Dask's workers call it of each other."""
_PATIENCE = "10s"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lender:
    """A worker that has parts of a slide."""

    address: str
    spans: tuple[tuple[int, int], ...]
    """Where they start and end, in order; what lies side by side is one span."""

    def has(self, start: int, length: int) -> bool:
        """Return whether it had a part."""
        index = bisect_right(self.spans, start, key=lambda span: span[0]) - 1
        return index >= 0 and start + length <= self.spans[index][1]


class Borrower:
    """Asks a lender for parts, until it fails to answer once; see ``Borrow`` of the object's file."""

    def __init__(self, lender: Lender, token: str, worker: Any) -> None:
        """Remember whom to ask.

        Args:
            lender: Asked.
            token: Of the run.
            worker: Dask's worker of this process.
        """
        self._lender, self._token, self._worker = lender, token, worker
        self._answers = True

    def __call__(self, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes | None]:
        """Return parts; None for those that the lender lacks."""
        found: list[bytes | None] = [None] * len(starts)
        there = [index for index, part in enumerate(zip(starts, lengths, strict=True)) if self._lender.has(*part)]
        if there and self._answers:
            wanted = [starts[index] for index in there], [lengths[index] for index in there]
            for index, part in zip(there, self._asked(*wanted), strict=True):
                found[index] = part
        return found

    def _asked(self, starts: list[int], lengths: list[int]) -> list[bytes | None]:
        from distributed.utils import sync

        lender = self._worker.rpc(self._lender.address)
        ask = getattr(lender, OPERATION)
        try:
            parts: Sequence[bytes | None] = sync(
                self._worker.loop, ask, token=self._token, starts=starts, lengths=lengths, callback_timeout=_PATIENCE
            )
        except Exception:  # of any kind: it is gone, hangs, or this worker ends
            log.debug("%s lends nothing any more", self._lender.address, exc_info=True)
            self._answers = False
            return [None] * len(starts)
        return list(parts)
