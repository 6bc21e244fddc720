"""What somebody sees who comes to the viewer for the first time: nothing is said twice, hidden or cut."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import web
from browser import Watched, browsing
from live_server import Served
from synthetic import tissue_like, write_model, write_slide
from wsi_segment.inference import segment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FloatRect, Locator

_EDGES = """() => [".pane", ".navigator", ".navigator .displayregion"].map((name) => {
  const one = document.querySelector(name);
  const box = one.getBoundingClientRect();
  const within = name === ".navigator"; // what lies on its border or beyond is cut
  const [x, y] = within ? [box.x + one.clientLeft, box.y + one.clientTop] : [box.x, box.y];
  const [across, down] = within ? [one.clientWidth, one.clientHeight] : [box.width, box.height];
  return [x, y, x + across, y + down];
})"""


def box_of(element: Locator) -> FloatRect:
    """Return where an element is on the screen."""
    found = element.bounding_box()
    assert found is not None
    return found


def apart(a: FloatRect, b: FloatRect) -> bool:
    """Return whether two boxes share nothing."""
    beside = a["x"] + a["width"] <= b["x"] or b["x"] + b["width"] <= a["x"]
    return beside or a["y"] + a["height"] <= b["y"] or b["y"] + b["height"] <= a["y"]


def test_jobs_of_one_slide_are_told_apart(watched: Watched, gallery: Served) -> None:
    asked: list[dict[str, Any]] = [{}, {"region": [200, 300, 1000, 900]}, {"window": 128, "probabilities": True}]
    with gallery.client() as client:
        jobs = [client.submit("slides/small.tiff", model="channels", **one)["id"] for one in asked]
        for job in jobs:
            assert client.wait(job)["status"] == "successful"
        slide = client.find_slide("slides/small.tiff")["id"]
    wanted = ["Whole slide", "Region 800 × 600 px", "Whole slide · Keep probabilities · Window (mask pixels) 128"]
    for path, ready in (("jobs", "jobs"), (f"slide/{slide}", "slide")):
        page = watched.open(path, ready)
        rows = [page.locator(f"tr[data-job='{job}']") for job in jobs]
        assert [row.locator(".model small").inner_text() for row in rows] == wanted
        assert all("channels 1\n" in row.locator(".model").inner_text() for row in rows), "on a line of its own"
        assert all(row.locator("time").inner_text().count(":") == 2 for row in rows), "to the second"
    page = watched.open(f"view/{jobs[1]}", "view")
    assert wanted[1] in page.inner_text(".side-head")
    page.click("[data-panel='compare'] summary")
    page.wait_for_selector(f"[data-panel='compare'] li:has-text('{wanted[2]}')")
    watched.open(f"jobs/{jobs[1]}", "job")
    assert "Region\n800 × 600 px" in page.inner_text(".facts")
    watched.clean()


def test_a_cancelled_job_is_called_so_once(watched: Watched, gallery: Served) -> None:
    with gallery.held(), gallery.client() as client:
        job = client.submit("slides/large.tiff", model="channels")["id"]
        page = watched.open(f"view/{job}", "view")
        page.wait_for_selector(".growing[data-status='running']")
        client.cancel(job)
    page.wait_for_selector(".notice:has-text('cancelled')")
    assert page.inner_text(".notice").count("cancelled") == 1
    watched.open(f"jobs/{job}", "job")
    assert page.inner_text("article").count("cancelled") == 1
    watched.open("jobs", "jobs")
    assert page.inner_text(f"tr[data-job='{job}']").count("cancelled") == 1
    watched.clean(f"{job}/view")  # of what it was growing, which the page may have asked for just then


def test_the_result_of_a_region_opens_at_the_region(watched: Watched, gallery: Served) -> None:
    region = [2000, 1500, 2300, 1700]
    with gallery.client() as client:
        job = client.submit("slides/large.tiff", model="channels", region=region)
        assert client.wait(job["id"])["status"] == "successful"
    page = watched.open(f"view/{job['id']}", "view")
    watched.drawn()
    watched.until(lambda: "at=" in page.url)
    x, y, scale = (float(part) for part in page.url.split("at=")[1].split("&")[0].split(","))
    assert (x, y) == pytest.approx((2150, 1600), abs=1)
    pane = box_of(page.locator(".pane"))
    assert 1.2 < pane["width"] * scale / 300 < 4, "all of it, with some room"
    assert pane["height"] * scale > 1.2 * 200
    page.keyboard.press("0")
    watched.until(lambda: f"at={4096 / 2},{4096 / 2}".replace(".0", "") in page.url)  # the whole slide
    watched.clean()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_navigator_frames_all_that_is_seen(browser: Browser, gallery: Served, result: str, width: int) -> None:
    with browsing(browser, gallery.url, width=width, height=844) as watched:
        watched.open(f"view/{result}", "view")
        watched.drawn()
        pane, whole, seen = watched.run(_EDGES)
        for outer, inner in ((pane, whole), (whole, seen)):
            assert outer[0] <= inner[0] + 0.5
            assert outer[1] <= inner[1] + 0.5
            assert outer[2] >= inner[2] - 0.5
            assert outer[3] >= inner[3] - 0.5
        watched.clean()


def test_hints_messages_and_numbers_leave_each_other_room(browser: Browser, gallery: Served, result: str) -> None:
    with browsing(browser, gallery.url, width=390, height=844) as watched:
        page = watched.open(f"view/{result}", "view")
        watched.drawn()
        lines = box_of(page.locator(".scale-bar"))["height"]
        page.click("button:has-text('Copy the link')")
        page.wait_for_selector(".notice")
        page.click("[aria-label='Measure']")
        hint = box_of(page.locator(".tool-hint:visible"))
        for other in (".notice", ".toolbar", ".navigator", ".overlay"):
            assert apart(hint, box_of(page.locator(other))), other
        page.mouse.move(200, 300)
        page.wait_for_selector(".pointer:not([hidden])")
        assert box_of(page.locator(".scale-bar"))["height"] == lines, "the length stays on one line"
        watched.clean()


def test_areas_of_a_column_have_one_unit_down_to_a_thousandth(watched: Watched) -> None:
    watched.open("slides", "slides")
    written = watched.run(
        "async (url) => { const { area } = await import(url); return [4.1, 0.0426, 0.00449, 0.000999, 0].map(area); }",
        watched.module("lib/format.js"),
    )
    assert written == ["4.1 mm²", "0.0426 mm²", "0.00449 mm²", "999 µm²", "0 mm²"]


def test_a_class_that_is_off_is_drawn_by_what_the_page_draws_anyway(watched: Watched, result: str) -> None:
    """Transparency and struck text are programs of their own for whatever draws, and the first frame waits for them."""
    page = watched.open(f"view/{result}", "view")
    page.click(".legend [data-class='1']")
    styles = watched.run(
        "() => [...document.querySelectorAll('.legend tr.off, .legend tr.off *')].map((one) => {"
        " const style = getComputedStyle(one);"
        " return [style.opacity, style.textDecorationLine, style.filter, style.transform].join(' '); })"
    )
    assert set(styles) == {"1 none none none"}
    swatches = page.locator(".legend .swatch").evaluate_all(
        "(all) => all.map((one) => getComputedStyle(one).backgroundColor)"
    )
    assert swatches == ["rgba(0, 0, 0, 0)", "rgb(0, 200, 0)", "rgb(0, 0, 200)"], "an empty box"
    watched.clean()


def test_a_mark_goes_when_the_slide_is_pressed(watched: Watched, result: str) -> None:
    page = watched.open(f"view/{result}", "view")
    page.click("[data-panel='outlines'] summary")
    page.locator("[data-panel='outlines'] tbody button").first.click()
    page.wait_for_selector(".tool-layer .mark")
    place = box_of(page.locator(".stage"))
    page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    page.wait_for_selector(".tool-layer .mark", state="detached")
    watched.clean()


def test_of_an_outline_and_an_uncertain_field_the_last_is_marked(watched: Watched, result: str) -> None:
    page = watched.open(f"view/{result}", "view")
    page.click("[data-panel='outlines'] summary")
    page.locator("[data-panel='outlines'] tbody button").first.click()
    page.wait_for_selector(".tool-layer .mark")
    page.keyboard.press(".")
    page.wait_for_selector("[data-uncertain='said']:has-text('Field 1')")
    assert page.locator(".tool-layer .mark").count() == 1
    watched.clean()


def test_a_pixel_size_that_no_slide_states_is_asked_for(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    write_slide(tmp_path / "slides" / "plain.tiff", tissue_like(600, 700), mpp=None)
    write_model(tmp_path / "models" / "channels")
    with Served(tmp_path, "--workers", 0) as running, browsing(browser, running.url) as watched:
        page = watched.open("slides", "slides")
        page.click("li.slide-card .slide-name a")
        watched.wait("slide")
        page.click("button:has-text('Segment this slide')")
        assert page.get_attribute("#submit-mpp", "placeholder") == "needed: the slide states none"
        assert page.locator("#submit-mpp:invalid").count() == 1
        watched.clean()


def test_nothing_is_said_of_the_screen_before_there_are_areas(watched: Watched, gallery: Served) -> None:
    with gallery.held(), gallery.client() as client:
        before = client.submit("slides/large.tiff", model="channels")["id"]
        waiting = client.submit("slides/small.tiff", model="channels")["id"]
        page = watched.open(f"view/{waiting}", "view")
        watched.drawn()
        assert page.inner_text("[data-panel='classes'] .hint >> nth=0") == "Areas are known when the job gets further."
        client.cancel(waiting)
        client.cancel(before)
    watched.clean(f"{waiting}/")


def test_a_mask_of_a_folder_names_what_was_chosen_and_no_more(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    (tmp_path / "results").mkdir()
    slide = write_slide(tmp_path / "slides" / "s.tiff", tissue_like(600, 700))
    model = write_model(tmp_path / "models" / "channels")
    segment(slide, out=tmp_path / "results" / "s.zarr", model=model)
    flags = ("--workers", 0, "--results", tmp_path / "results")
    with Served(tmp_path, *flags) as running, browsing(browser, running.url) as watched:
        job = web.get(f"{running.url}/v1/jobs").json()["jobs"][0]["id"]
        page = watched.open(f"view/{job}", "view")
        said = page.inner_text(".side-head .hint >> nth=0")
        assert "Whole slide" in said
        assert "Stride" not in said
        assert "Provider" not in said
        watched.clean()


def test_a_selected_outline_is_seen_among_others_and_what_is_said_is_of_now(watched: Watched, result: str) -> None:
    page = watched.open(f"view/{result}?at=700,900,1", "view")
    watched.drawn()
    page.keyboard.press("e")
    page.wait_for_selector("[data-review='counts']:has-text('on the screen'):not(:has-text('screen 0'))")
    page.keyboard.press("n")
    page.wait_for_selector("[data-review='selected']:has-text('not reviewed')")
    watched.frames()
    top = page.locator(".review-layer").last.evaluate("(one) => one.toDataURL().split(',')[1]")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(top))))
    assert (pixels == 255).all(axis=2).sum() > 200, "a white line, whatever the class"
    page.keyboard.press("x")
    page.keyboard.press("Escape")
    page.keyboard.press("w")
    page.wait_for_selector("[data-review='said']:has-text('Drag around')")
    page.keyboard.press("Escape")
    page.keyboard.press("z")
    page.wait_for_selector("[data-review='said']:empty", state="attached")
    watched.clean()
