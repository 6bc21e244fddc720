"""What lies beside a growing mask, and whose it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsi_segment.inference.mask.partial import Left, Output
from wsi_segment.inference.places.local_site import LocalSite


def begun(final: Path, run: str) -> Output:
    """A run that has the place."""
    output = Output(final, overwrite=True)
    output._site.acquire(run)
    output._site.clear()
    return output


def test_a_run_that_begins_while_another_one_ends_keeps_what_it_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final, release, left = tmp_path / "m.zarr", LocalSite.release, list[Left]()
    monkeypatch.setattr("wsi_segment.inference.mask.partial._is_mask", lambda read: True)
    first = begun(final, "0123456789abcdef")
    gone = first.leave("plan", b"of the first run")

    def released(self: LocalSite) -> None:
        release(self)
        monkeypatch.setattr(LocalSite, "release", release)
        assert gone.read() is None
        left.append(begun(final, "fedcba9876543210").leave("plan", b"of the second run"))

    monkeypatch.setattr(LocalSite, "release", released)
    first.publish()
    assert left[0].read() == b"of the second run"
