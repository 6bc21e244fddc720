"""Make the pictures of the viewer in this folder: of a real server, in a real browser.

    .venv/bin/python docs/pictures/screenshots.py [--slide SLIDE] [--out FOLDER]

Needs the extra [test] and Chromium. The slide is that of ``make demo`` unless one is given; the model is the bundled
one.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import numpy as np  # noqa: E402
from openslide import OpenSlide  # noqa: E402
from PIL import Image  # noqa: E402

import demo_slide  # noqa: E402
from browser import Watched, browsing, launched  # noqa: E402
from live_server import Served  # noqa: E402
from synthetic import write_slide  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WIDTHS = {1280: (1280, 800), 390: (390, 844)}
_QUALITY = 72
_THUMBNAILS = """() =>
  [...document.querySelectorAll(".slide-card")].every((card) => card.querySelector("img")?.naturalWidth > 0)"""


def main() -> None:
    """Write all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slide", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "slides").mkdir()
        (folder / "models").mkdir()
        found = args.slide or demo_slide.main(folder)
        shutil.copy(found, folder / "slides" / found.name)
        pixels = write_more(found, folder / "slides")
        with Served(folder, "--workers", 1) as server, launched() as browser, server.client() as client:
            done = client.submit(f"slides/{found.name}", probabilities=True)
            assert client.wait(done["id"])["status"] == "successful"
            coarse = client.submit(f"slides/{found.name}", window=128, overlap=0.0)
            assert client.wait(coarse["id"])["status"] == "successful"
            strict = client.submit(f"slides/{found.name}", strict=True)
            client.wait(strict["id"])
            for width in WIDTHS:
                running = client.submit(f"slides/{pixels.name}", window=128, overlap=0.5)
                take_running(browser, server, running["id"], width, args.out)
                take(browser, server, done["id"], width, args.out)
                take_comparison(browser, server, (done["id"], coarse["id"]), width, args.out)
                take_review(browser, server, done["id"], width, args.out)
                client.cancel(running["id"])


def write_more(slide: Path, folder: Path) -> Path:
    """Write a slide of nine copies, which takes a while, and two parts, so that a list has something to show."""
    opened = OpenSlide(slide)
    mpp = float(opened.properties["openslide.mpp-x"])
    pixels = np.asarray(opened.read_region((0, 0), 0, opened.dimensions).convert("RGB"))
    height, width = pixels.shape[:2]
    for name, part in {"upper": pixels[: height // 2], "lower": pixels[height // 2 :, : width // 2]}.items():
        write_slide(folder / f"{name}.tiff", part, mpp=mpp, levels=3, compression="jpeg")
    return write_slide(folder / "nine.tiff", np.tile(pixels, (3, 3, 1)), mpp=mpp, levels=5, compression="jpeg")


def take_running(browser: Browser, server: Served, job: str, width: int, out: Path) -> None:
    """Take the picture of a job that runs, when it has done a third."""
    across, down = WIDTHS[width]
    with browsing(browser, server.url, across, down, color_scheme="light") as watched:
        watched.open(f"view/{job}", "view")
        watched.page.wait_for_selector(".growing[data-status='running']")
        watched.page.wait_for_selector(".legend tr[data-row='1'] td:has-text('mm')")
        bar = watched.page.locator(".growing progress")
        watched.until(lambda: float(bar.get_attribute("value") or 0) >= 35)
        watched.page.wait_for_timeout(1000)
        save(watched, out, "progress", width)


def take(browser: Browser, server: Served, job: str, width: int, out: Path) -> None:
    """Take the pictures of one width."""
    across, down = WIDTHS[width]
    with browsing(browser, server.url, across, down, device_scale_factor=1, color_scheme="light") as watched:
        pages = {"slides": ("slides", "slides"), "jobs": ("jobs", "jobs"), "viewer": (f"view/{job}", "view")}
        for name, (path, ready) in pages.items():
            watched.open(path, ready)
            if ready == "view":
                watched.drawn()
            if ready == "slides":
                watched.until(lambda: bool(watched.run(_THUMBNAILS)))
            watched.page.wait_for_timeout(1500)
            save(watched, out, name, width)


def take_comparison(browser: Browser, server: Served, jobs: tuple[str, str], width: int, out: Path) -> None:
    """Take the pictures of two results, side by side and with the map of where they differ under a curtain."""
    across, down = WIDTHS[width]
    with browsing(browser, server.url, across, down, color_scheme="light") as watched:
        for name, query in {"side-by-side": "", "curtain": "?mode=curtain&differences=on&mask=off"}.items():
            watched.page.goto("about:blank")
            watched.open(f"compare/{jobs[0]}/{jobs[1]}{query}", "compare")
            watched.page.wait_for_selector("[data-compare='share']")
            for side in "AB":
                watched.page.wait_for_selector(f".pane[data-side='{side}'][data-drawn='true']")
            watched.page.wait_for_timeout(1500)
            save(watched, out, name, width)


def take_review(browser: Browser, server: Served, job: str, width: int, out: Path) -> None:
    """Take the picture of a review: outlines accepted, deleted and drawn, and one selected."""
    across, down = WIDTHS[width]
    with browsing(browser, server.url, across, down, color_scheme="light") as watched:
        page = watched.open(f"view/{job}", "view")
        watched.drawn()
        for _ in range(2):
            page.keyboard.press("+")
        watched.drawn()
        page.keyboard.press("e")
        page.wait_for_selector("[data-review='counts']:has-text('on the screen'):not(:has-text('screen 0'))")
        for key in "naxnan":
            page.keyboard.press(key)
        page.wait_for_timeout(1500)
        save(watched, out, "review", width)


def save(watched: Watched, out: Path, name: str, width: int) -> None:
    """Save what is on the screen as JPEG; names of narrow ones end in their width."""
    picture = Image.open(io.BytesIO(watched.page.screenshot())).convert("RGB")
    picture.save(out / f"{name}{'' if width == 1280 else f'-{width}'}.jpg", quality=_QUALITY, optimize=True)


if __name__ == "__main__":
    main()
