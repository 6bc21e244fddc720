"""A bound for what several owners keep together, so that a process with many slides takes no more than with two."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from itertools import count
from typing import Any, Protocol
from weakref import WeakValueDictionary


class Owner(Protocol):
    """Whoever keeps parts of something, each under a key of its own."""

    def drop(self, key: Any) -> None:
        """Keep a part no longer and :meth:`Allowance.remove` it; the lock of the allowance is held."""


class Allowance:
    """How many bytes are kept together, whoever keeps them: the oldest go first.

    All but :meth:`join` must be called with the lock held.
    """

    def __init__(self, most: int) -> None:
        """Start with none."""
        self.most = most
        self.lock = threading.Lock()
        """Held by whoever looks at what is kept, or changes it."""
        self.nbytes = 0
        self._ages: dict[tuple[int, Hashable], int] = {}
        """Lengths by the number of the owner and the key of the part, the oldest first."""
        self._holding = set[int]()
        """Numbers of the owners that have kept something, whoever of them is still there."""
        self._owners: WeakValueDictionary[int, Owner] = WeakValueDictionary()
        self._numbers = count()

    def join(self, owner: Owner) -> int:
        """Return the number by which an owner is known, as long as somebody uses it."""
        number = next(self._numbers)
        self._owners[number] = owner
        return number

    def add(self, number: int, key: Hashable, length: int) -> None:
        """Count a part as the newest one."""
        self._ages[number, key] = length
        self._holding.add(number)
        self.nbytes += length

    def renew(self, number: int, key: Hashable) -> None:
        """Count a part as the newest one again."""
        self._ages[number, key] = self._ages.pop((number, key))

    def remove(self, number: int, key: Hashable) -> None:
        """Count a part no longer."""
        self.nbytes -= self._ages.pop((number, key))

    def drop_oldest(self, least: int = 0) -> None:
        """Drop what is too much, but keep at least so many bytes."""
        most = max(self.most, least)
        if self.nbytes > most:
            self._forget_gone()
        while self.nbytes > most:
            number, key = next(iter(self._ages))
            owner = self._owners.get(number)
            if owner is None:  # nobody uses it any more since a moment ago
                self.remove(number, key)
            else:
                owner.drop(key)

    def _forget_gone(self) -> None:
        gone = {number for number in self._holding if number not in self._owners}
        for number, key in [part for part in self._ages if part[0] in gone] if gone else []:
            self.remove(number, key)
        self._holding -= gone
