"""Options of a dataset's loader, as the command line gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from wsi_segment.errors import InputError

Options = Mapping[str, Any]
Value = TypeVar("Value", str, float, int)


class OptionReader:
    """Takes options by name; what is left over was misspelt."""

    def __init__(self, dataset: str, options: Options) -> None:
        self._dataset, self._left = dataset, dict(options)
        self._known: list[str] = []

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Return one of some words; the first one by default."""
        self._known.append(name)
        value = self._left.pop(name, choices[0])
        if value not in choices:
            raise InputError(f"`data {name}={value}`: {self._dataset} knows {', '.join(choices)}")
        return str(value)

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """Return a number in a range."""
        self._known.append(name)
        value = self._left.pop(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise InputError(f"`data {name}={value}`: give a number between {low:g} and {high:g}")
        return float(value)

    def done(self) -> None:
        """Refuse what nobody took."""
        if self._left:
            known = ", ".join(self._known) or "none"
            raise InputError(f"`data {next(iter(self._left))}`: {self._dataset} has no such option; it has: {known}")
