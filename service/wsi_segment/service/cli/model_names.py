"""Names of models, as cards state them."""

from __future__ import annotations

import re

from wsi_segment.errors import InputError


def settled_name(given: str | None, folder: str) -> str:
    """Return the name that was given for a card, or one made of its folder's.

    >>> settled_name(None, "My model (2)")
    'my-model-2'

    Raises:
        InputError: what was given is no name.
    """
    if given is None:
        return re.sub(r"[^a-z0-9._-]+", "-", folder.lower()).strip("._-") or "model"
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", given):
        raise InputError(
            f"`name` {given!r}: a model is named by lower-case letters, digits, dots, hyphens and underscores, "
            "a letter or digit first"
        )
    return given
