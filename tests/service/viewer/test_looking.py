"""Looking at a result in a real browser: pixels, classes, links to views, keys, numbers."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from PIL import Image

import web
from browser import Watched, middle, touch
from live_server import Served
from mask_pixels import class_colors, class_ids, differ_at_borders_alone, painted
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.service.api.viewing.viewer_files import PATH, viewer_files

if TYPE_CHECKING:
    from playwright.sync_api import Locator

PLACES = [(300, 500), (900, 700), (1333, 411)]
"""Level-0 pixels of the middle of a view."""
SCALES = [0.25, 1.0, 2.0]
"""Level-0 pixels per pixel of the screen."""


def picture(watched: Watched) -> NDArray[np.uint8]:
    """Return what is on the screen where the slide is (height, width, RGB)."""
    return pixels_of(watched.page.locator(".pane"))


def pixels_of(element: Locator) -> NDArray[np.uint8]:
    """Return what is on the screen where an element is (height, width, RGB)."""
    return np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("RGB"))


def navigator_of(watched: Watched) -> Locator:
    """Return the navigator, once its slide is drawn, for which a view does not wait."""
    navigator = watched.page.locator(".navigator")
    watched.until(lambda: bool(np.ptp(pixels_of(navigator), axis=(0, 1)).min() > 30))  # more than its empty ground
    return navigator


def view(watched: Watched, job: str, query: str = "") -> None:
    """Go to a view; within the same result the page stays, as when somebody changes the address."""
    target = f"#/view/{job}{'?' + query if query else ''}"
    if f"#/view/{job}" in watched.page.url:
        watched.turn_to(target)
    else:
        watched.open(target.removeprefix("#/"), "view")
    watched.drawn()


def place_of(watched: Watched) -> list[float]:
    """Return the place that the address holds: x, y and scale."""
    return [float(part) for part in watched.page.url.partition("at=")[2].partition("&")[0].split(",") if part]


def test_the_first_view_waits_for_its_own_modules_alone(watched: Watched, result: str) -> None:
    watched.open(f"view/{result}", "view")
    files = viewer_files()
    base = f"{watched.url}{PATH}/{files.digest}/"

    def modules() -> list[str]:
        return [url.removeprefix(base) for url in watched.requests if url.startswith(f"{base}js/")]

    asked = modules()
    first = asked[: asked.index("js/view/features.js")]
    assert sorted(first) == sorted(files.first + files.needed + files.of_pages["view"]), (
        "all that is imported is named in the page"
    )
    for path in ("session", f"jobs/{result}/view"):
        assert watched.requests.count(f"{watched.url}/v1/{path}") == 1
    wanted = {name for name in files.content if name.startswith("js/")} - {"js/server/types.js"}  # has types alone
    watched.until(lambda: set(modules()) == wanted)
    assert len(modules()) == len(set(modules()))
    watched.clean()


def test_the_overlay_is_the_mask_by_the_models_colours(watched: Watched, result: str, result_store: Path) -> None:
    mask = Mask.open(result_store)
    for place, scale in itertools.product(PLACES, SCALES):
        view(watched, result, f"at={place[0]},{place[1]},{scale}&opacity=100")
        shown = painted(watched)
        wanted = class_colors(mask, class_ids(mask, shown.shape[:2], place, scale))
        assert (shown == wanted).all(axis=2).mean() > (0.9 if scale < 2 else 0.8)
        assert differ_at_borders_alone(shown, wanted)
        assert len(np.unique(wanted.reshape(-1, 4), axis=0)) >= 3
    watched.clean()


def test_a_server_that_answers_one_tile_at_a_time_leaves_no_holes(
    watched: Watched, result: str, result_store: Path
) -> None:
    """While a service changes to another version, servers of both may stand behind its address."""
    watched.page.route("**/results/tiles/**", lambda route: route.continue_(url=route.request.url.split("?")[0]))
    view(watched, result, "at=900,700,1&opacity=100")
    assert any("?columns=" in url for url in watched.requests)
    mask, shown = Mask.open(result_store), painted(watched)
    wanted = class_colors(mask, class_ids(mask, shown.shape[:2], (900, 700), 1.0))
    assert (shown == wanted).all(axis=2).mean() > 0.9
    watched.clean()


def test_switching_a_class_off_takes_away_its_colour_alone(watched: Watched, result: str) -> None:
    view(watched, result, "opacity=100")
    before = painted(watched)
    asked = len(watched.requests)
    watched.page.click(".legend [data-class='2']")
    watched.drawn()
    after = painted(watched)
    green = (before == (0, 200, 0, 255)).all(axis=2)
    assert green.any()
    assert not after[green].any()
    np.testing.assert_array_equal(after[~green], before[~green])
    watched.page.keyboard.press("2")
    watched.drawn()
    np.testing.assert_array_equal(painted(watched), before)
    assert not [url for url in watched.requests[asked:] if "/results/" in url], "another colour costs no request"
    watched.clean()


def test_switching_a_class_leaves_little_garbage(watched: Watched, result: str) -> None:
    view(watched, result, "at=900,700,1")
    devtools = watched.page.context.new_cdp_session(watched.page)

    def held() -> float:
        used = devtools.send("Runtime.getHeapUsage")
        return float(used["usedSize"] + used["backingStorageSize"]) / 2**20

    devtools.send("HeapProfiler.collectGarbage")
    before = held()
    for _ in range(8):
        watched.page.keyboard.press("1")
        watched.drawn()
    assert held() - before < 4, "MiB; a screen of tiles is a few MiB of pixels"
    watched.clean()


def test_opacity_and_the_safe_palette_cost_no_request(watched: Watched, result: str) -> None:
    view(watched, result, "opacity=100")
    before = painted(watched)
    asked = len(watched.requests)
    watched.page.fill("#mask-opacity", "40")
    watched.drawn()
    fainter = painted(watched)
    shown = before[..., 3] == 255
    assert np.abs(fainter[shown][:, 3].astype(int) - 102).max() <= 1, "40 % of 255"
    watched.page.fill("#mask-opacity", "100")
    watched.page.check("#mask-safe")
    watched.drawn()
    after = painted(watched)
    for own, safe in {(200, 0, 0): (230, 159, 0), (0, 200, 0): (86, 180, 233), (0, 0, 200): (0, 158, 115)}.items():
        there = (before == (*own, 255)).all(axis=2)
        assert (after[there] == (*safe, 255)).all()
    assert not [url for url in watched.requests[asked:] if "/results/" in url]
    watched.clean()


def test_a_link_brings_the_same_view_back(watched: Watched, result: str) -> None:
    view(watched, result)
    for key in ("+", "+", "ArrowRight", "ArrowDown", "3", "]", "o"):
        watched.page.keyboard.press(key)
    watched.drawn()
    watched.until(lambda: watched.page.input_value("#permalink") == watched.page.url and "off=3" in watched.page.url)
    link = watched.page.url
    navigator_of(watched)
    first = picture(watched)
    watched.page.goto("about:blank")
    watched.page.goto(link)
    watched.wait("view")
    watched.drawn()
    assert watched.page.get_attribute("[data-class='3']", "aria-pressed") == "false"
    assert watched.page.input_value("#mask-opacity") == "60"
    assert watched.page.is_checked("#mask-outline")
    navigator_of(watched)
    second = picture(watched)
    assert (np.abs(first.astype(int) - second.astype(int)).max(axis=2) > 40).mean() < 0.002
    watched.clean()


def test_a_link_that_works_on_this_computer_only_says_so(watched: Watched, result: str) -> None:
    view(watched, result)
    watched.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    watched.page.click("button:has-text('Copy the link')")
    watched.page.wait_for_selector(".notice:has-text('this computer only')")
    assert watched.run("() => navigator.clipboard.readText()") == watched.page.input_value("#permalink")
    watched.clean()


def test_the_navigator_shows_the_slide_and_takes_the_view_where_it_is_clicked(watched: Watched, result: str) -> None:
    view(watched, result, "at=900,700,1")
    navigator = navigator_of(watched)
    whole = navigator.bounding_box()
    marked = navigator.locator(".displayregion").bounding_box()
    pane = watched.page.locator(".pane").bounding_box()
    assert whole is not None
    assert marked is not None
    assert pane is not None
    assert whole["x"] + whole["width"] > pane["x"] + 0.9 * pane["width"]
    assert 0 < marked["width"] < whole["width"]
    navigator.click(position={"x": whole["width"] / 4, "y": whole["height"] / 4})
    watched.until(lambda: place_of(watched)[0] < 700 and place_of(watched)[1] < 600)
    watched.drawn()
    watched.clean()


def test_areas_are_those_of_the_summary(watched: Watched, result: str, result_store: Path) -> None:
    areas = Mask.open(result_store).areas()
    view(watched, result)
    for area in areas:
        cells = watched.page.locator(f"tr[data-row='{area.id}'] td").all_text_contents()
        share, absolute = cells[0].split("%")
        assert float(absolute.split()[0]) == pytest.approx(area.area_mm2, rel=0.01)
        assert float(share) == pytest.approx(area.percent_of_tissue, abs=0.1)
    here = watched.page.locator("tr[data-row='1'] td").nth(1)
    watched.until(lambda: "%" in here.inner_text())
    seen = [
        float(watched.page.locator(f"tr[data-row='{area.id}'] td").nth(1).inner_text().split()[0]) for area in areas
    ]
    assert seen == pytest.approx([area.percent_of_tissue for area in areas], abs=1.5), (
        "the whole slide is on the screen"
    )
    heads = watched.page.locator("[data-legend='classes'] thead th").all_text_contents()
    assert heads == ["Class", "On the slide", "On the screen"], "said to those who cannot hover"
    for area in areas:
        value, unit = watched.page.inner_text(f"tr[data-row='{area.id}'] td:last-child small").split()
        assert float(value) * {"mm²": 1, "µm²": 1e-6}[unit] == pytest.approx(area.area_mm2, rel=0.1)
    watched.clean()


def test_the_pointer_tells_class_and_probability(watched: Watched, result: str, result_store: Path) -> None:
    mask = Mask.open(result_store)
    page = watched.page
    view(watched, result, "at=900,700,1")
    x, y = middle(page)
    for dx, dy in ((3, 3), (-97, 45), (151, -83)):
        page.mouse.move(x + dx, y + dy)
        entry = mask.at(900 + dx, 700 + dy)
        page.wait_for_selector(f".pointer[data-value='{entry.id}']")
        chance = probability_at(result_store, entry.id, 900 + dx, 700 + dy)
        page.wait_for_selector(f".pointer-text:has-text('{entry.name} {chance}')")
    view(watched, result, "at=900,700,1&probability=1")
    page.mouse.move(x + 3, y + 3)
    entry, chance = mask.at(903, 703), probability_at(result_store, 1, 903, 703)
    page.wait_for_selector(f".pointer-text:has-text('red {chance} · class {entry.name} · 903, 703 px')")
    watched.clean()


def test_the_pointer_tells_the_class_alone_without_probabilities(
    watched: Watched, other_result: str, gallery: Served
) -> None:
    view(watched, other_result, "at=900,700,1")
    x, y = middle(watched.page)
    watched.page.mouse.move(x + 3, y + 3)
    entry = Mask.open(gallery.data / "results" / other_result / "mask.zarr").at(903, 703)
    watched.page.wait_for_selector(f".pointer-text:has-text('{entry.name} · 903, 703 px')")
    assert not any("/probabilities/" in url for url in watched.requests)
    watched.clean()


def probability_at(store: Path, class_id: int, x: int, y: int) -> str:
    """Return the probability of a class at a place in level-0 pixels, as the page writes it."""
    kept = zarr.open_group(store, mode="r")["0"]
    assert isinstance(kept, zarr.Array)
    share = int(np.asarray(kept[class_id - 1, y, x])) / 255
    return f"{100 * share:.{1 if share >= 0.1 or share == 0 else 2}f} %"


def test_without_a_pointer_the_middle_of_the_view_is_told(watched: Watched, result: str, result_store: Path) -> None:
    view(watched, result, "at=903,703,1")
    page = watched.page
    assert page.locator(".pointer:visible").count() == 0
    page.focus(".stage [role='application']")
    entry = Mask.open(result_store).at(903, 703)
    page.wait_for_selector(f".pointer[data-value='{entry.id}']:visible")
    chance = probability_at(result_store, entry.id, 903, 703)
    page.wait_for_selector(f".pointer-text:text-is('Middle: {entry.name} {chance} · 903, 703 px')")
    assert page.get_attribute(".pointer", "aria-live") == "polite"
    page.keyboard.press("ArrowRight")
    watched.until(lambda: "903, 703" not in page.inner_text(".pointer-text"))
    assert page.inner_text(".pointer-text").startswith("Middle: ")
    page.focus("#mask-opacity")
    page.wait_for_selector(".pointer", state="hidden")
    watched.clean()


def test_scale_bar_and_magnification_come_from_the_pixel_size(watched: Watched, result: str) -> None:
    view(watched, result, "at=900,700,0.5")
    assert watched.page.inner_text(".scale-zoom") == "20×"
    length, unit = watched.page.inner_text(".scale-text").split()
    box = watched.page.locator(".scale-line").bounding_box()
    assert unit == "µm"
    assert box is not None
    assert float(length) == pytest.approx(0.5 * box["width"], abs=1)  # a pixel of this slide is 1 µm wide
    watched.clean()


def test_a_distance_is_measured_by_pointer_and_by_keys(watched: Watched, result: str) -> None:
    view(watched, result, "at=900,700,1")
    box = watched.page.locator(".stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    watched.page.click("[aria-label='Measure']")
    assert "Drag a line" in watched.page.inner_text(".tool-hint:visible")
    assert "the ruler again" in watched.page.inner_text(".tool-hint:visible"), "a telephone has no Esc"
    watched.page.mouse.move(x - 60, y - 80)
    watched.page.mouse.down()
    watched.page.mouse.move(x, y, steps=4)
    watched.page.mouse.up()
    measured = watched.page.locator(".tool-layer[data-um]").get_attribute("data-um")
    assert float(measured or 0) == pytest.approx(100, abs=2)
    assert watched.page.locator(".tool-hint:visible").count() == 0, "it was followed"
    assert (watched.page.text_content(".measure-text") or "").endswith("µm")
    watched.page.keyboard.press("Escape")
    assert watched.page.locator(".tool-hint:visible").count() == 0
    watched.page.keyboard.press("d")
    assert "Drag a line" in watched.page.inner_text(".tool-hint:visible")
    watched.page.keyboard.press("ArrowRight")
    watched.frames()
    watched.page.keyboard.press("Enter")
    assert watched.page.locator(".tool-hint:visible").count() == 0
    measured = watched.page.locator(".tool-layer[data-um]").get_attribute("data-um")
    assert float(measured or 0) == pytest.approx(0.15 * box["width"], rel=0.05)
    watched.clean()


def test_a_distance_is_measured_from_one_click_to_the_next(watched: Watched, result: str) -> None:
    view(watched, result, "at=900,700,1")
    x, y = middle(watched.page)
    watched.page.click("[aria-label='Measure']")
    watched.page.mouse.click(x - 60, y - 80)
    assert watched.page.text_content(".measure-text") == ""
    assert watched.page.locator(".tool-hint:visible").count() == 1, "the other end is still to come"
    watched.page.mouse.move(x, y)
    assert watched.page.text_content(".measure-text") == "100 µm", "it follows the pointer"
    watched.page.mouse.click(x, y)
    watched.page.mouse.move(x + 90, y)
    assert watched.page.text_content(".measure-text") == "100 µm"
    assert watched.page.locator(".tool-hint:visible").count() == 0
    assert watched.run("() => getSelection().toString()") == ""
    watched.clean()


def test_the_wheel_zooms_where_the_pointer_is_while_a_tool_is_in_use(watched: Watched, result: str) -> None:
    view(watched, result, "at=900,700,1")
    x, y = middle(watched.page)
    watched.page.click("[aria-label='Measure']")
    watched.page.mouse.move(x + 200, y + 100)
    watched.page.mouse.wheel(0, -100)
    watched.until(lambda: place_of(watched)[2] == pytest.approx(0.8, abs=1e-3))
    assert place_of(watched)[:2] == pytest.approx([900 + 0.2 * 200, 700 + 0.2 * 100], abs=1)
    watched.clean()


@pytest.mark.parametrize("end", ["pointercancel", "pointerdown"])
def test_a_measurement_that_is_cut_short_leaves_no_line(watched: Watched, result: str, end: str) -> None:
    view(watched, result, "at=900,700,1")
    page = watched.page
    x, y = middle(page)
    page.click("[aria-label='Measure']")
    line = page.locator(".tool-layer[data-um]")
    touch(page, "pointerdown", x - 60, y - 80)
    touch(page, "pointermove", x, y)
    assert float(line.get_attribute("data-um") or 0) == pytest.approx(100, abs=2)
    touch(page, end, x + 40, y, pointer=7 if end == "pointercancel" else 8)
    touch(page, "pointermove", x + 90, y)
    touch(page, "pointerup", x + 90, y)
    assert line.get_attribute("data-um") == ""
    if end == "pointerdown":
        touch(page, "pointerup", x + 40, y, pointer=8)
    touch(page, "pointerdown", x - 60, y - 80)
    touch(page, "pointermove", x, y)
    touch(page, "pointerup", x, y)
    assert page.text_content(".measure-text") == "100 µm", "the next one is as ever"
    watched.clean()


def test_outlines_are_the_edges_of_the_classes(watched: Watched, result: str) -> None:
    view(watched, result, "opacity=100&at=900,700,1")
    filled = painted(watched)
    view(watched, result, "opacity=100&at=900,700,1&draw=outline")
    outlined = painted(watched)
    drawn = outlined[..., 3] > 0
    assert 0 < drawn.mean() < 0.5 * (filled[..., 3] > 0).mean()
    np.testing.assert_array_equal(outlined[drawn], filled[drawn])
    changes = np.zeros(drawn.shape, bool)
    for axis in (0, 1):
        moved = (np.roll(filled, 1, axis) != filled).any(axis=2)
        changes |= moved | np.roll(moved, -1, axis)
    assert (drawn & ~changes)[2:-2, 2:-2].mean() < 0.001
    watched.clean()


def test_probabilities_are_shown_above_a_threshold(watched: Watched, result: str) -> None:
    def shown(query: str) -> float:
        view(watched, result, query)
        return float((painted(watched)[..., 3] > 0).mean())

    low = shown("probability=1&threshold=10&opacity=100")
    high = shown("probability=1&threshold=90&opacity=100")
    assert 0 < high < low
    watched.page.click("details[data-panel='probability'] summary") if not watched.page.is_visible(
        "#probability-class"
    ) else None
    watched.page.select_option("#probability-class", "")
    watched.drawn()
    assert watched.page.locator("#permalink").input_value().count("probability=") == 0
    watched.clean()


def test_the_table_of_outlines_flies_to_the_largest(watched: Watched, result: str, gallery: Served) -> None:
    first: dict[str, Any] = web.get(f"{gallery.url}/v1/jobs/{result}/results/outlines.json").json()
    areas = [one["area_um2"] for one in first["outlines"]]
    assert areas == sorted(areas, reverse=True)
    features = web.get(f"{gallery.url}/v1/jobs/{result}/results/objects.geojson").json()["features"]
    assert first["total"] == len(features)
    assert areas[0] == max(one["properties"]["measurements"]["Area um^2"] for one in features)
    view(watched, result)
    watched.page.click("details[data-panel='outlines'] summary")
    watched.page.click("details[data-panel='outlines'] tbody button >> nth=0")
    x0, y0, x1, y1 = first["outlines"][0]["bbox"]
    wanted = pytest.approx([(x0 + x1) / 2, (y0 + y1) / 2], abs=max(20, 0.2 * (x1 - x0)))
    watched.until(lambda: place_of(watched)[:2] == wanted)
    watched.clean()


def test_a_table_of_outlines_that_did_not_come_is_asked_for_again(watched: Watched, result: str) -> None:
    view(watched, result)
    watched.page.route("**/outlines.json?*", lambda route: route.fulfill(status=500))
    summary = watched.page.locator("details[data-panel='outlines'] summary")
    summary.click()
    watched.page.wait_for_selector(".notice.error")
    watched.page.unroute("**/outlines.json?*")
    summary.click()
    summary.click()
    watched.page.wait_for_selector("details[data-panel='outlines'] tbody tr")
    watched.page.route("**/outlines.json?*", lambda route: route.fulfill(status=500))
    watched.page.select_option("details[data-panel='outlines'] select", "1")
    watched.page.wait_for_selector("details[data-panel='outlines'] tbody tr", state="detached")  # of other classes
    watched.page.unroute("**/outlines.json?*")
    summary.click()
    summary.click()
    watched.page.wait_for_selector("details[data-panel='outlines'] tbody tr:has-text('red')")
    watched.clean("500")


def test_a_picture_of_the_view_is_saved(watched: Watched, result: str) -> None:
    view(watched, result, "opacity=100")
    with watched.page.expect_download() as waiting:
        watched.page.keyboard.press("p")
    saved = np.asarray(Image.open(waiting.value.path()).convert("RGB"))
    assert waiting.value.suggested_filename == "small.png"
    shown = painted(watched)
    assert saved.shape[:2] == shown.shape[:2]
    middle = np.s_[200:-200, 250:-250]
    opaque = shown[middle][..., 3] == 255
    np.testing.assert_array_equal(saved[middle][opaque], shown[middle][opaque][:, :3])
    view(watched, result, "mask=off")
    with watched.page.expect_download() as waiting:
        watched.page.click("[aria-label='Save a picture']")
    saved = np.asarray(Image.open(waiting.value.path()).convert("RGB"))
    assert saved[middle].reshape(-1, 3).std(axis=0).min() > 10, "the slide is in the picture too"
    watched.clean()


def test_a_picture_of_a_probability_says_what_its_colours_mean(watched: Watched, result: str) -> None:
    def legend(threshold: int) -> set[tuple[int, ...]]:
        view(watched, result, f"probability=1&threshold={threshold}")
        with watched.page.expect_download() as waiting:
            watched.page.keyboard.press("p")
        saved = np.asarray(Image.open(waiting.value.path()).convert("RGB"))
        return {tuple(pixel) for pixel in saved[38:50, 18:178].reshape(-1, 3).tolist()}

    def color(of: str) -> tuple[int, ...]:
        written = watched.run(f"() => getComputedStyle(document.querySelector('.ramp span:{of}')).backgroundColor")
        return tuple(int(part) for part in written.removeprefix("rgb(").removesuffix(")").split(", "))

    whole = legend(0)
    lowest, highest = color("first-child"), color("last-child")
    assert {lowest, highest} <= whole
    assert not whole & {(200, 0, 0), (0, 200, 0), (0, 0, 200)}, "no class is in the picture"
    part = legend(60)
    assert highest in part
    assert lowest not in part, "nor is what lies below the threshold"
    watched.clean()
