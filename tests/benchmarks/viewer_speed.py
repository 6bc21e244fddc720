"""How quick the viewer is, beside a plain page of OpenSeadragon that shows the same slide's DZI.

    python tests/benchmarks/viewer_speed.py [--rounds 5]

Both pages come from one server and take turns in one browser, each time with an empty cache. Prints JSON: the medians
of the first view and of a walk over the slide at full size, the repaint after a class is switched, the tab's memory
after a long walk, and how long tiles take while a job saturates the cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser import FLAGS, Watched, browsing, launched
from live_server import Served
from synthetic import tissue_like, write_model, write_slide
from wsi_segment.service.api.viewing.viewer_files import PATH, viewer_files

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

SIDE = 8192
STEPS = 25
"""Moves of a walk; each brings about a column of tiles that were not seen before."""
_PLAIN = """<!doctype html><html><head><meta charset="utf-8"></head><body>
<div id="stage"></div><script src="{osd}"></script><script src="/plain.js"></script></body></html>"""
_PLAIN_CODE = """
const stage = document.getElementById("stage");
Object.assign(stage.style, {position: "absolute", inset: "0"});
const viewer = window.viewer = OpenSeadragon({element: stage, tileSources: "%s", animationTime: 0, blendTime: 0,
  showNavigationControl: false, showNavigator: true, maxZoomPixelRatio: 16});
