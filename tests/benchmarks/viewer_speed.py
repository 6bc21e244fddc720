"""How quick the viewer is, beside a plain page of OpenSeadragon that shows the same slide's DZI.

    python tests/benchmarks/viewer_speed.py PART [--rounds 6] [--steps 20] [--card none] [--folder FOLDER]

PART is one of ``pages`` (first view, and a walk over more than 200 tiles, or none with ``--steps 0``: both pages from
one server take turns in one browser, each time with an empty cache, and draw by the same drawer; each is opened in a
window that has shown a blank page for 3 s, and notes by its own clock when the frame with all tiles was made),
``toggle`` (repaint after a class is switched, in as many fresh browsers as there are rounds), ``memory`` (of the tab's
processes over 4,000 tiles, of the page that ``--page`` names) and ``tiles`` (how long tiles take while jobs saturate
the cores). With ``--card none`` the browser draws as it chooses to where no graphics card is; without, one is emulated
as in the tests, and the whole window is drawn by a Vulkan device that the processor computes. Prints JSON. A folder
that is given keeps the slide and its mask for the next part.
"""

from __future__ import annotations

import argparse
import base64
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser import FLAGS, NO_CARD, Watched, browsing, launched
from live_server import Served
from synthetic import tissue_like, write_model, write_slide
from wsi_segment.service.api.viewing.viewer_files import PATH, viewer_files

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SIDE = 8192
STEPS = 20
"""Moves of a walk, unless other ones are asked for; each brings tiles that were not seen before."""
TILES = 4000
"""Tiles after which memory is to be what it was."""
SETTLE = 3
"""Seconds before a page is opened in its window: the browser loads parts of its own for about one, for any page."""
RATE = 20
"""Tiles a second beside jobs."""
CARDS = {"none": NO_CARD, "emulated": FLAGS}
_NOTING = """
performance.setResourceTimingBufferSize(20000);
new MutationObserver((_, observer) => {
  if (!document.querySelector("html[data-drawn='true'], .pane[data-drawn='true']")) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => performance.mark("first view")));
}).observe(document, {subtree: true, attributes: true, attributeFilter: ["data-drawn"]});
"""
_NOTED = """() => new Promise((done) => {
  const look = () => {
    const [mark] = performance.getEntriesByName("first view");
    if (mark) done(mark.startTime / 1000); else setTimeout(look, 20);
  };
  look();
})"""
_FETCHED = "() => performance.getEntriesByType('resource').map((one) => one.name)"
_PLAIN = """<!doctype html><html><head><meta charset="utf-8"></head><body>
<div id="stage"></div><script src="{osd}"></script><script src="/plain.js"></script></body></html>"""
_PLAIN_CODE = """
const stage = document.getElementById("stage");
Object.assign(stage.style, {position: "absolute", inset: "0"});
const viewer = window.viewer = OpenSeadragon({element: stage, tileSources: "%s", animationTime: 0, blendTime: 0,
  showNavigationControl: false, showNavigator: true, maxZoomPixelRatio: 16, drawer: "%s", maxTilesPerFrame: %d});
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
    """Measure a part, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("pages", "toggle", "memory", "tiles"))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--page", choices=("viewer", "plain"), default="viewer")
    parser.add_argument("--card", choices=CARDS, default="emulated")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch) / "made"
        if not folder.exists():
            make(folder, args.side)
        with Served(folder, "--workers", 1) as server:
            job, slide = finished(server)
            warm(server, slide, job)
            found: Any
            if args.part == "toggle":
                found = [toggling(server, job, CARDS[args.card]) for _ in range(args.rounds)]
            else:
                with launched(CARDS[args.card]) as browser:
                    if args.part == "pages":
                        found = pages(browser, server, slide, job=job, rounds=args.rounds, steps=args.steps)
                    elif args.part == "memory":
                        found = memory(browser, server, None if args.page == "plain" else job, slide, args.side)
                    else:
                        found = beside_jobs(server, slide, args.side)
    print(json.dumps({args.part: found, "side": args.side, "flags": CARDS[args.card]}, indent=1))


