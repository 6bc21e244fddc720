"""Below a path prefix, behind real reverse proxies: every address that is given leads back to the same place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

import web
from live_server import Served, write_slides
from reverse_proxies import caddy, nginx, trusting
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.keys import Keys
from wsi_segment.service.settings import is_prefix

Proxy = Callable[[Path, int], AbstractContextManager[tuple[int, Path]]]


@pytest.fixture(scope="module", params=[nginx, caddy])
def proxied(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, str]]:
    """A client that reaches a server below ``/wsi`` through a real proxy with TLS, and the key that it sends."""
    proxy: Proxy = request.param
    folder = write_slides(tmp_path_factory.mktemp("prefixed"))
    database = Database(folder / "data")
    database.migrate()
    token = Keys(database).create("anna", ["read", "write"], None)
    database.close()
    served = Served(folder, "--root-path", "/wsi", "--allowed-host", "lab.example", "--trusted-proxy", "127.0.0.1")
    scratch = tmp_path_factory.mktemp("proxy")
    with served, proxy(scratch, served.port) as (port, certificate):
        transport = _ToLoopback(trusting(certificate))
        with httpx.Client(
            base_url=f"https://lab.example:{port}",
            transport=transport,
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        ) as client:
            yield client, token


class _ToLoopback(httpx.HTTPTransport):
    """Connects to the loopback, whatever the name: no test asks a name server."""

    def __init__(self, trusted: Any) -> None:
        super().__init__(verify=trusted)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = request.url.host
        request.url = request.url.copy_with(host="127.0.0.1")
        return super().handle_request(request)


def links_in(found: Any) -> Iterator[str]:
    """All addresses in a JSON document."""
    if isinstance(found, dict):
        if "href" in found:
            yield found["href"]
        found = list(found.values())
    if isinstance(found, list):
        for part in found:
            yield from links_in(part)


def test_every_link_and_location_leads_back_through_the_proxy(proxied: tuple[httpx.Client, str]) -> None:
    client, _ = proxied
    home = client.get("/wsi/").json()
    assert (home["documentation"], home["slides"]) == ("/wsi/docs", "/wsi/v1/slides")
    slides = client.get(home["slides"]).json()
    posted = client.post("/wsi/v1/jobs", json={"slide": slides["slides"][0]["id"], "model": "channels"})
    at = posted.headers["location"]
    assert at.startswith("/wsi/v1/jobs/")
    with client.stream("GET", f"{at}/events") as events:
        kinds = re.findall(r"event: (\w+)", events.read().decode())
    assert kinds[-1] == "successful"
    rows = [{"slide": "slides/s0.tiff", "model": "channels"}]
    batch = client.post("/wsi/v1/batches", json={"jobs": rows})
    assert batch.headers["location"].startswith("/wsi/v1/batches/")
    client.delete(batch.headers["location"])
    followed = {*links_in(slides), *links_in(client.get(at).json()), *links_in(client.get(f"{at}/results").json())}
    followed |= set(links_in(client.get(batch.headers["location"]).json()))
    assert len(followed) >= 12
    for link in followed:
        assert link.startswith("/wsi/"), link
        assert client.head(link).status_code == 200, link
    redirect = client.get("/wsi/v1/slides/")
    assert redirect.headers["location"] == str(client.base_url.join("/wsi/v1/slides"))


def test_pages_and_tiles_work_below_the_prefix(proxied: tuple[httpx.Client, str]) -> None:
    client, _ = proxied
    page = client.get("/wsi/docs").text
    for part in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert client.get(httpx.URL(f"{client.base_url}/wsi/docs").join(part)).status_code == 200, part
    assert client.get("/wsi/openapi.json").json()["servers"] == [{"url": "/wsi"}]
    slide = client.get("/wsi/v1/slides").json()["slides"][0]
    dzi = next(link["href"] for link in slide["links"] if link["rel"] == "deep-zoom")
    assert 'Width="900"' in client.get(dzi).text
    assert client.get(f"{dzi.removesuffix('.dzi')}_files/10/3_2.jpg").status_code == 200


def test_a_session_of_a_browser_is_for_that_path_and_encrypted(proxied: tuple[httpx.Client, str]) -> None:
    client, token = proxied
    cookie = client.post("/wsi/v1/session", json={"key": token}).headers["set-cookie"]
    assert "Path=/wsi/" in cookie
    assert "Secure" in cookie


def test_a_proxy_that_nobody_named_gives_no_prefix(tmp_path: Path) -> None:
    with Served(write_slides(tmp_path / "plain"), "--workers", 0) as served:
        home = web.get(f"{served.url}/", headers={"X-Forwarded-Prefix": "/evil"}).json()
        assert home["slides"] == "/v1/slides"


@pytest.mark.parametrize("text", ["", "/wsi", "/a/b.c", "/~x/y-z"])
def test_a_prefix_is_a_path(text: str) -> None:
    assert is_prefix(text)


@pytest.mark.parametrize("text", ["wsi", "/", "//evil.example", "/a b", "/v1", "/docs/x", "/a/../b", "/x\r\n", "/é"])
def test_what_is_no_path_or_one_of_the_servers_own_is_no_prefix(text: str) -> None:
    assert not is_prefix(text)
