"""Many tiles at once, as viewers ask for them, and all levels of a Deep Zoom image."""

from __future__ import annotations

import asyncio
import io
import re
import time
from collections import Counter

import httpx
import pytest
from PIL import Image

from live_server import Served, problem


async def statuses(base: str, paths: list[str]) -> Counter[int]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=base, timeout=120, limits=limits) as client:
        answers = await asyncio.gather(*(client.get(path) for path in paths))
    return Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize("count", [30, 100, 300])
def test_tiles_that_come_at_once_are_all_served(served: Served, http: httpx.Client, count: int) -> None:
    slide = http.get("/v1/slides", params={"path": "slides/s0.tiff"}).json()["slides"][0]["id"]
    paths = [f"/v1/slides/{slide}/tiles/{i % 2}/{i % 2}/{i // 2 % 2}.jpg" for i in range(count)]
    assert asyncio.run(statuses(served.url, paths)) == {200: count}


def test_what_needs_no_pixels_does_not_wait_behind_tiles(served: Served, http: httpx.Client) -> None:
    slide = http.get("/v1/slides", params={"path": "slides/s0.tiff"}).json()["slides"][0]["id"]

    async def both() -> tuple[float, bool]:
        tiles = asyncio.create_task(statuses(served.url, [f"/v1/slides/{slide}/tiles/0/0/0.jpg"] * 200))
        await asyncio.sleep(0.1)
        started = time.monotonic()
        async with httpx.AsyncClient(base_url=served.url, timeout=60) as client:
            assert (await client.get("/v1/jobs")).status_code == 200
        listed, all_came = time.monotonic() - started, tiles.done()
        await tiles
        return listed, all_came

    listed, all_came = asyncio.run(both())
    assert listed < 0.5 or not all_came


def test_deep_zoom_has_every_level_from_a_single_pixel_on(http: httpx.Client) -> None:
    (slide,) = http.get("/v1/slides", params={"path": "slides/s0.tiff"}).json()["slides"]
    at = f"/v1/slides/{slide['id']}"
    size = re.search(r'Width="(\d+)" Height="(\d+)"', http.get(f"{at}/slide.dzi").text)
    assert size is not None
    width, height = int(size[1]), int(size[2])
    last = (max(width, height) - 1).bit_length()
    for level in range(last + 1):
        scale = 2 ** (last - level)
        with Image.open(io.BytesIO(http.get(f"{at}/slide_files/{level}/0_0.jpg").content)) as tile:
            assert tile.size == (min(256, -(-width // scale)), min(256, -(-height // scale))), level
    problem(http.get(f"{at}/slide_files/{last + 1}/0_0.jpg"), 404)
    problem(http.get(f"{at}/slide_files/0/1_0.jpg"), 404)
    assert slide["folder"] == ""
