"""How quick a review is where a slide has very many corrections.

    python tests/benchmarks/review_speed.py [--outlines 50000] [--folder FOLDER]

Outlines of 40 corners each are put on a slide as corrections; then they are changed in a browser: with all of them on
the screen, and closer, with a part. Prints JSON: how long it takes until a change is drawn, the longest time that
two frames took while the slide moved, and how long saving takes. A folder that is given keeps the slide.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.viewer_speed import SIDE, finished, make, open_ours
from browser import Watched, browsing, launched
from live_server import Served

CORNERS = 40
CHANGES = 10
PAINTED = ".review-layer[data-complete='true']"
_PRESS = """async (key) => {
  const before = performance.now();
  (document.activeElement ?? document.body).dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  const frame = () => new Promise(requestAnimationFrame);
  await frame();
  await frame();
  const drawn = performance.now() - before;
  while (document.querySelector(".review-layer").dataset.complete === "false") await frame();
  return [drawn, performance.now() - before];
}"""
"""Presses a key; returns the milliseconds until two frames later, and until all outlines are painted."""
_MOVE = """async (key) => {
  let longest = 0;
  const frame = () => new Promise(requestAnimationFrame);
  for (let step = 0; step < 10; step += 1) {
    const before = performance.now();
    (document.activeElement ?? document.body).dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
    await frame();
    await frame();
    longest = Math.max(longest, performance.now() - before);
  }
  const before = performance.now();
  while (document.querySelector(".review-layer").dataset.complete === "false") await frame();
  return [longest, performance.now() - before];
}"""
"""Moves ten times; returns the longest time that two frames took, and how long painting takes from then on."""


def main() -> None:
    """Measure, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outlines", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch) / "made"
        if not folder.exists():
            make(folder, args.side)
        with Served(folder, "--workers", 1) as server:
            job, _ = finished(server)
            sent = send_corrections(server, job, args.outlines, args.side)
            with launched() as browser, browsing(browser, server.url, 1280, 800) as watched:
                found = {"sending them, s": sent, **review(watched, job, args.side)}
    print(json.dumps({"outlines": args.outlines, **found}, indent=1))


def send_corrections(server: Served, job: str, count: int, side: int) -> float:
    """Send that many accepted outlines, in rows over the whole slide; return the seconds it takes."""
    across = math.ceil(math.sqrt(count)) | 1  # an outline lies in the middle, where a click selects it
    step = side / across
    places = [((index % across + 0.5) * step, (index // across + 0.5) * step) for index in range(count)]
    features = [outline(index, x, y, 0.45 * step) for index, (x, y) in enumerate(places)]
    at = f"{server.url}/v1/jobs/{job}/corrections.geojson"
    known = httpx.get(at, timeout=60)
    condition = {"If-Match": known.headers["etag"]} if known.is_success else {"If-None-Match": "*"}
    before = time.perf_counter()
    body = {"type": "FeatureCollection", "features": features}
    httpx.put(at, json=body, headers=condition, timeout=120).raise_for_status()
    return round(time.perf_counter() - before, 2)


def outline(index: int, x: float, y: float, radius: float) -> dict[str, Any]:
    """Return an outline with as many corners as those of nuclei have."""
    turns = [2 * math.pi * corner / CORNERS for corner in range(CORNERS)]
    ring = [[round(x + radius * math.cos(turn), 2), round(y + radius * math.sin(turn), 2)] for turn in turns]
    properties = {"classification": {"name": "red"}, "metadata": {"review": "accepted"}}
    geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    return {"type": "Feature", "id": f"made-{index}", "geometry": geometry, "properties": properties}


def review(watched: Watched, job: str, side: int) -> dict[str, Any]:
    """Return what was seen with all outlines on the screen, closer, and when saving."""
    page = watched.page
    open_ours(watched, job)
    watched.wait("view")
    found: dict[str, Any] = {}
    before = time.perf_counter()
    page.keyboard.press("e")
    page.wait_for_selector(PAINTED, state="attached")
    found["begin the review, until all is painted, s"] = round(time.perf_counter() - before, 2)
    for name, scale in {"all": None, "scale 4": 4.0, "scale 2": 2.0}.items():
        if scale is not None:
            watched.turn_to(f"#/view/{job}?at={side / 2},{side / 2},{scale}")
            watched.frames()
            page.wait_for_selector(PAINTED, state="attached")
        changes = [change(watched, str(1 + index % 3)) for index in range(CHANGES)]
        found[name] = {
            "a change drawn, ms": middle_and_worst([one[0] for one in changes]),
            "all painted after a change, ms": middle_and_worst([one[1] for one in changes]),
        }
        moved = watched.run(_MOVE, "ArrowRight")
        print(json.dumps(found), file=sys.stderr, flush=True)
        found[name] |= {"longest of ten moves, ms": round(moved[0]), "painted after moving, ms": round(moved[1])}
    before = time.perf_counter()
    page.keyboard.press("s")
    page.wait_for_selector("[data-review='saved']:has-text('Version'):not(:has-text('changed since'))")
    found["save, s"] = round(time.perf_counter() - before, 2)
    return found


def change(watched: Watched, key: str) -> list[float]:
    """Select the outline in the middle and give it another class."""
    box = watched.page.locator(".stage").bounding_box()
    assert box is not None
    watched.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    watched.page.wait_for_selector("[data-review='selected']:has-text('mm²'), [data-review='selected']:has-text('µm²')")
    return list(watched.run(_PRESS, key))


def middle_and_worst(times: list[float]) -> dict[str, int]:
    """Return median and maximum."""
    return {"median": round(statistics.median(times)), "worst": round(max(times))}


if __name__ == "__main__":
    main()