viewer.addHandler("open", () => {
  const image = viewer.world.getItemAt(0);
  const note = () => { document.documentElement.dataset.drawn = String(image.getFullyLoaded()); };
  image.addHandler("fully-loaded-change", note);
  note();
});
"""
_GO_PLAIN = """([x, y, scale, width]) => {
  const {viewport} = window.viewer;
  document.documentElement.dataset.drawn = "false";
  viewport.zoomTo(width / (scale * viewport.getContainerSize().x), undefined, true);
  viewport.panTo(new OpenSeadragon.Point(x / width, y / width), true);
  window.viewer.forceRedraw();
  return new Promise((done) => {
    const look = () => (window.viewer.world.getItemAt(0).getFullyLoaded() ? done() : requestAnimationFrame(look));
    requestAnimationFrame(() => requestAnimationFrame(look));
  });
}"""
_GO_OURS = """([x, y, scale]) => {
  const pane = document.querySelector(".pane");
  const [path] = location.hash.split("?");
  location.hash = `${path}?at=${x},${y},${scale}`;
  return new Promise((done) => {
    const look = () => (pane.dataset.drawn === "true" ? done() : requestAnimationFrame(look));
    requestAnimationFrame(() => requestAnimationFrame(look));
  });
}"""
_TOGGLE = """() => new Promise((done) => {
  const before = performance.now();
  document.querySelector(".legend [data-class='1']").click();
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - before)));
})"""


def main() -> None:
    """Measure, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "slides").mkdir()
        part = tissue_like(1400, 1400)[188:1212, 188:1212]
        pixels = np.tile(part, (SIDE // 1024, SIDE // 1024, 1))
        write_slide(folder / "slides" / "large.tiff", pixels, compression="jpeg", levels=6)
        write_model(folder / "models" / "channels")
        with Served(folder) as server, launched() as browser:
            with server.client() as client:
                job = client.submit("slides/large.tiff", model="channels")
                assert client.wait(job["id"])["status"] == "successful"
                slide = client.find_slide("slides/large.tiff")["id"]
            warm(server, slide, job["id"])
            print(json.dumps(measure(browser, server, slide, job["id"], rounds), indent=1))


def warm(server: Served, slide: str, job: str) -> None:
    """Open slide and mask in the server's processes once, so that neither page pays for it."""
    for path in (f"slides/{slide}/tiles/3/0/0.jpg", f"jobs/{job}/results/tiles/3/0/0.png"):
        for _ in range(4):
            httpx.get(f"{server.url}/v1/{path}", timeout=60).raise_for_status()


def measure(browser: Browser, server: Served, slide: str, job: str, rounds: int) -> dict[str, Any]:
    """Return all figures."""
    first: dict[str, list[float]] = {"plain": [], "viewer": []}
    walk: dict[str, list[float]] = {"plain": [], "viewer": []}
    for _ in range(rounds):
        with plain_page(browser, server, slide) as watched:
            first["plain"].append(timed(lambda: open_plain(watched)))
            walk["plain"].append(timed(lambda: walk_over(watched, _GO_PLAIN)))
        with browsing(browser, server.url) as watched:
            first["viewer"].append(timed(lambda: open_ours(watched, job)))
            walk["viewer"].append(timed(lambda: walk_over(watched, _GO_OURS)))
        print(json.dumps({"first view": first, "walk": walk}), file=sys.stderr, flush=True)
    with browsing(browser, server.url) as watched:
        open_ours(watched, job)
        toggles = [float(watched.run(_TOGGLE)) for _ in range(20)]
        print(json.dumps({"toggles, ms": toggles}), file=sys.stderr, flush=True)
        memory = tab_memory(watched)
        print(json.dumps({"memory, MB": memory}), file=sys.stderr, flush=True)
    medians = {
        name: {page: statistics.median(times) for page, times in found.items()}
        for name, found in {"first view, s": first, "walk, s": walk}.items()
    }
    return {
        **medians,
        "first view, viewer/plain": ratio(first),
        "walk, viewer/plain": ratio(walk),
        "toggle, ms, median and worst": [statistics.median(toggles), max(toggles)],
        "memory, MB, after each of four walks over the same 300 tiles and more": memory,
        "tiles beside a job, ms, median and p99 at 20 tiles/s": beside_a_job(server, slide),
        "flags": FLAGS,
    }


def ratio(times: dict[str, list[float]]) -> float:
    """Return the ratio of the medians."""
    return round(statistics.median(times["viewer"]) / statistics.median(times["plain"]), 2)


def timed(action: Any) -> float:
    """Return the seconds that something takes."""
    before = time.perf_counter()
    action()
    return round(time.perf_counter() - before, 3)


def plain_page(browser: Browser, server: Served, slide: str) -> Any:
    """Return a page that is OpenSeadragon and nothing else, at the server's own address."""
    manager = browsing(browser, server.url)

    class Plain:
        def __enter__(self) -> Watched:
            watched = manager.__enter__()
            osd = f"{PATH}/{viewer_files().digest}/vendor/openseadragon/openseadragon.min.js"

            def page(route: Route) -> None:
                route.fulfill(body=_PLAIN.replace("{osd}", osd), content_type="text/html")

            def code(route: Route) -> None:
                body = _PLAIN_CODE % f"/v1/slides/{slide}/slide.dzi"
                route.fulfill(body=body, content_type="text/javascript")

            watched.page.route(f"{server.url}/plain", page)
            watched.page.route(f"{server.url}/plain.js", code)
            return watched

        def __exit__(self, *exception: Any) -> None:
            manager.__exit__(*exception)

    return Plain()


def open_plain(watched: Watched) -> None:
    """Open the plain page, until its first view is there."""
    watched.page.goto(f"{watched.url}/plain")
    watched.page.wait_for_selector("html[data-drawn='true']", state="attached")


def open_ours(watched: Watched, job: str) -> None:
    """Open the viewer, until slide and mask of its first view are there."""
    watched.page.goto(f"{watched.url}/#/view/{job}")
    watched.page.wait_for_selector(".pane[data-drawn='true']")


def walk_over(watched: Watched, go: str) -> None:
    """Move over the slide at full size, and wait for all tiles after each move."""
    for step in range(STEPS):
        x = 600 + (step % 10) * 700
        y = 600 + (step // 10) * 600
        watched.run(go, [x, y, 1.0, SIDE])


def tab_memory(watched: Watched) -> list[float]:
    """Return the tab's memory of scripts and of what they hold, after each of four long walks."""
    session = watched.page.context.new_cdp_session(watched.page)
    seen = []
    for _ in range(4):
        walk_over(watched, _GO_OURS)
        session.send("HeapProfiler.collectGarbage")
        used = session.send("Runtime.getHeapUsage")
        seen.append(round((used["usedSize"] + used.get("backingStorageSize", 0)) / 1e6, 1))
    return seen


def beside_a_job(server: Served, slide: str) -> list[float]:
    """Return median and 99th percentile of 400 tiles, 20 a second, while a job runs."""
    with server.client() as client:
        job = client.submit("slides/large.tiff", model="colorectal-biopsy")
    deadline = time.monotonic() + 60
    while httpx.get(f"{server.url}/v1/jobs/{job['id']}").json()["stage"] != "segment" and time.monotonic() < deadline:
        time.sleep(0.2)
    took: list[float] = []

    def fetch(index: int) -> None:
        before = time.perf_counter()
        x, y = index % 32, (index // 32) % 32
        httpx.get(f"{server.url}/v1/slides/{slide}/tiles/0/{x}/{y}.jpg", timeout=60).raise_for_status()
        took.append(1000 * (time.perf_counter() - before))

    threads = []
    for index in range(400):
        threads.append(threading.Thread(target=fetch, args=(index,)))
        threads[-1].start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    httpx.delete(f"{server.url}/v1/jobs/{job['id']}")
    return [round(float(np.percentile(took, share)), 1) for share in (50, 99)]


if __name__ == "__main__":
    main()
