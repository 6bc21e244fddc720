"""Comparing two results of a slide in a real browser: pixels, linked views, links, numbers; and uncertain fields."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import web
from browser import Watched, browsing, middle
from live_server import Served
from mask_pixels import Pixels, class_colors, class_ids, differ_at_borders_alone, painted
from wsi_segment.inference.mask.mask import Mask

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PLACE = (900.0, 700.0)
DIFFERENT = (214, 0, 147, 255)
"""Colour of the map where the classes differ."""
ONLY_ONE = (90, 90, 90, 255)
"""Where only one mask has a class."""


@pytest.fixture(scope="module")
def masks(gallery: Served, result: str, other_result: str) -> tuple[Mask, Mask]:
    """Both masks of the slide."""
    first, second = (Mask.open(gallery.data / "results" / job / "mask.zarr") for job in (result, other_result))
    return first, second


def settled(watched: Watched) -> None:
    """Wait until all tiles of both panes are on the screen."""
    watched.frames()
    for side in "AB":
        watched.page.wait_for_selector(f".pane[data-side='{side}'][data-drawn='true']")
    watched.frames()


def canvas(side: str, layer: str = "mask-layer") -> str:
    return f".pane[data-side='{side}'] .{layer}"


def compare(watched: Watched, jobs: tuple[str, str], query: str = "") -> Page:
    page = watched.open(f"compare/{jobs[0]}/{jobs[1]}{'?' + query if query else ''}", "compare")
    settled(watched)
    return page


def place_of(page: Page) -> tuple[float, float, float]:
    x, y, scale = (float(part) for part in page.url.partition("at=")[2].partition("&")[0].split(","))
    return x, y, scale


def map_of(masks: tuple[Mask, Mask], shape: tuple[int, int], scale: float) -> Pixels:
    """Return the map of differences (height, width, RGBA) by the names of the classes."""
    first, second = (class_ids(mask, shape, PLACE, scale) for mask in masks)
    names = [np.array([entry.name for entry in mask.classes]) for mask in masks]
    wanted = np.zeros((*shape, 4), np.uint8)
    both = (first > 0) & (second > 0)
    wanted[both & (names[0][first] != names[1][second])] = DIFFERENT
    wanted[(first > 0) != (second > 0)] = ONLY_ONE
    return wanted


def test_another_result_of_the_slide_is_found_and_compared(
    browser: Browser, gallery: Served, result: str, other_result: str, masks: tuple[Mask, Mask]
) -> None:
    with browsing(browser, gallery.url, 1200, 700) as watched:
        page = watched.open(f"view/{result}?at={PLACE[0]:.0f},{PLACE[1]:.0f},1&opacity=100", "view")
        watched.drawn()
        page.click("details[data-panel='compare'] summary")
        page.click(f"details[data-panel='compare'] a[href*='{other_result}']")
        watched.wait("compare")
        settled(watched)
        for side, mask in zip("AB", masks, strict=True):
            shown = painted(watched, canvas(side))
            assert differ_at_borders_alone(shown, class_colors(mask, class_ids(mask, shown.shape[:2], PLACE, 1.0)))
            assert f"{side}: {mask.provenance['model']['name']}" in page.inner_text(f".pane[data-side='{side}']")
        watched.clean()


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_the_map_shows_where_the_classes_differ_by_name(
    watched: Watched, result: str, other_result: str, masks: tuple[Mask, Mask], scale: float
) -> None:
    page = compare(watched, (result, other_result), f"at={PLACE[0]:.0f},{PLACE[1]:.0f},{scale}")
    page.keyboard.press("m")  # the map is seen without the masks too
    page.keyboard.press("v")
    settled(watched)
    shown = [painted(watched, canvas(side, "difference-layer")) for side in "AB"]
    np.testing.assert_array_equal(shown[0], shown[1])
    wanted = map_of(masks, shown[0].shape[:2], scale)
    assert 0.05 < (wanted == DIFFERENT).all(axis=2).mean() < 0.9
    assert differ_at_borders_alone(shown[0], wanted)
    watched.clean()


def test_numbers_say_how_much_differs(
    watched: Watched, gallery: Served, result: str, other_result: str, masks: tuple[Mask, Mask]
) -> None:
    found: dict[str, Any] = web.get(
        f"{gallery.url}/v1/jobs/{result}/results/differences.json?other={other_result}"
    ).json()
    size = masks[0].levels[0]
    centre = ((masks[0].origin[0] + size.width / 2), (masks[0].origin[1] + size.height / 2))
    first, second = (class_ids(mask, (size.height, size.width), centre, size.downsample) for mask in masks)
    both = (first > 0) & (second > 0)
    names = [np.array([entry.name for entry in mask.classes]) for mask in masks]
    share = (names[0][first] != names[1][second])[both].mean()
    assert found["differing_mm2"] / found["compared_mm2"] == pytest.approx(share, abs=1e-6)
    assert found["compared_mm2"] == pytest.approx(both.sum() * 1e-6, rel=1e-6)  # pixels of 1 µm
    assert found["only_one_mm2"] == pytest.approx(((first > 0) != (second > 0)).sum() * 1e-6, rel=1e-6)
    assert {(pair["this"], pair["other"]) for pair in found["pairs"]} >= {("green", "blue"), ("blue", "green")}
    page = compare(watched, (result, other_result))
    assert "Keep probabilities" in page.inner_text(".side-head"), "what tells the two apart"
    text = page.inner_text("[data-compare='share']")
    assert float(text.split()[0].rstrip("%")) == pytest.approx(100 * share, abs=0.1)
    watched.clean()


def test_regions_of_one_size_are_told_apart_by_where_they_are(watched: Watched, gallery: Served) -> None:
    regions = [[200, 300, 1000, 900], [400, 300, 1200, 900]]
    with gallery.client() as client:
        jobs = [client.submit("slides/small.tiff", model="channels", region=region)["id"] for region in regions]
        for job in jobs:
            assert client.wait(job)["status"] == "successful"
    page = compare(watched, (jobs[0], jobs[1]))
    lines = page.locator(".side-head p")
    for line, x in ((0, 200), (1, 400)):
        assert f"Region 800 × 600 px at x {x}, y 300" in lines.nth(line).inner_text()
    watched.clean()


def test_long_names_and_areas_have_room_in_the_panel(watched: Watched, result: str, other_result: str) -> None:
    page = compare(watched, (result, other_result))
    page.wait_for_selector("[data-panel='differences'] .legend td.name")
    page.evaluate(
        "() => { for (const [at, text] of [['.class span:last-child', 'adenocarcinoma'], ['tbody th:not(:has(*))',"
        " 'serrated-adenoma'], ['.name', 'adenocarcinoma'], ['td:last-child', '0.00914 mm²'], ['td:nth-child(2):not("
        ".name)', '0.00684 mm²'], ['td:nth-child(3):nth-last-child(2)', '28.4 %'], ['td:nth-child(4)', '28.4 %']])"
        " for (const one of document.querySelectorAll(`.legend ${at}`)) one.textContent = text; }"
    )
    over = page.locator(".side .legend").evaluate_all(
        "(all) => all.map((one) => one.getBoundingClientRect().right - one.parentElement.getBoundingClientRect().right)"
    )
    assert len(over) == 2
    assert max(over) <= 0, over
    watched.page.set_viewport_size({"width": 1280, "height": 800})
    lines = page.locator(".pairs td.name").evaluate_all(
        "(all) => all.map((one) => { const range = document.createRange(); range.selectNodeContents(one);"
        " return range.getClientRects().length; })"
    )
    assert set(lines) == {1}, "a usual name stays in one piece"
    watched.clean()


def test_both_views_move_together_whichever_is_moved(
    watched: Watched, result: str, other_result: str, masks: tuple[Mask, Mask]
) -> None:
    page = compare(watched, (result, other_result), f"at={PLACE[0]:.0f},{PLACE[1]:.0f},1&opacity=100")
    before = place_of(page)
    for side, (dx, dy) in {"B": (-120, 60), "A": (40, -90)}.items():
        x, y = middle(page, f".pane[data-side='{side}']")
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + dx, y + dy, steps=6)
        wanted = (before[0] - dx, before[1] - dy, before[2])
        # the address has it once the view has come to rest: what is let go of then is not thrown
        watched.until(lambda wanted=wanted: place_of(page) == pytest.approx(wanted, abs=2))  # type: ignore[misc]
        page.mouse.up()
        settled(watched)
        before = place_of(page)
        for name, mask in zip("AB", masks, strict=True):
            shown = painted(watched, canvas(name))
            ids = class_ids(mask, shown.shape[:2], before[:2], before[2])
            assert differ_at_borders_alone(shown, class_colors(mask, ids))
    page.keyboard.press("+")
    watched.until(lambda: place_of(page)[2] < 0.9)
    watched.clean()


def test_the_curtain_shows_one_result_on_each_side(
    browser: Browser, gallery: Served, result: str, other_result: str, masks: tuple[Mask, Mask]
) -> None:
    with browsing(browser, gallery.url, 1200, 700) as watched:
        page = compare(watched, (result, other_result), f"at={PLACE[0]:.0f},{PLACE[1]:.0f},1&opacity=100")
        page.keyboard.press("c")
        for _ in range(4):
            page.keyboard.press(">")
        line = page.locator(".curtain")
        assert line.get_attribute("aria-valuenow") == "70"
        settled(watched)
        box = page.locator(".panes").bounding_box()
        assert box is not None
        seen = np.asarray(Image.open(io.BytesIO(page.locator(".panes").screenshot())).convert("RGB"))
        cut = round(0.7 * box["width"])
        shape = painted(watched, canvas("A")).shape[:2]
        middle = slice(shape[0] // 4, 3 * shape[0] // 4)
        for side, mask in zip("AB", masks, strict=True):
            part = slice(cut // 4, cut - 30) if side == "A" else slice(cut + 30, cut + (shape[1] - cut) // 2)
            ids = class_ids(mask, shape, PLACE, 1.0)[middle, part]
            same = (seen[middle, part] == class_colors(mask, ids)[..., :3]).all(axis=2)
            assert same[ids > 0].mean() > 0.85, side
        at = line.bounding_box()
        assert at is not None
        page.mouse.move(at["x"] + at["width"] / 2, at["y"] + 300)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.25 * box["width"], at["y"] + 320, steps=5)
        page.mouse.up()
        assert line.get_attribute("aria-valuenow") == "25"
        line.focus()
        page.keyboard.press("ArrowRight")
        assert line.get_attribute("aria-valuenow") == "30"
        page.keyboard.press("v")
        watched.until(lambda: "curtain=30" in page.url and "differences=on" in page.url)
        page.reload()
        watched.wait("compare")
        settled(watched)
        assert line.get_attribute("aria-valuenow") == "30"
        assert page.is_checked("#differences")
        watched.clean()


def test_what_cannot_be_compared_says_why(watched: Watched, gallery: Served, result: str) -> None:
    with gallery.client() as client:
        other = client.submit("slides/large.tiff", model="channels", region=[1000, 1000, 1600, 1600])
        assert client.wait(other["id"])["status"] == "successful"
    page = watched.open(f"compare/{result}/{other['id']}", "problem")
    assert "different slides" in page.inner_text("main")
    page.goto("about:blank")
    page = watched.open(f"compare/{result}/nothing", "problem")
    page.goto("about:blank")
    page = watched.open(f"compare/{result}", "problem")
    watched.clean("404", "422")


def test_uncertain_fields_are_visited_one_after_another(
    watched: Watched, gallery: Served, result: str, other_result: str
) -> None:
    fields = web.get(f"{gallery.url}/v1/jobs/{result}/results/uncertain.json").json()["fields"]
    page = watched.open(f"view/{result}", "view")
    watched.drawn()
    for key, index in ((".", 0), (".", 1), (",", 0), (",", len(fields) - 1)):
        page.keyboard.press(key)
        page.wait_for_selector(f"[data-uncertain='said']:has-text('Field {index + 1} of {len(fields)}')")
        x0, y0, x1, y1 = fields[index]["bbox"]
        wanted = pytest.approx([(x0 + x1) / 2, (y0 + y1) / 2], abs=2)
        watched.until(lambda wanted=wanted: "at=" in page.url and list(place_of(page)[:2]) == wanted)  # type: ignore[misc]
        assert page.locator(".tool-layer .mark").is_visible()
    watched.open(f"view/{other_result}", "view")
    page.keyboard.press(".")
    page.wait_for_selector("[data-uncertain='said']:has-text('kept no probabilities')")
    watched.clean()  # it is known without a question


def test_uncertain_fields_are_those_of_the_probabilities(gallery: Served, result: str, result_store: Path) -> None:
    import zarr

    found = web.get(f"{gallery.url}/v1/jobs/{result}/results/uncertain.json?count=500").json()
    assert found["total"] == len(found["fields"]) > 4
    order = [one["uncertainty"] for one in found["fields"]]
    assert order == sorted(order, reverse=True)
    planes = np.asarray(zarr.open_group(result_store, mode="r")["0"][:3], np.float64)  # type: ignore[index]
    tissue = class_ids_of(result_store) > 0
    for field in found["fields"][:3]:
        x0, y0, x1, y1 = (round(value) for value in field["bbox"])
        shares = planes[:, y0:y1, x0:x1]
        shares = shares / np.maximum(shares.sum(axis=0), 1)
        bits = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=0) / np.log(3)
        assert field["uncertainty"] == pytest.approx(bits[tissue[y0:y1, x0:x1]].mean(), abs=1e-9)


def class_ids_of(store: Path) -> Pixels:
    from synthetic import class_map

    return class_map(store)


def test_masks_of_different_slides_have_no_differences(gallery: Served, result: str) -> None:
    with gallery.client() as client:
        other = client.submit("slides/large.tiff", model="channels", region=[1000, 1000, 1600, 1600])
        assert client.wait(other["id"])["status"] == "successful"
    answer = web.get(f"{gallery.url}/v1/jobs/{result}/results/differences.json?other={other['id']}")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:wsi-segment:problem:other-slide")
