"""Working in a real browser: from a slide to its mask, by pointer and by keys alone; what goes wrong is said."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import web
from browser import Watched, browsing, middle, touch
from live_server import Served, write_slides
from synthetic import tissue_like, write_slide

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route


def test_a_job_is_submitted_watched_and_opened(watched: Watched, gallery: Served) -> None:
    page = watched.open("slides", "slides")
    page.fill("#search", "LARGE")
    page.wait_for_selector("li.slide-card:only-child")
    thumbnail = "() => document.querySelector('li.slide-card img')?.naturalWidth ?? 0"
    watched.until(lambda: watched.run(thumbnail) > 0)
    page.click("a:has-text('large.tiff')")
    watched.wait("slide")
    page.click("button:has-text('Segment this slide')")
    page.select_option("#submit-model", "channels")
    assert "red" in page.inner_text(".model-card")
    assert page.get_attribute("#submit-mpp", "placeholder") == "1, as the slide says"
    with gallery.held() as let:
        page.click("dialog button[type=submit]")
        watched.wait("job")
        page.wait_for_selector("article[data-status='running']")
        for regions in (1, 2, 3):  # a pace is known from two reports
            before = windows_shown(page)
            let(regions)
            watched.until(lambda before=before: windows_shown(page) not in ("", before))  # type: ignore[misc]
        page.wait_for_selector(".progress-text:has-text('windows/s')")
        page.click("a:has-text('Watch')")
        watched.wait("view")
        page.wait_for_selector(".growing[data-status='running']")
        page.wait_for_selector(".legend tr[data-row='1'] td:has-text('mm²')")  # while it is made
    page.wait_for_selector(".growing", state="detached")
    page.wait_for_selector(".notice:has-text('The job is done.')")
    watched.drawn()
    assert page.locator(".legend tbody tr").count() == 3
    job = page.url.split("#/view/")[1].split("?")[0]
    assert web.get(f"{gallery.url}/v1/jobs/{job}").json()["status"] == "successful"
    answers = [url for url in watched.requests if "/partial/tiles/" in url]
    assert answers, "finished regions were shown while the job ran"
    page.click("text=Batches")
    watched.wait("batches")
    assert page.locator(".notice").count() == 0, "it goes with the page that it is about"
    watched.clean()


def windows_shown(page: Page) -> str:
    """Return how many windows of how many the page of a job says are done; nothing where it says none."""
    done, found, _ = page.inner_text(".progress-text").partition(" windows")
    return done.rpartition("· ")[2] if found else ""


def test_a_thumbnail_that_is_still_made_or_cannot_be_had_is_said(watched: Watched) -> None:
    """The server's answers are kept back, and then refused, as where it has too much to do."""
    kept: list[Route] = []
    refusing = False

    def answer(route: Route) -> None:
        if refusing:
            route.fulfill(status=503)
        else:
            kept.append(route)

    watched.page.route("**/thumbnail?*", answer)
    page = watched.open("slides", "slides")
    words = page.locator("li.slide-card .no-picture")
    watched.until(lambda: len(kept) == 2)
    assert words.all_inner_texts() == ["…", "…"]
    one, other = kept
    one.continue_()
    page.wait_for_selector(f"li[data-slide='{slide_of(one)}']:not(:has(.no-picture))")
    refusing = True
    other.fulfill(status=503)
    page.wait_for_selector(f"li[data-slide='{slide_of(other)}'] .no-picture:has-text('no picture')")
    assert page.locator("li.slide-card img").count() == 1
    watched.clean("503")


