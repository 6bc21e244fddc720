"""Bytes of an object that were fetched last, so that whatever reads them next need not fetch them again."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from typing import Any

from wsi_segment.inference.allowance import Allowance

Fetch = Callable[[Sequence[int], Sequence[int]], list[bytes]]
"""Returns parts of an object by their starts and lengths."""
KEPT_BYTES = 128 << 20
"""Bytes that a process keeps of all slides in buckets. Of a large one it is some 50 MiB: the tiles of all fields, where
planning looks at them, of which regions need most again, and the last tiles of a row of blocks, with which the next one
starts; while regions of one slide are computed, another one may be planned."""


ALLOWANCE = Allowance(KEPT_BYTES)
"""Of this process."""


class KeptBytes:
    """The last bytes of one object, by where they lie; safe to use from several threads.

    Memory bound:
        That of the allowance, for all objects together; or all that was fetched at once if that is more.
    """

    def __init__(self, allowance: Allowance = ALLOWANCE) -> None:
        """Start empty."""
        self._allowance = allowance
        self._number = allowance.join(self)
        self._parts: dict[int, bytes] = {}
        """By where they start; none reaches into another."""
        self._starts: list[int] = []
        """Where they start, in order."""
        self._lock = allowance.lock
        self.nbytes = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle nothing of it: another process fetches what it needs itself."""
        return KeptBytes, ()

    def ranges(self, starts: Sequence[int], lengths: Sequence[int], fetch: Fetch) -> list[bytes]:
        """Return parts of the object; of each only what follows after its kept beginning is fetched.

        Args:
            starts: Of the parts.
            lengths: Of the parts.
            fetch: Called once with all that is missing, if anything is.
        """
        with self._lock:
            kept = [self._kept_from(start, start + length) for start, length in zip(starts, lengths, strict=True)]
        rests = [
            (start + len(part), length - len(part)) for start, length, part in zip(starts, lengths, kept, strict=True)
        ]
        missing = sorted({(start, length) for start, length in rests if length})
        if not missing:
            return kept
        found = dict(zip(missing, fetch(*zip(*missing, strict=True)), strict=True))
        with self._lock:
            for (start, _), content in found.items():
                self._put(start, content)
            self._allowance.drop_oldest(least=sum(map(len, found.values())))
        return [part + found.get(rest, b"") for part, rest in zip(kept, rests, strict=True)]

    def find(self, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes | None]:
        """Return the parts that are kept; None for those that are not, or not as a whole."""
        with self._lock:
            found = [self._kept_from(start, start + length) for start, length in zip(starts, lengths, strict=True)]
        return [part if len(part) == length else None for part, length in zip(found, lengths, strict=True)]

    def spans(self) -> tuple[tuple[int, int], ...]:
        """Return where what is kept starts and ends, in order; what lies side by side is one span."""
        found = list[tuple[int, int]]()
        with self._lock:
            for start in self._starts:
                first = found.pop()[0] if found and found[-1][1] == start else start
                found.append((first, start + len(self._parts[start])))
        return tuple(found)

    def _kept_from(self, start: int, end: int) -> bytes:
        """Return the bytes that are kept from a place on without a gap, up to another place."""
        pieces, at = list[bytes](), start
        index = bisect_right(self._starts, start) - 1
        while at < end and 0 <= index < len(self._starts) and (first := self._starts[index]) <= at:
            piece = self._parts[first][at - first : end - first]
            if not piece:
                break
            pieces.append(piece)
            at, index = at + len(piece), index + 1
        return b"".join(pieces)

    def _put(self, start: int, content: bytes) -> None:
        """Keep bytes of which some may be kept already, as two threads may fetch the same."""
        known = len(self._kept_from(start, start + len(content)))
        start, content = start + known, content[known:]
        end, index = start + len(content), bisect_right(self._starts, start)
        while index < len(self._starts) and (first := self._starts[index]) < end:
            if first + len(self._parts[first]) > end:
                content = content[: first - start]
                break
            self.drop(first)
        if content:
            insort(self._starts, start)
            self._parts[start] = content
            self.nbytes += len(content)
            self._allowance.add(self._number, start, len(content))

    def drop(self, start: int) -> None:
        """Keep a part no longer; the lock of the allowance is held."""
        self._allowance.remove(self._number, start)
        self.nbytes -= len(self._parts.pop(start))
        del self._starts[bisect_right(self._starts, start) - 1]
