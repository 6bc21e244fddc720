"""What tests of the viewer share: a server with slides and results, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from browser import Watched, browsing, chromium, launched
from live_server import Served
from synthetic import CLASSES, tissue_like, write_model, write_slide
from wsi_segment.model.card import write_card

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def write_swapped_model(folder: Path) -> None:
    """A model at 2 µm that calls blue what ``channels`` calls green, and the other way round."""
    card = write_model(folder).card
    red, green, blue = CLASSES
    write_card(card.model_copy(update={"name": "swapped", "mpp": 2.0, "classes": (red, blue, green)}), folder)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a small slide and a large one, whose workers can be held."""
    chromium()
    folder = tmp_path_factory.mktemp("gallery")
    (folder / "slides").mkdir()
    write_slide(folder / "slides" / "small.tiff", tissue_like(1400, 1800), levels=3)
    part = tissue_like(1400, 1400)[188:1212, 188:1212]
    write_slide(folder / "slides" / "large.tiff", np.tile(part, (4, 4, 1)), compression="jpeg", levels=4)
    write_model(folder / "models" / "channels")
    write_swapped_model(folder / "models" / "swapped")
    with Served(folder, "--workers", 1, holds=True) as running:
        yield running


@pytest.fixture(scope="module")
def result(gallery: Served) -> str:
    """The id of a job that is done, with probabilities."""
    with gallery.client() as client:
        job = client.submit("slides/small.tiff", model="channels", probabilities=True)
        ended = client.wait(job["id"])
    assert ended["status"] == "successful", ended
    return str(job["id"])


@pytest.fixture(scope="module")
def other_result(gallery: Served) -> str:
    """The id of a job on the same slide that is done, by the model ``swapped``, without probabilities."""
    with gallery.client() as client:
        job = client.submit("slides/small.tiff", model="swapped")
        ended = client.wait(job["id"])
    assert ended["status"] == "successful", ended
    return str(job["id"])


@pytest.fixture(scope="module")
def result_store(gallery: Served, result: str) -> Path:
    """The store of that job."""
    return gallery.data / "results" / result / "mask.zarr"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser."""
    with launched() as made:
        yield made


@pytest.fixture
def watched(browser: Browser, gallery: Served) -> Iterator[Watched]:
    """A page of a browser at that server."""
    with browsing(browser, gallery.url) as made:
        yield made
