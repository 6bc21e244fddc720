"""Arguments of the form FIELD=VALUE."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from wsi_segment.errors import InputError


def parse_changes(flag: str, texts: Iterable[str]) -> dict[str, Any]:
    """Parse fields and values; a value is JSON where it can be, and else a word.

    Raises:
        InputError: a text has no ``=``.
    """
    changes: dict[str, Any] = {}
    for text in texts:
        field, separator, value = text.partition("=")
        if not separator:
            raise InputError(f"{flag} {text}: give FIELD=VALUE")
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError:
            parsed = value
        changes[field] = tuple(parsed) if isinstance(parsed, list) else parsed
    return changes
