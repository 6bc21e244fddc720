"""Pages of lists, after AIP-158: a token says where the next page starts, and is empty at the end."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

PageSize = Annotated[int, Query(ge=1, le=1000, description="most entries per page")]
PageToken = Annotated[
    str, Query(pattern=r"^([0-9]{1,15})?$", description="next_page_token of the page before; empty for the first")
]


def token_of(text: str) -> int | None:
    """Return the number in a token, or None for the first page."""
    return int(text) if text else None
