"""The shards of one run in a bucket, whose names are final and so do not tell of the run."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from wsi_segment.inference.places.bucket_folder import ObjectFolder, TakenError, at_once
from wsi_segment.inference.places.lease import now
from wsi_segment.inference.places.ledger_records import run_name, unsealed

RUN = "run"
"""Key of the object that says which run is under way."""
TRUSTED_SECONDS = 10.0
"""How long a process relies on what it last read there. A run that takes the place of an unfinished one waits for so
long before it removes what that has put."""
_SETTLE_SECONDS = 1.0
_TRIES = 4
_MOST_RUNS = 256

_read_at: dict[tuple[str, str], float] = {}
"""When this process last read that a run is under way, by the address of the ledger and the run's name."""


@dataclass(frozen=True, slots=True)
class ShardFolder(ObjectFolder):
    """Where the shards of one run are put; what another run has put there is replaced by the run that is under way.

    A shard is put where there is none. Whoever finds one looks whether its own run is still under way. So does, once
    the shard is put, whoever has not read that for ``TRUSTED_SECONDS``, since it may have been stopped for any time; if
    the run is not, it takes its shard back. A run that begins in the place of an unfinished one removes what says that
    the old one is under way, waits until nobody relies on that, and then removes the old one's shards.
    """

    beside: ObjectFolder
    """Of the ledger."""
    run: str
    is_held: Callable[[], bool] | None = field(default=None, compare=False)
    """Says without asking the bucket whether the run surely holds the output; does not travel."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave behind what only this process can ask."""
        return type(self), (self.address, self.beside, self.run)

    def put(self, contents: Mapping[str, bytes]) -> None:
        """See :class:`wsi_segment.inference.places.folder.Folder`.

        Raises:
            OSError: another run has been started, too.
        """
        created: list[str] = []

        def one(item: tuple[str, bytes]) -> None:
            self._put_one(*item, created)

        try:
            at_once(one, list(contents.items()))
            if contents and not self._is_trusted() and not self._is_under_way():
                raise _replaced()
        except OSError as error:
            if error.errno == errno.ESTALE:
                self._take_back({key: contents[key] for key in created})
            raise

    def _put_one(self, key: str, content: bytes, created: list[str]) -> None:
        for attempt in range(_TRIES):
            with suppress(TakenError):
                self.create(key, content, writer=self.run)
                created.append(key)
                return
            found = self.look(key)
            if found is not None and found[0] == content and self._may_be_own(found[1], also_nameless=attempt > 0):
                return  # of an earlier try; another run's would be taken back
            if not self._is_under_way():
                raise _replaced()
            if found is not None:
                with suppress(TakenError):
                    self.replace(key, content, found[1], writer=self.run)
                time.sleep(_SETTLE_SECONDS * (attempt + 1))  # until who put the other one has taken it back
        raise OSError(errno.EBUSY, "another process keeps writing there")

    def _is_trusted(self) -> bool:
        if now() - _read_at.get((self.beside.address, self.run), -TRUSTED_SECONDS) < TRUSTED_SECONDS:
            return True
        return self.is_held is not None and self.is_held()  # of a scheduler, which may not answer for some time

    def _is_under_way(self) -> bool:
        """Read whether this run is still the one that was started."""
        asked = now()
        started = self.beside.get(RUN)
        if started is None or (body := unsealed(started)) is None or run_name(body) != self.run:
            return False
        if len(_read_at) >= _MOST_RUNS:
            _read_at.clear()
        _read_at[self.beside.address, self.run] = asked
        return True

    def _take_back(self, contents: Mapping[str, bytes]) -> None:
        for key, content in contents.items():
            found = self.look(key)
            if found is not None and found[0] == content and self._may_be_own(found[1], also_nameless=True):
                self.delete([key])

    def _may_be_own(self, state: Mapping[str, Any], *, also_nameless: bool) -> bool:
        """Return whether this run put an object; a store may not keep who did."""
        return state["writer"] == self.run or (also_nameless and state["writer"] is None)


def _replaced() -> OSError:
    return OSError(errno.ESTALE, "another run has been started in its place")
