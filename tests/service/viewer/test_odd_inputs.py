"""Names, slides and masks that nobody expects, in a real browser: shown as they are, or refused in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

import web
from browser import browsing, chromium
from live_server import Served
from synthetic import tissue_like, write_model, write_slide

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = (
    "\"><img src=x onerror=alert(1)>'.tiff",
    "50% of #1 & more; ?at=1 ö.tiff",
    "%2e%2e%2f.tiff",
    "n" * 200 + ".tiff",
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with slides of odd names and without a pyramid, one of them all glass."""
    chromium()
    folder = tmp_path_factory.mktemp("odd")
    (folder / "slides").mkdir()
    for index, name in enumerate(NAMES):
        write_slide(folder / "slides" / name, tissue_like(600, 700, seed=index))
    write_model(folder / "models" / "channels")
    with Served(folder, "--workers", 1) as running:
        yield running


@pytest.mark.parametrize("name", NAMES, ids=("markup", "address", "encoded", "long"))
def test_a_slide_of_any_name_is_found_segmented_viewed_and_saved(browser: Browser, odd: Served, name: str) -> None:
    with odd.client() as client:
        job = client.submit(f"slides/{name}", model="channels")
        assert client.wait(job["id"])["status"] == "successful"
    with browsing(browser, odd.url) as watched:
        page = watched.open("slides", "slides")
        page.fill("#search", name)
        page.wait_for_selector("li.slide-card:only-child")
        assert name in page.inner_text("li.slide-card")
        page.click("li.slide-card a")
        watched.wait("slide")
        assert name in page.inner_text("h1")
        for path, ready in ((f"jobs/{job['id']}", "job"), (f"view/{job['id']}", "view")):
            watched.open(path, ready)
            assert name in page.inner_text("main")
            assert watched.run("() => document.documentElement.scrollWidth") <= 1000
        watched.drawn()
        assert page.title().startswith(name)
        with page.expect_download() as waiting:
            page.keyboard.press("p")
        assert waiting.value.suggested_filename.endswith(".png")
        page.keyboard.press("e")
        page.wait_for_selector("[data-review='counts']:has-text('on the screen'):not(:has-text('screen 0'))")
        page.keyboard.press("n")
        page.keyboard.press("a")
        page.keyboard.press("s")
        page.wait_for_selector("[data-review='saved']:has-text('Version 1')")
        watched.open("jobs", "jobs")
        page.wait_for_selector(f"tr[data-job='{job['id']}']")
        assert watched.run("() => document.documentElement.scrollWidth") <= 1000
        assert page.locator("img[src='x']").count() == 0
        watched.clean()


def test_a_mask_without_its_slide_is_shown_alone(browser: Browser, odd: Served) -> None:
    path = odd.folder / "slides" / "going.tiff"
    write_slide(path, tissue_like(600, 700, seed=9))
    with odd.client() as client:
        job = client.submit("slides/going.tiff", model="channels")
        assert client.wait(job["id"])["status"] == "successful"
    path.unlink()
    with browsing(browser, odd.url) as watched:
        page = watched.open(f"view/{job['id']}", "view")
        watched.drawn()
        assert "slide itself is not there" in page.inner_text(".side-head")
        page.keyboard.press("e")
        page.wait_for_selector("[data-review='counts']:has-text('on the screen'):not(:has-text('screen 0'))")
        with page.expect_download():
            page.keyboard.press("p")
        watched.clean("404")


def test_a_slide_of_glass_alone_says_that_it_has_no_tissue(browser: Browser, odd: Served) -> None:
    import numpy as np

    write_slide(odd.folder / "slides" / "glass.tiff", np.full((600, 700, 3), 250, np.uint8))
    with odd.client() as client:
        job = client.submit("slides/glass.tiff", model="channels")
        ended = client.wait(job["id"])
    with browsing(browser, odd.url) as watched:
        assert ended["status"] == "successful"
        page = watched.open(f"view/{job['id']}", "view")
        watched.drawn()
        page.click("details[data-panel='outlines'] summary")
        page.wait_for_selector("details[data-panel='outlines']:has-text('0 outlines')")
        page.keyboard.press("e")
        page.wait_for_selector(".pane[data-review='on']")
        page.keyboard.press("n")
        page.wait_for_selector("[data-review='said']:has-text('no outline')")
        assert "tissue" in page.inner_text(".side-head")
        watched.clean()


@pytest.mark.parametrize(
    "address", ["view/%", "view/%E0%A4%A", "constructor", "slide", "view", "compare", "jobs/<b>", "x?at=a"]
)
def test_addresses_that_lead_nowhere_are_said(browser: Browser, odd: Served, address: str) -> None:
    with browsing(browser, odd.url) as watched:
        page = watched.open(address, "problem")
        assert "cannot be shown" in page.inner_text("h1")
        assert "pattern" not in page.inner_text("main"), "that is for programs"
        page.click("main a:has-text('Slides')")
        watched.wait("slides")
        watched.clean("404", "422")


@pytest.mark.parametrize(
    "query", ["at=nan,1,1", "at=1e9,1e9,1e9", "at=-5,-5,0", "opacity=900&off=x,99&probability=77", "at=300,300,1e-9"]
)
def test_links_with_nonsense_show_what_can_be_shown(browser: Browser, odd: Served, query: str) -> None:
    first = web.get(f"{odd.url}/v1/jobs?status=successful").json()["jobs"][0]["id"]
    with browsing(browser, odd.url) as watched:
        page = watched.open(f"view/{first}?{quote(query, safe='=,&')}", "view")
        watched.drawn()
        assert page.locator(".legend tbody tr").count() == 3
        watched.clean()