def make(folder: Path, side: int) -> None:
    """Write the slide, and a model that costs little."""
    (folder / "slides").mkdir(parents=True)
    part = tissue_like(1400, 1400)[188:1212, 188:1212]
    pixels = np.tile(part, (side // 1024, side // 1024, 1))
    write_slide(folder / "slides" / "large.tiff", pixels, compression="jpeg", levels=6)
    write_model(folder / "models" / "channels")


def finished(server: Served) -> tuple[str, str]:
    """Return a job with a mask of the slide, and the slide's id."""
    with server.client() as client:
        slide = client.find_slide("slides/large.tiff")["id"]
        known = httpx.get(f"{server.url}/v1/jobs?slide={slide}&status=successful").json()["jobs"]
        if known:
            return str(known[0]["id"]), str(slide)
        job = client.submit("slides/large.tiff", model="channels")
        assert client.wait(job["id"])["status"] == "successful"
    return str(job["id"]), str(slide)


def warm(server: Served, slide: str, job: str) -> None:
    """Open slide and mask in the server's processes once, so that neither page pays for it."""
    for path in (f"slides/{slide}/tiles/3/0/0.jpg", f"jobs/{job}/results/tiles/3/0/0.png"):
        for _ in range(4):
            httpx.get(f"{server.url}/v1/{path}", timeout=60).raise_for_status()


def pages(browser: Browser, server: Served, slide: str, *, job: str, rounds: int, steps: int) -> dict[str, Any]:
    """Return how long both pages take for their first view and for a walk."""
    first: dict[str, list[float]] = {"plain": [], "viewer": []}
    walk: dict[str, list[float]] = {"plain": [], "viewer": []}
    cpu: dict[str, list[float]] = {"plain": [], "viewer": []}
    tiles: dict[str, int] = {}
    drawer = ""

    def visit_viewer() -> None:
        nonlocal drawer
        with browsing(browser, server.url, listening=False) as watched:
            settle(watched)
            open_ours(watched, job)
            watched.wait("view")  # an address that changes before would open the page again
            first["viewer"].append(first_view(watched))
            drawer = drawer_of(watched)
            walk["viewer"].append(timed(lambda: walk_over(watched, _GO_OURS, steps)))
            fetched = watched.run(_FETCHED)
            tiles["viewer, of the slide"] = tiles_of(fetched, "/slides/")
            tiles["viewer, of the mask"] = tiles_of(fetched, "/results/tiles/")

    def visit_plain() -> None:
        with plain_page(browser, server, slide, drawer, listening=False) as watched:
            settle(watched)
            open_plain(watched)
            first["plain"].append(first_view(watched))
            walk["plain"].append(timed(lambda: walk_over(watched, _GO_PLAIN, steps)))
            tiles["plain"] = tiles_of(watched.run(_FETCHED), "/slides/")

    for turn in range(rounds):
        visits = [("viewer", visit_viewer), ("plain", visit_plain)]
        for page, visit in visits[:: -1 if turn % 2 else 1]:  # neither always comes after the other's walk
            before = cpu_seconds()
            visit()
            cpu[page].append(round(cpu_seconds() - before, 2))
        print(json.dumps({"first view": first, "walk": walk, "CPU": cpu, "tiles": tiles}), file=sys.stderr, flush=True)
    walked = {"walk, s": medians(walk), "walk, viewer/plain": ratio(walk)} if steps else {}
    return {
        "first view, s": medians(first),
        "first view, viewer/plain": ratio(first),
        **walked,
        "CPU of browser and server, s": medians(cpu),
        "CPU, viewer/plain": ratio(cpu),
        "tiles": tiles,
        "drawer of both": drawer,
    }


def cpu_seconds() -> float:
    """Return the CPU seconds so far of all processes that this one started: browser and server."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def drawer_of(watched: Watched) -> str:
    """Return what the viewer draws with in this browser: it is asked, so that the plain page does the same."""
    base = str(watched.page.get_attribute("script[src$='main.js']", "src"))
    chosen = watched.run(
        "async (url) => (await import(url)).drawers()[0]", base.replace("js/main.js", "js/view/drawers.js")
    )
    return str(chosen)


def tiles_of(requests: list[str], kind: str) -> int:
    """Return how many tiles of a kind a page asked for; one address may stand for several."""
    found = [urlsplit(url) for url in requests if kind in url]
    spans = [parse_qs(url.query) for url in found if url.path.endswith((".jpg", ".png"))]
    return sum(int(span.get("columns", ["1"])[0]) * int(span.get("rows", ["1"])[0]) for span in spans)


def toggling(server: Served, job: str, flags: list[str]) -> dict[str, float]:
    """Return how long it takes until a class that is switched is drawn, over the whole window, in milliseconds.

    In a browser of its own: what one has drawn once, it draws quicker.
    """
    with launched(flags) as browser, browsing(browser, server.url, 1280, 800) as watched:
        open_ours(watched, job)
        watched.wait("view")
        watched.page.wait_for_timeout(3000)  # the other pages are fetched meanwhile
        devtools = watched.page.context.new_cdp_session(watched.page)
        devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
        before = main_thread(devtools)
        times = [float(watched.run(_TOGGLE)) for _ in range(40)]
        print(json.dumps([round(time) for time in times]), file=sys.stderr)
        cpu = 1000 * (main_thread(devtools) - before) / len(times)
    seen = {"median, ms": statistics.median(times), "worst, ms": max(times), "CPU of the page's thread, ms": cpu}
    return {name: round(value, 1) for name, value in seen.items()} | {"times": len(times)}


def main_thread(devtools: Any) -> float:
    """Return the CPU seconds that the tab's main thread has worked."""
    metrics = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"])


def medians(times: dict[str, list[float]]) -> dict[str, float]:
    """Return the medians."""
    return {page: statistics.median(found) for page, found in times.items()}


def ratio(times: dict[str, list[float]]) -> float:
    """Return the ratio of the medians."""
    return round(statistics.median(times["viewer"]) / statistics.median(times["plain"]), 2)


def timed(action: Any) -> float:
    """Return the seconds that something takes."""
    before = time.perf_counter()
    action()
    return round(time.perf_counter() - before, 3)


@contextmanager
def plain_page(
    browser: Browser, server: Served, slide: str, drawer: str, *, tiles_per_frame: int = 1, listening: bool = True
) -> Iterator[Watched]:
    """Return a page that is OpenSeadragon and nothing else, at the server's own address."""
    osd = f"{PATH}/{viewer_files().digest}/vendor/openseadragon/openseadragon.min.js"

    answers = {
        f"{server.url}/plain": ("text/html", _PLAIN.replace("{osd}", osd)),
        f"{server.url}/plain.js": (
            "text/javascript",
            _PLAIN_CODE % (f"/v1/slides/{slide}/slide.dzi", drawer, tiles_per_frame),
        ),
    }
    with browsing(browser, server.url, listening=listening) as watched:
        devtools = watched.page.context.new_cdp_session(watched.page)

        def answer(event: Any) -> None:
            kind, body = answers[event["request"]["url"]]
            headers = [{"name": "Content-Type", "value": kind}]
            content = base64.b64encode(body.encode()).decode()
            devtools.send(
                "Fetch.fulfillRequest",
                {"requestId": event["requestId"], "responseCode": 200, "responseHeaders": headers, "body": content},
            )

        # playwright's own routes would have all requests of this page pass by it, and none of the other page's
        devtools.on("Fetch.requestPaused", answer)
        devtools.send("Fetch.enable", {"patterns": [{"urlPattern": url} for url in answers]})
        yield watched


def open_plain(watched: Watched) -> None:
    """Open the plain page, until its first view is there."""
    watched.page.goto(f"{watched.url}/plain")
    watched.page.wait_for_selector("html[data-drawn='true']", state="attached")


def open_ours(watched: Watched, job: str) -> None:
    """Open the viewer, until slide and mask of its first view are there."""
    watched.page.goto(f"{watched.url}/#/view/{job}")
    watched.page.wait_for_selector(".pane[data-drawn='true']")


def settle(watched: Watched) -> None:
    """Show a blank page for a while; the next one notes when its first view is there."""
    watched.page.add_init_script(_NOTING)
    watched.page.goto("about:blank")
    time.sleep(SETTLE)


def first_view(watched: Watched) -> float:
    """Return the seconds from the start of the navigation until the frame with all tiles was made, by the page's clock.

    A script outside learns of it late: it has to wait for its turn in a page that works on.
    """
    return round(float(watched.run(_NOTED)), 3)


def walk_over(watched: Watched, go: str, steps: int) -> None:
    """Move over the slide at full size, and wait for all tiles after each move."""
    for step in range(steps):
        x = 600 + (step % 10) * 700
        y = 600 + (step // 10) * 600
        watched.run(go, [x, y, 1.0, SIDE])


def memory(browser: Browser, server: Served, job: str | None, slide: str, side: int) -> dict[str, Any]:
    """Return the memory of the tab's processes, in MiB, each time that another 500 tiles were fetched.

    Without a job it is that of the plain page, which is told to ask for as many tiles with each frame as the viewer.
    """
    seen: list[tuple[int, float, float]] = []
    page = browsing(browser, server.url) if job else plain_page(browser, server, slide, "canvas", tiles_per_frame=8)
    with page as watched:
        if job:
            open_ours(watched, job)
            watched.wait("view")
        else:
            open_plain(watched)
        devtools = watched.page.context.new_cdp_session(watched.page)
        whole = browser.new_browser_cdp_session()
        places = [(x, y) for y in range(400, side - 300, 700) for x in range(500, side - 400, 900)]
        for x, y in places * 8:
            watched.run(_GO_OURS if job else _GO_PLAIN, [x, y, 1.0, side])
            fetched = tiles_of(watched.requests, "/tiles/") + tiles_of(watched.requests, "/slide_files/")
            if fetched >= 500 * (len(seen) + 1):
                devtools.send("HeapProfiler.collectGarbage")
                used = devtools.send("Runtime.getHeapUsage")
                heap = used["usedSize"] + used.get("backingStorageSize", 0)
                seen.append((fetched, round(heap / 2**20, 1), processes_of(whole)))
                print(json.dumps(seen[-1]), file=sys.stderr, flush=True)
            if fetched >= TILES:
                break
    return {"tiles, scripts and what they hold, processes of the tab and of drawing": seen}


def processes_of(session: Any) -> float:
    """Return the memory that the tab's and the drawing process have for themselves, in MiB."""
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    own = {"renderer": [0.0], "GPU": [0.0]}
    for process in processes:
        if process["type"] in own:
            own[process["type"]].append(psutil.Process(process["id"]).memory_full_info().uss / 2**20)
    return round(max(own["renderer"]) + max(own["GPU"]), 1)


def beside_jobs(server: Served, slide: str, side: int) -> dict[str, Any]:
    """Return how long 400 tiles take, 20 a second, while jobs of the bundled model saturate the cores."""
    with server.client() as client:
        jobs = [
            client.submit("slides/large.tiff", model="colorectal-biopsy", mpp=0.6 + index / 100)["id"]
            for index in range(4)
        ]
    deadline = time.monotonic() + 120
    while httpx.get(f"{server.url}/v1/jobs/{jobs[0]}").json()["stage"] != "segment":
        assert time.monotonic() < deadline, "the job did not begin"
        time.sleep(0.2)
    took: list[float] = []
    slowest: dict[int, float] = {}
    across = side // 256
    psutil.cpu_percent()
    with httpx.Client(base_url=server.url, timeout=60) as client_of_tiles:

        def fetch(index: int) -> None:
            before = time.perf_counter()
            x, y = index % across, (index // across) % across
            client_of_tiles.get(f"/v1/slides/{slide}/tiles/0/{x}/{y}.jpg").raise_for_status()
            took.append(1000 * (time.perf_counter() - before))
            slowest[index] = round(1000 * (time.perf_counter() - before), 1)

        threads = []
        begun = time.monotonic()
        for index in range(20 * RATE):
            threads.append(threading.Thread(target=fetch, args=(index,)))
            threads[-1].start()
            time.sleep(max(0.0, begun + (index + 1) / RATE - time.monotonic()))
        for thread in threads:
            thread.join()
    busy = psutil.cpu_percent()
    states = [httpx.get(f"{server.url}/v1/jobs/{job}").json()["status"] for job in jobs]
    for job in jobs:
        httpx.delete(f"{server.url}/v1/jobs/{job}")
    return {
        "tiles": len(took),
        "median, ms": round(float(np.percentile(took, 50)), 1),
        "p99, ms": round(float(np.percentile(took, 99)), 1),
        "worst, ms": round(max(took), 1),
        "slowest, by their number": dict(sorted(slowest.items(), key=lambda one: -one[1])[:8]),
        "cores busy, %": busy,
        "jobs at the end": states,
    }


if __name__ == "__main__":
    main()
