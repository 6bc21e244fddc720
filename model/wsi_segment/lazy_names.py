"""Load the public names of a package when they are first used, so that importing it loads no library."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping


def lazy_names(
    package: str, homes: Mapping[str, str], public: Iterable[str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the ``__getattr__`` (PEP 562) and the ``__dir__`` of a package.

    >>> load, names = lazy_names("wsi_segment.errors", {"read_card": "model.card"}, ["read_card"])
    >>> load("read_card").__module__, "read_card" in names()
    ('wsi_segment.model.card', True)

    Args:
        package: Its full name.
        homes: Module in which each name is defined, below ``wsi_segment``.
        public: The names in ``__all__``, which may hold more than ``homes``.
    """

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(importlib.import_module(f"wsi_segment.{homes[name]}"), name)
        vars(sys.modules[package])[name] = value  # so that the next use finds it at once
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public})

    return load, names
