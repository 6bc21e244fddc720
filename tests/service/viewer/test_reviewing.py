"""Reviewing a result in a real browser: outlines accepted, relabelled, deleted, drawn, saved, and learnt from."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from PIL import Image

import web
from browser import Watched, browsing, middle, sign_in, touch
from live_server import Served, write_slides
from wsi_segment.inference.evaluation.slide_dataset import read_training_data
from wsi_segment.service.cli.main import main
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.keys import Keys

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from playwright.sync_api import Browser, Page, Route

CLOSE = "at=700,900,1"


def begin(watched: Watched, job: str) -> Page:
    """Open a result close up, and start its review by key."""
    page = watched.open(f"view/{job}?{CLOSE}", "view")
    watched.drawn()
    page.keyboard.press("e")
    page.wait_for_selector(".pane[data-review='on']")
    page.wait_for_selector("[data-review='counts']:has-text('on the screen'):not(:has-text('screen 0'))")
    return page


def save(page: Page) -> None:
    page.keyboard.press("s")
    page.wait_for_selector("[data-review='saved']:has-text('Version'):not(:has-text('changed since'))")


def corrections(gallery: Served, job: str) -> dict[str, Any]:
    found: dict[str, Any] = web.get(f"{gallery.url}/v1/jobs/{job}/corrections.geojson").json()
    return found


def drag_around(page: Page, x: float, y: float, half: float = 60) -> None:
    page.mouse.move(x - half, y - half)
    page.mouse.down()
    for dx, dy in ((half, -half), (half, half), (-half, half), (-half, -half + 5)):
        page.mouse.move(x + dx, y + dy, steps=12)
    page.mouse.up()


def test_a_review_is_drawn_saved_and_learnt_from(
    browser: Browser, gallery: Served, result: str, tmp_path: Path
) -> None:
    with browsing(browser, gallery.url) as watched:
        page = begin(watched, result)
        page.keyboard.press("n")
        name = page.inner_text("[data-review='selected']").split(",")[0]
        page.keyboard.press("a")
        page.keyboard.press("3")
        page.wait_for_selector("[data-review='selected']:has-text('blue'):has-text('relabelled')")
        page.keyboard.press("n")
        page.keyboard.press("x")
        page.wait_for_selector("[data-review='counts']:has-text('2 kept, 1 deleted')")
        page.keyboard.press("w")
        page.keyboard.press("2")
        page.wait_for_selector("[data-review='said']:has-text('green')")
        drag_around(page, *middle(page), half=200)
        page.wait_for_selector("[data-review='selected']:has-text('green'):has-text('drawn')")
        for _ in range(2):
            page.keyboard.press("z")
        page.wait_for_selector("[data-review='counts']:has-text('2 kept, 0 deleted')")
        page.keyboard.press("Control+y")
        page.keyboard.press("y")
        page.wait_for_selector("[data-review='counts']:has-text('3 kept, 1 deleted')")
        save(page)
        kept = corrections(gallery, result)
        how = {one["properties"]["metadata"]["review"]: one for one in kept["features"]}
        assert set(how) == {"accepted", "relabelled", "drawn"}
        assert len(kept["rejected"]) == 1
        assert how["accepted"]["properties"]["classification"]["name"] == name
        assert how["relabelled"]["properties"]["classification"] == {"name": "blue", "color": [0, 0, 200]}
        drawn = shapely.geometry.shape(how["drawn"]["geometry"])
        assert drawn.is_valid
        assert drawn.area == pytest.approx(400 * 400, rel=0.05)
        assert (drawn.centroid.x, drawn.centroid.y) == pytest.approx((700, 900), abs=4)
        page.reload()
        watched.wait("view")
        page = begin(watched, result)
        page.wait_for_selector("[data-review='counts']:has-text('3 kept, 1 deleted')")
        page.mouse.click(*middle(page))  # the smallest outline there is one of the mask
        page.wait_for_selector("[data-review='selected']:has-text('mm²'), [data-review='selected']:has-text('µm²')")
        watched.clean()
    folder = tmp_path / "training"
    flags = ["--server", gallery.url, "--slides", str(gallery.folder / "slides")]
    assert main(["fetch", result, "--corrections", str(folder), *flags]) == 0
    dataset = read_training_data(folder, {})
    assert [entry.name for entry in dataset.classes] == ["red", "green", "blue"]
    assert len(dataset.items) > 0
    pytest.importorskip("torch")
    for index in range(5):  # as from a review of several slides, some of which validate
        for suffix in (".tiff", ".geojson"):
            shutil.copy(folder / f"small{suffix}", folder / f"{index}{suffix}")
    choices = ["steps=2", "segmentation_batch=1", "classification_batch=1", "validate_every=2"]
    flags = [part for choice in choices for part in ("--set", choice)]
    assert main(["train", str(folder), "--out", str(tmp_path / "run"), *flags]) == 0
    assert (tmp_path / "run" / "best.pt").exists()


def test_outlines_are_drawn_by_keys_alone(browser: Browser, gallery: Served, result: str) -> None:
    with browsing(browser, gallery.url) as watched:
        page = begin(watched, result)
        page.keyboard.press("w")
        page.keyboard.press("1")
        for step in ("ArrowRight", "ArrowDown", "ArrowLeft"):
            page.keyboard.press(" ")
            page.keyboard.press(step)
        page.keyboard.press(" ")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-review='selected']:has-text('red'):has-text('drawn')")
        page.keyboard.press("Delete")
        page.keyboard.press("w")
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        assert "review: accept the outline" in page.inner_text("dialog")
        watched.clean()


def test_what_somebody_saved_meanwhile_is_not_overwritten(browser: Browser, gallery: Served, result: str) -> None:
    with browsing(browser, gallery.url) as watched:
        page = begin(watched, result)
        page.keyboard.press("n")
        page.keyboard.press("a")
        at = f"{gallery.url}/v1/jobs/{result}/corrections.geojson"
        before = web.get(at)
        condition = {"If-Match": before.headers["etag"]} if before.is_success else {"If-None-Match": "*"}
        ring = [[10, 10], [600, 10], [600, 500], [10, 500], [10, 10]]
        theirs = {
            "type": "Feature",
            "id": "theirs",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"classification": {"name": "red"}},
        }
        sent = web.put(at, json={"type": "FeatureCollection", "features": [theirs]}, headers=condition).json()
        page.keyboard.press("s")
        page.wait_for_selector("dialog h2:has-text('Changed by somebody meanwhile')")
        with page.expect_download() as download:
            page.click("dialog button:has-text('Keep a copy of mine')")
        mine = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
        assert "theirs" not in [one["id"] for one in mine["features"]]
        page.wait_for_selector(f"[data-review='saved']:has-text('Version {sent['version']}')")
        page.wait_for_selector("[data-review='counts']:has-text('1 kept, 0 deleted')")
        page.keyboard.press("n")
        page.keyboard.press("x")
        save(page)
        page.wait_for_selector(f"option[value='{sent['version']}']", state="attached")
        page.select_option("[aria-label='Earlier versions']", str(sent["version"]))
        page.click("button:has-text('Take this version')")
        page.wait_for_selector("[data-review='counts']:has-text('1 kept, 0 deleted')")
        page.keyboard.press("z") if page.evaluate("document.activeElement.tagName") != "SELECT" else None
        page.wait_for_selector("[data-review='counts']:has-text('1 kept, 1 deleted')")
        watched.clean("412", "Precondition")


def test_a_review_that_was_left_says_that_it_is_not_saved(browser: Browser, gallery: Served, result: str) -> None:
    with browsing(browser, gallery.url) as watched:
        page = begin(watched, result)
        page.keyboard.press("n")
        page.keyboard.press("a")
        page.keyboard.press("e")
        page.wait_for_selector("[data-panel='review'] .warning:has-text('not saved')")
        page.keyboard.press("e")
        page.wait_for_selector(".pane[data-review='on']")
        page.keyboard.press("z")
        page.keyboard.press("e")
        page.wait_for_selector("button:has-text('Review the outlines')")
        assert page.locator("[data-panel='review'] .warning").count() == 0
        watched.clean()


def reviewed_anew(gallery: Served) -> str:
    """The id of a job that nobody has reviewed."""
    with gallery.client() as client:
        job = client.submit("slides/small.tiff", model="channels", region=[400, 600, 1000, 1200])["id"]
        assert client.wait(job)["status"] == "successful"
    return str(job)


def test_a_review_whose_changes_were_all_taken_back_is_saved_as_such(watched: Watched, gallery: Served) -> None:
    job = reviewed_anew(gallery)
    page = begin(watched, job)
    page.keyboard.press("s")
    page.wait_for_selector(".notice:has-text('nothing to save yet')")
    page.keyboard.press("n")
    page.keyboard.press("a")
    save(page)
    assert len(corrections(gallery, job)["features"]) == 1
    page.keyboard.press("s")
    page.wait_for_selector(".notice:has-text('All of the review is saved')")
    page.keyboard.press("z")
    page.wait_for_selector("[data-review='counts']:has-text('0 kept, 0 deleted')")
    save(page)
    latest = corrections(gallery, job)
    assert (latest["version"], latest["features"]) == (2, [])
    assert len(web.get(f"{gallery.url}/v1/jobs/{job}/corrections.geojson?version=1").json()["features"]) == 1
    watched.clean()


def test_a_review_is_saved_once_at_a_time_and_says_so(watched: Watched, gallery: Served) -> None:
    job = reviewed_anew(gallery)
    page = begin(watched, job)
    kept: list[Route] = []
    page.route("**/corrections.geojson", lambda route: kept.append(route))
    page.keyboard.press("n")
    page.keyboard.press("a")
    page.focus("button:has-text('Save')")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-review='saved'][role='status']:has-text('Saving')")
    page.keyboard.press("s")
    page.wait_for_selector(".notice:has-text('is being saved')")
    page.keyboard.press("x")
    for route in kept:
        route.continue_()
    page.unroute("**/corrections.geojson")
    page.wait_for_selector("[data-review='saved']:has-text('Version 1'):has-text('changed since')")
    assert len(kept) == 1
    assert page.locator("dialog").count() == 0, "nobody else has saved"
    assert page.locator("button:focus:has-text('Save')").count() == 1
    save(page)
    page.wait_for_selector("[data-review='saved']:has-text('Version 2')")
    watched.clean()


@pytest.mark.parametrize("end", ["pointercancel", "pointerdown"])
def test_an_outline_that_is_cut_short_is_none(watched: Watched, result: str, end: str) -> None:
    page = begin(watched, result)
    counts = page.inner_text("[data-review='counts']").split(";")[0]
    page.keyboard.press("w")
    x, y = middle(page)
    touch(page, "pointerdown", x - 60, y - 60)
    for dx, dy in ((60, -60), (60, 60), (-60, 60)):
        touch(page, "pointermove", x + dx, y + dy)
    touch(page, end, x - 60, y + 60, pointer=7 if end == "pointercancel" else 8)
    touch(page, "pointerup", x - 60, y + 60)
    assert page.get_attribute("polygon.sketch", "points") == ""
    assert page.inner_text("[data-review='counts']").split(";")[0] == counts
    if end == "pointerdown":
        touch(page, "pointerup", x - 60, y + 60, pointer=8)
    drag_around(page, x, y)
    page.wait_for_selector("[data-review='selected']:has-text('drawn')")
    watched.clean()


def test_of_two_tabs_that_save_the_second_is_told_of_the_first(browser: Browser, gallery: Served, result: str) -> None:
    with browsing(browser, gallery.url) as one, browsing(browser, gallery.url) as two:
        pages = [begin(watched, result) for watched in (one, two)]
        for page, key in zip(pages, "ax", strict=True):
            page.keyboard.press("n")
            page.keyboard.press(key)
        save(pages[0])
        first = corrections(gallery, result)
        pages[1].keyboard.press("s")
        pages[1].wait_for_selector("dialog h2:has-text('Changed by somebody meanwhile')")
        assert f"version {first['version']}" in pages[1].inner_text("dialog")
        assert corrections(gallery, result) == first, "nobody is overwritten unasked"
        pages[1].click("dialog button:has-text('Save mine as the next version')")
        pages[1].wait_for_selector(f"[data-review='saved']:has-text('Version {first['version'] + 1}')")
        second = corrections(gallery, result)
        assert len(second["rejected"]) >= 1
        at = f"{gallery.url}/v1/jobs/{result}/corrections.geojson?version={first['version']}"
        assert web.get(at).json() == first, "theirs is still among the versions"
        one.clean()
        two.clean("412", "Precondition")


def test_of_many_outlines_a_change_paints_its_own_surroundings(
    browser: Browser, gallery: Served, other_result: str
) -> None:
    """With more than a hundred on the screen they are painted in pieces, and not again when one of them changes."""
    square = [(0, 0), (16, 0), (16, 16), (0, 16), (0, 0)]  # smaller than those of the mask that a click may hit
    corners = [(x, y) for y in range(40, 1340, 40) for x in range(40, 1740, 40)]
    features = [
        {
            "type": "Feature",
            "id": f"{x}-{y}",
            "geometry": {"type": "Polygon", "coordinates": [np.add([x, y], square).tolist()]},
            "properties": {"classification": {"name": "red"}, "metadata": {"review": "accepted"}},
        }
        for x, y in corners
    ]
    at = f"{gallery.url}/v1/jobs/{other_result}/corrections.geojson"
    body = {"type": "FeatureCollection", "features": features}
    web.put(at, json=body, headers={"If-None-Match": "*"}).raise_for_status()
    with browsing(browser, gallery.url) as watched:
        page = watched.open(f"view/{other_result}?at=888,688,2", "view")
        watched.drawn()
        page.keyboard.press("e")
        page.wait_for_selector(f"[data-review='counts']:has-text('{len(features):,} kept, 0 deleted')")
        page.wait_for_selector("[data-review='counts']:not(:has-text('screen 0'))")
        before = outlines_of(watched)
        page.mouse.click(*middle(page))
        page.wait_for_selector("[data-review='selected']:has-text('red'):has-text('accepted')")
        np.testing.assert_array_equal(outlines_of(watched), before, "a selection is painted apart")
        page.keyboard.press("x")
        page.wait_for_selector(f"[data-review='counts']:has-text('{len(features) - 1:,} kept, 1 deleted')")
        changed = np.argwhere((outlines_of(watched) != before).any(axis=2))
        assert len(changed) > 0
        centre = np.array(before.shape[:2]) / 2
        assert np.abs(changed - centre).max() < 16 / 2 / 2 + 6, "half of 16 level-0 pixels at 2 a pixel, and a line"
        page.keyboard.press("z")
        page.wait_for_selector(f"[data-review='counts']:has-text('{len(features):,} kept, 0 deleted')")
        restored = outlines_of(watched).astype(int)
        assert np.abs(restored - before).max() <= 1, "the same but for rounding"
        watched.clean()


def outlines_of(watched: Watched) -> NDArray[np.uint8]:
    """Return the canvas of the outlines that are not selected, when all are painted (height, width, RGBA)."""
    canvas = watched.page.wait_for_selector(".review-layer[data-complete='true']", state="attached")
    watched.frames()
    content = watched.run("(canvas) => canvas.toDataURL().split(',')[1]", canvas)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def review_as(watched: Watched, key: str) -> None:
    """Sign in where that is asked for, and begin or go on with the review of the result."""
    sign_in(watched.page, key)
    watched.wait("view")
    watched.drawn()
    watched.page.keyboard.press("e")


def test_sessions_that_end_lose_no_review_unasked_and_leave_none_to_others(browser: Browser, tmp_path: Path) -> None:
    folder = write_slides(tmp_path, count=1)
    with Served(folder) as server:
        with server.client() as client:
            job = client.submit("slides/s0.tiff", model="channels")
            assert client.wait(job["id"])["status"] == "successful"
        database = Database(server.data)
        key, other = (Keys(database).create(name, ("read", "write"), None) for name in ("anna", "bert"))
        database.close()
        with browsing(browser, server.url) as watched:
            page = watched.open(f"view/{job['id']}?at=450,350,1", "sign-in")
            review_as(watched, key)
            page.wait_for_selector("[data-review='counts']:has-text('on the screen'):not(:has-text('screen 0'))")
            page.keyboard.press("n")
            page.keyboard.press("a")
            page.context.clear_cookies()
            page.keyboard.press("s")
            watched.wait("sign-in")
            assert page.locator(".pane").count() == 0
            assert "ended" in page.inner_text(".sign-in")
            review_as(watched, key)
            page.wait_for_selector("[data-review='counts']:has-text('1 kept, 0 deleted')")
            save(page)
            assert "by anna" in page.inner_text("[data-review='saved']")
            page.keyboard.press("z")
            page.wait_for_selector("[data-review='counts']:has-text('0 kept, 0 deleted')")
            page.click("button:has-text('Sign out')")
            page.click("dialog:has-text('not saved') button:has-text('Keep')")
            page.wait_for_selector("[data-review='counts']:has-text('0 kept, 0 deleted')")
            page.click("button:has-text('Sign out')")
            page.click("dialog footer button:has-text('Sign out')")
            watched.wait("sign-in")
            review_as(watched, key)
            page.wait_for_selector("[data-review='counts']:has-text('1 kept, 0 deleted'):not(:has-text('screen 0'))")
            page.keyboard.press("n")
            page.keyboard.press("x")
            page.wait_for_selector("[data-review='counts']:has-text('1 kept, 1 deleted')")
            page.context.clear_cookies()
            page.keyboard.press("s")
            watched.wait("sign-in")
            sign_in(page, other)
            page.click("dialog:has-text('review of anna') button:has-text('Keep')")
            page.wait_for_selector(".sign-in .problem:has-text('the key anna')")
            assert page.locator(".pane").count() == 0
            sign_in(page, other)
            page.click("dialog:has-text('review of anna') button:has-text('Discard')")
            watched.wait("view")
            watched.drawn()
            page.keyboard.press("e")
            page.wait_for_selector("[data-review='counts']:has-text('1 kept, 0 deleted')")
            assert "bert" in page.inner_text(".who")
            watched.clean("401")


def test_another_user_in_another_tab_saves_no_review_of_the_first(browser: Browser, tmp_path: Path) -> None:
    """A browser has one session for all of its tabs."""
    folder = write_slides(tmp_path, count=1)
    with Served(folder) as server:
        with server.client() as client:
            job = client.submit("slides/s0.tiff", model="channels")["id"]
            assert client.wait(job)["status"] == "successful"
        database = Database(server.data)
        keys = [Keys(database).create(name, ("read", "write"), None) for name in ("anna", "bert")]
        database.close()
        with browsing(browser, server.url) as watched:
            page = watched.open(f"view/{job}?at=450,350,1", "sign-in")
            sign_in(page, keys[0])
            watched.wait("view")
            watched.drawn()
            page.keyboard.press("e")
            page.wait_for_selector("[data-review='counts']:has-text('on the screen'):not(:has-text('screen 0'))")
            page.keyboard.press("n")
            page.keyboard.press("a")
            beside = page.context.new_page()
            beside.goto(f"{server.url}/#/slides")
            beside.click("button:has-text('Sign out')")
            sign_in(beside, keys[1])
            beside.wait_for_selector(".who:has-text('bert')")
            page.keyboard.press("s")
            page.wait_for_selector("dialog:has-text('review of anna'):has-text('as bert')")
            page.click("dialog button:has-text('Discard')")
            watched.wait("view")
            watched.drawn()
            page.keyboard.press("e")
            page.wait_for_selector("[data-review='saved']:has-text('Nobody has reviewed')")
            page.wait_for_selector("[data-review='counts']:has-text('0 kept, 0 deleted')")
            watched.clean("401", "403")