def test_a_thumbnail_shows_the_whole_slide(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    (tmp_path / "models").mkdir()
    write_slide(tmp_path / "slides" / "upright.tiff", tissue_like(1400, 700))
    with Served(tmp_path, "--workers", 0) as running, browsing(browser, running.url) as watched:
        page = watched.open("slides", "slides")
        page.wait_for_selector("li.slide-card:not(:has(.no-picture)) img")
        image, frame = page.locator("li.slide-card img").bounding_box(), page.locator(".picture").bounding_box()
        assert image is not None
        assert frame is not None
        assert image["height"] <= frame["height"] + 1
        assert image["y"] >= frame["y"] - 1
        watched.clean()


def slide_of(route: Route) -> str:
    """Return the slide of a request for a thumbnail."""
    return route.request.url.split("/slides/")[1].split("/")[0]


def test_controls_stand_beside_their_names_on_a_telephone(browser: Browser, gallery: Served) -> None:
    with browsing(browser, gallery.url, 390, 844) as watched:
        for page, control in {"slides": "search", "jobs": "status"}.items():
            watched.open(page, page)
            name = watched.page.locator(f"label[for='{control}']").bounding_box()
            box = watched.page.locator(f"#{control}").bounding_box()
            assert name is not None
            assert box is not None
            assert box["y"] < name["y"] + name["height"] / 2 < box["y"] + box["height"]


def test_a_region_that_is_drawn_limits_the_job(watched: Watched, gallery: Served) -> None:
    slide = web.get(f"{gallery.url}/v1/slides?search=small").json()["slides"][0]
    page = watched.open(f"slide/{slide['id']}", "slide")
    x, y = middle(page)
    page.click("[aria-label='Draw a region']")
    page.mouse.move(x - 100, y - 100)
    page.mouse.down()
    page.mouse.move(x + 100, y + 60, steps=5)
    page.mouse.up()
    page.click("button:has-text('Segment this slide')")
    page.select_option("#submit-model", "channels")
    page.click("dialog button[type=submit]")
    watched.wait("job")
    job = web.get(f"{gallery.url}/v1/jobs/{page.url.split('#/jobs/')[1]}").json()
    x0, y0, x1, y1 = job["region"]
    assert (x1 - x0) / (y1 - y0) == pytest.approx(200 / 160, rel=0.05)
    assert 0 < x0 < x1 < slide["width"]
    watched.clean()


@pytest.mark.parametrize("other", [True, False])
def test_a_press_after_a_lost_answer_posts_what_is_chosen_once(watched: Watched, gallery: Served, other: bool) -> None:
    slide = web.get(f"{gallery.url}/v1/slides?search=small").json()["slides"][0]["id"]

    def jobs() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = web.get(f"{gallery.url}/v1/jobs?slide={slide}").json()["jobs"]
        return found

    keys: list[str] = []

    def lose_the_first_answer(route: Route) -> None:
        if route.request.method == "POST":
            keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    before = len(jobs())
    page = watched.open(f"slide/{slide}", "slide")
    page.click("button:has-text('Segment this slide')")
    page.select_option("#submit-model", "channels")
    page.route("**/v1/jobs", lose_the_first_answer)
    page.click("dialog button[type=submit]")
    page.wait_for_selector("dialog .problem:has-text('does not answer')")
    if other:
        page.click("dialog summary")
        page.fill("#submit-priority", "3")
    page.click("dialog button[type=submit]")
    watched.wait("job")
    made = jobs()
    assert made[0]["id"] == page.url.split("#/jobs/")[1]
    assert made[0]["priority"] == (3 if other else 0)
    assert len(made) == before + (2 if other else 1)
    assert (keys[0] != keys[1]) == other
    watched.clean("ERR_FAILED")


@pytest.mark.parametrize("end", ["a second finger", "the system"])
def test_a_region_that_is_cut_short_is_none(watched: Watched, gallery: Served, end: str) -> None:
    slide = web.get(f"{gallery.url}/v1/slides?search=small").json()["slides"][0]
    page = watched.open(f"slide/{slide['id']}", "slide")
    x, y = middle(page)
    page.click("[aria-label='Draw a region']")
    page.mouse.click(x - 100, y - 100)  # a corner, which stays
    touch(page, "pointerdown", x, y)
    touch(page, "pointermove", x + 80, y + 80)
    assert len((page.get_attribute("polygon.region", "points") or "").split()) == 4
    if end == "the system":
        touch(page, "pointercancel", x + 80, y + 80)
    else:
        touch(page, "pointerdown", x - 50, y, pointer=8)
        touch(page, "pointermove", x - 90, y, pointer=8)
        touch(page, "pointerup", x - 90, y, pointer=8)
        touch(page, "pointermove", x + 90, y + 90)
        touch(page, "pointerup", x + 90, y + 90)
    assert len((page.get_attribute("polygon.region", "points") or "").split()) == 1
    assert page.locator("button:has-text('Remove the region')").count() == 0
    page.mouse.click(x + 100, y - 100)
    page.mouse.dblclick(x, y + 60)
    page.wait_for_selector("button:has-text('Remove the region')")
    assert len((page.get_attribute("polygon.region", "points") or "").split()) == 3
    watched.clean()


def test_a_region_of_corners_ends_with_a_double_click(watched: Watched, gallery: Served) -> None:
    """As on a telephone, which has no Enter."""
    slide = web.get(f"{gallery.url}/v1/slides?search=small").json()["slides"][0]
    page = watched.open(f"slide/{slide['id']}", "slide")
    x, y = middle(page)
    page.click("[aria-label='Draw a region']")
    page.mouse.click(x - 100, y - 100)
    page.mouse.dblclick(x + 100, y - 100)
    assert page.locator(".tool-hint:visible").count() == 1, "two corners enclose nothing"
    page.mouse.dblclick(x, y + 60)
    page.wait_for_selector(".region-summary:has-text('Region:')")
    assert len((page.get_attribute("polygon.region", "points") or "").split()) == 3
    written = page.inner_text(".region-summary p")
    pixels, lengths = written.removeprefix("Region: ").removesuffix(" µm)").split(" px (")
    assert pixels.replace(",", "") == lengths.replace(" µm", ""), "a pixel of this slide is 1 µm wide"
    watched.clean()


def test_the_whole_way_goes_by_keys_alone(watched: Watched, gallery: Served) -> None:
    page = watched.open("slides", "slides")
    keys = page.keyboard
    keys.press("/")
    keys.type("small")
    page.wait_for_selector("li.slide-card:only-child")
    tab_to(page, "a:has-text('small.tiff')")
    keys.press("Enter")
    watched.wait("slide")
    keys.press("v")  # what the screen shows is the region
    page.wait_for_selector("button:has-text('Remove the region')")
    keys.press("Escape")
    keys.press("s")
    page.wait_for_selector("dialog[open]")
    tab_to(page, "#submit-model")
    keys.type("channels")
    page.wait_for_selector(".model-card:has-text('red')")
    tab_to(page, "dialog button[type=submit]")
    keys.press("Enter")
    watched.wait("job")
    page.wait_for_selector("article[data-status='successful']")
    assert page.locator(".notice").count() == 0, "the page of a job says itself how it stands"
    tab_to(page, "a:has-text('View')")
    keys.press("Enter")
    watched.wait("view")
    watched.drawn()
    scale = page.inner_text(".scale-text")
    keys.press("+")
    keys.press("+")
    watched.until(lambda: page.inner_text(".scale-text") != scale)
    keys.press("2")
    assert page.get_attribute("[data-class='2']", "aria-pressed") == "false"
    keys.press("m")
    assert not page.is_checked("#mask-visible")
    keys.press("?")
    page.wait_for_selector("dialog[open] kbd")
    listed = page.inner_text("dialog[open] table")
    for words in ("switch a class", "measure", "whole slide", "picture", "list the keys"):
        assert words in listed
    keys.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")
    keys.press("?")
    page.wait_for_selector("dialog[open]")
    page.go_back()  # a dialog goes with its page
    watched.wait("job")
    assert page.locator("dialog").count() == 0
    watched.clean()


def tab_to(page: Page, target: str) -> None:
    """Press Tab until something has the focus, as somebody without a pointer does."""
    for _ in range(40):
        if page.locator(f"{target}:focus").count():
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never comes to {target}")


def test_several_slides_become_a_batch(watched: Watched, gallery: Served) -> None:
    page = watched.open("slides", "slides")
    page.wait_for_selector("li.slide-card input >> nth=1")
    page.check("li.slide-card input >> nth=0")
    page.check("li.slide-card input >> nth=1")
    page.click("button:has-text('Segment them')")
    page.select_option("#submit-model", "channels")
    page.fill("#submit-batch-name", "both")
    with gallery.held():
        page.click("dialog button[type=submit]")
        watched.wait("batch")
        assert page.locator(".job-table tbody tr").count() == 2
        assert "both" in page.inner_text("h1")
        page.click("button:has-text('Cancel what has not ended')")
        page.wait_for_selector(".batch .badge:has-text('cancelled')")
    page.wait_for_selector("button:has-text('again')")
    watched.open("batches", "batches")
    assert "both" in page.inner_text("table")
    watched.clean()


def test_a_running_job_is_cancelled_and_tried_again(watched: Watched, gallery: Served) -> None:
    with gallery.held(), gallery.client() as client:
        job = client.submit("slides/large.tiff", model="channels")["id"]
        page = watched.open(f"jobs/{job}", "job")
        page.wait_for_selector("article[data-status='running']")
        page.click("button:has-text('Cancel')")
        page.wait_for_selector("article[data-status='dismissed']")
        page.click("button:has-text('Try again')")
        page.wait_for_selector("article[data-status='accepted'], article[data-status='running']")
        page.click("button:has-text('Cancel')")
        page.wait_for_selector("article[data-status='dismissed']")
    watched.clean()


def test_a_job_tried_again_where_it_is_watched_goes_on_there(watched: Watched, gallery: Served) -> None:
    with gallery.held(), gallery.client() as client:
        job = client.submit("slides/large.tiff", model="channels")["id"]
        page = watched.open(f"view/{job}", "view")
        page.wait_for_selector(".growing[data-status='running']")
        page.click(".growing button:has-text('Cancel')")
        page.wait_for_selector(".growing[data-status='dismissed']")
        assert page.locator(".growing progress").count() == 0, "nothing goes on"
        assert page.locator(".notice.error").count() == 0, "it was asked for"
        page.click(".growing button:has-text('Try again')")
        page.wait_for_selector(".growing[data-status='running']")
        client.cancel(job)
    page.wait_for_selector(".growing[data-status='dismissed']")
    watched.clean(f"{job}/")  # of what it was growing, which the page may have asked for just then


def test_a_job_that_has_not_heard_yet_is_being_cancelled(watched: Watched, gallery: Served) -> None:
    """The answer of a server whose worker still computes: the job as it was."""
    with gallery.held(), gallery.client() as client:
        job = client.submit("slides/large.tiff", model="channels")["id"]

        def answer(route: Route) -> None:
            if route.request.method == "DELETE":
                route.fulfill(json=client.job(job))
            else:
                route.continue_()

        watched.page.route(f"**/v1/jobs/{job}", answer)
        page = watched.open(f"jobs/{job}", "job")
        page.click("button:has-text('Cancel')")
        page.wait_for_selector("button:disabled:has-text('Cancelling')")
        watched.open("jobs", "jobs")
        page.wait_for_selector(f"tr[data-job='{job}'] button:disabled:has-text('Cancelling')")
        client.cancel(job)
        page.wait_for_selector(f"tr[data-job='{job}'] button:has-text('Try again')")
    watched.clean()


def test_doubts_about_a_job_that_was_watched_are_said_when_it_ends(watched: Watched, gallery: Served) -> None:
    write_slide(gallery.folder / "slides" / "glass.tiff", np.full((600, 700, 3), 250, np.uint8))
    with gallery.held(), gallery.client() as client:
        before = client.submit("slides/large.tiff", model="channels")["id"]
        job = client.submit("slides/glass.tiff", model="channels")["id"]
        page = watched.open(f"view/{job}", "view")
        page.wait_for_selector(".growing[data-status='accepted']")
        assert page.locator(".side-head .warning").count() == 0
        client.cancel(before)
    page.wait_for_selector(".growing", state="detached")
    page.wait_for_selector(".side-head .warning:has-text('tissue')")
    page.wait_for_selector(".notice:has-text('The job is done.')")
    message = page.locator(".notice:has-text('The job is done.')").bounding_box()
    panel = page.locator(".side").bounding_box()
    assert message is not None
    assert panel is not None
    assert message["x"] + message["width"] <= panel["x"], "it lies over the slide and not over the panel"
    watched.clean()


def test_failures_say_why_and_can_be_tried_again(watched: Watched, gallery: Served) -> None:
    slide = web.get(f"{gallery.url}/v1/slides?search=small").json()["slides"][0]["id"]
    body = {"slide": slide, "model": "channels", "mpp": 30.0, "strict": True}
    job = web.post(f"{gallery.url}/v1/jobs", json=body).json()["id"]
    page = watched.open(f"jobs/{job}", "job")
    page.wait_for_selector("article[data-status='failed']")
    assert "pixel" in page.inner_text(".progress-text")
    page.click("button:has-text('Try again')")
    page.wait_for_selector("article:not([data-status='failed'])")
    watched.open("jobs?status=failed", "jobs")
    page.wait_for_selector(f"tr[data-job='{job}'][data-status='failed']")
    watched.clean()


def test_a_result_that_was_removed_is_said(watched: Watched, gallery: Served) -> None:
    with gallery.client() as client:
        job = client.submit("slides/large.tiff", model="channels", region=[1000, 1000, 2000, 2000])
        client.wait(job["id"])
    page = watched.open(f"view/{job['id']}", "view")
    watched.drawn()
    web.delete(f"{gallery.url}/v1/jobs/{job['id']}/results").raise_for_status()
    for _ in range(5):
        page.keyboard.press("+")

    def goes_on_and_hears_of_it() -> bool:
        page.keyboard.press("ArrowRight")
        return page.locator(".notice.error:has-text('removed')").count() > 0

    watched.until(goes_on_and_hears_of_it)
    page.goto("about:blank")
    watched.open(f"view/{job['id']}", "problem")
    assert "removed" in page.inner_text("main")
    watched.clean("404")


def test_a_connection_that_was_lost_is_said_and_the_view_completed(watched: Watched, result: str) -> None:
    page = watched.open(f"view/{result}", "view")
    watched.drawn()
    begun, known = time.monotonic(), len(watched.requests)
    page.context.set_offline(True)
    for key in ("+", "+", "+", "ArrowRight"):
        page.keyboard.press(key)
    page.wait_for_selector("#connection:not([hidden])")
    assert "does not answer" in page.inner_text("#connection")

    def asked(kind: str) -> int:
        """How often the tile was asked for that was most often."""
        return max(Counter(url for url in watched.requests[known:] if kind in url).values(), default=0)

    watched.until(lambda: asked("/v1/slides/") == 4)  # three times again: OpenSeadragon has given it up
    often = asked("/results/tiles/")
    assert often <= 2 + (time.monotonic() - begun) / 2, "now and then, and not with every frame"
    place = page.url
    page.context.set_offline(False)
    page.wait_for_selector("#connection", state="hidden")
    watched.drawn()
    assert page.url == place
    watched.clean("ERR_INTERNET_DISCONNECTED", "Image load aborted")


@contextmanager
def left_by_its_server(
    browser: Browser, folder: Path, *, height: int = 700, width: int = 900, shown: str = "", nearer: int
) -> Iterator[tuple[Served, Watched]]:
    """A result in the viewer whose server was killed, and that somebody looks at from nearer some steps."""
    slides = write_slides(folder, height=height, width=width)
    with Served(slides) as server, browsing(browser, server.url) as watched:
        with server.client() as client:
            job = client.submit("slides/s0.tiff", model="channels")
            client.wait(job["id"])
        watched.open(f"view/{job['id']}{shown}", "view")
        watched.drawn()
        assert server.stop(signal.SIGKILL) != 0
        for _ in range(nearer):
            watched.page.keyboard.press("+")
        yield server, watched


def test_a_server_that_is_away_is_noticed_by_the_slide_alone(browser: Browser, tmp_path: Path) -> None:
    left = left_by_its_server(browser, tmp_path, height=2400, width=3000, shown="?mask=off", nearer=4)
    with left as (server, watched):
        page = watched.page
        page.wait_for_selector("#connection:not([hidden])")
        asked = len(watched.requests)
        server.start()
        page.wait_for_selector("#connection", state="hidden")
        watched.until(lambda: any("/tiles/0/" in url for url in watched.requests[asked:]))
        watched.drawn()
        watched.clean("ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET", "failed to load")


def test_a_server_that_starts_again_is_noticed_and_gone_on_with(browser: Browser, tmp_path: Path) -> None:
    with left_by_its_server(browser, tmp_path, nearer=3) as (server, watched):
        page = watched.page
        page.click("text=Jobs")
        page.wait_for_selector("#connection:not([hidden])")
        assert "does not answer" in page.inner_text("#connection")
        server.start()
        page.wait_for_selector("#connection", state="hidden")
        watched.wait("jobs")
        page.wait_for_selector("a:has-text('View')")
        page.click("a:has-text('View')")
        watched.wait("view")
        watched.drawn()
        away = ("ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED")
        watched.clean(*away, "failed to load")  # tiles of the view that was left
