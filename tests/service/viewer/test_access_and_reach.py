"""Who may look, and how far the page reaches: keys and sessions, a prefix, small and wide screens, screen readers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

import web
from browser import VIEWER_TOOLS, Watched, browsing, sign_in
from live_server import Served, write_slides
from tools import absent
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.keys import Keys, Scope

if TYPE_CHECKING:
    from playwright.sync_api import Browser

AXE = VIEWER_TOOLS / "axe-core" / "axe.min.js"


def make_key(data: Path, *scopes: Scope) -> str:
    database = Database(data)
    try:
        return Keys(database).create("anna", scopes, None)
    finally:
        database.close()


@pytest.fixture(scope="module")
def below_a_prefix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """A server below ``/wsi`` that asks for keys, and one of them."""
    folder = write_slides(tmp_path_factory.mktemp("prefix"), count=1)
    with Served(folder, "--root-path", "/wsi") as server:
        yield server, make_key(server.data, "read", "write")


def test_a_key_becomes_a_session_and_is_forgotten(browser: Browser, below_a_prefix: tuple[Served, str]) -> None:
    server, key = below_a_prefix
    with browsing(browser, f"{server.url}/wsi") as watched:
        page = watched.open("slides", "sign-in")
        for _ in range(2):
            with page.expect_response("**/v1/session"):
                sign_in(page, "wrong")
            page.wait_for_selector(".sign-in .problem:has-text('unknown')")
            assert "ended" not in page.inner_text("body"), "there was no session yet"
        sign_in(page, key)
        watched.wait("slides")
        page.wait_for_selector("a:has-text('s0.tiff')")
        assert "anna" in page.inner_text(".who")
        kept = watched.run(
            "() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
        )
        assert key not in kept
        assert key not in page.content()
        assert not any(key in url for url in watched.requests)
        assert key not in server.log
        page.click("a:has-text('s0.tiff')")
        watched.wait("slide")
        page.click("button:has-text('Segment this slide')")
        page.select_option("#submit-model", "channels")
        page.click("dialog button[type=submit]")
        watched.wait("job")
        page.wait_for_selector("article[data-status='successful']")
        page.click("a:has-text('View')")
        watched.wait("view")
        watched.drawn()
        page.click("button:has-text('Sign out')")
        watched.wait("sign-in")
        assert page.locator(".pane").count() == 0
        sign_in(page, key)
        watched.wait("view")
        watched.drawn()
        page.click("button:has-text('Sign out')")
        watched.wait("sign-in")
        page.reload()
        watched.wait("sign-in")
        assert all("/wsi/" in url or url.endswith("/wsi") for url in watched.requests if url.startswith("http"))
        watched.clean("401", "status of 401")


def test_the_page_says_whether_it_can_ask_at_once(below_a_prefix: tuple[Served, str], served: Served) -> None:
    """A page that has to ask first who it is shows its result later by an answer of the server."""

    def says(client: httpx.Client, address: str) -> str:
        page = client.get(address, headers={"Accept": "text/html"}).text
        return page.split('data-entered="')[1].split('"')[0]

    server, key = below_a_prefix
    with web.client() as client:
        assert says(client, served.url) == "true", "no key is needed"
        assert says(client, f"{server.url}/wsi/") == "false"
        client.post(f"{server.url}/wsi/v1/session", json={"key": key}).raise_for_status()
        assert says(client, f"{server.url}/wsi/") == "true", "a session is open"
        client.cookies.clear()
        assert says(client, f"{server.url}/wsi/") == "false"


def test_a_session_that_ends_is_said(browser: Browser, below_a_prefix: tuple[Served, str]) -> None:
    server, key = below_a_prefix
    with browsing(browser, f"{server.url}/wsi") as watched:
        page = watched.open("slides", "sign-in")
        sign_in(page, key)
        watched.wait("slides")
        page.context.clear_cookies()
        page.click("text=Jobs")
        watched.wait("sign-in")
        assert "ended" in page.inner_text(".sign-in")
        watched.clean("401")


def test_a_key_is_asked_for_once_though_the_result_was_refused_before(
    browser: Browser, below_a_prefix: tuple[Served, str]
) -> None:
    server, key = below_a_prefix
    with browsing(browser, f"{server.url}/wsi") as watched:
        page = watched.open("slides", "sign-in")
        sign_in(page, key)
        watched.wait("slides")
        page.route("**/v1/**", lambda route: route.fulfill(status=401))  # the session ends while the page comes
        page.goto("about:blank")
        watched.open("view/abcdef", "sign-in")
        assert any(url.endswith("/jobs/abcdef/view") for url in watched.requests)
        page.unroute("**/v1/**")
        sign_in(page, key)
        watched.wait("problem")
        assert page.locator(".sign-in").count() == 0
        watched.clean("401", "422")


def test_readers_are_offered_nothing_that_they_may_not_do(browser: Browser, below_a_prefix: tuple[Served, str]) -> None:
    server, _ = below_a_prefix
    database = Database(server.data)
    key = Keys(database).create("guest", ("read",), None)
    database.close()
    with browsing(browser, f"{server.url}/wsi") as watched:
        page = watched.open("slides", "sign-in")
        sign_in(page, key)
        watched.wait("slides")
        page.wait_for_selector("a:has-text('s0.tiff')")
        assert page.locator("li.slide-card input").count() == 0
        page.click("a:has-text('s0.tiff')")
        watched.wait("slide")
        assert page.locator("button:has-text('Segment')").count() == 0
        watched.clean("401")


def seldom_seen(watched: Watched, gallery: Served, result: str) -> Iterator[str]:
    """Bring a page to what is not seen every day; gives the name of each while it is there."""
    slide = web.get(f"{gallery.url}/v1/slides?search=large").json()["slides"][0]["id"]
    rows = [{"slide": slide, "model": "channels"}] * 2
    with gallery.held(1):
        batch = web.post(f"{gallery.url}/v1/batches", json={"name": "week 12", "jobs": rows}).json()
        job = web.get(f"{gallery.url}/v1/jobs?batch={batch['id']}").json()["jobs"][-1]["id"]
        page = watched.open(f"jobs/{job}", "job")
        page.wait_for_selector("article[data-status='running'] progress")
        yield "a running job"
        watched.open(f"view/{job}", "view")
        page.wait_for_selector(".growing[data-status='running']")
        yield "a growing mask"
        watched.open(f"batches/{batch['id']}", "batch")
        page.wait_for_selector("tr[data-status='running'] progress")
        yield "a batch"
        web.delete(f"{gallery.url}/v1/batches/{batch['id']}").raise_for_status()
        page.wait_for_selector("button:has-text('again')")
    watched.open(f"view/{result}?at=700,900,1", "view")
    watched.drawn()
    start_review(watched)
    at = f"{gallery.url}/v1/jobs/{result}/corrections.geojson"
    before = web.get(at)
    condition = {"If-Match": before.headers["etag"]} if before.is_success else {"If-None-Match": "*"}
    body = {"type": "FeatureCollection", "features": [], "rejected": ["theirs"]}
    web.put(at, json=body, headers=condition).raise_for_status()
    page.keyboard.press("s")
    page.wait_for_selector("dialog h2:has-text('Changed by somebody meanwhile')")
    yield "a review that somebody else has changed"
    page.click("dialog button:has-text('Load theirs') >> nth=-1")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_finding_of_axe(
    browser: Browser, gallery: Served, below_a_prefix: tuple[Served, str], result: str, other_result: str, theme: str
) -> None:
    if not AXE.exists():
        absent("axe-core is not installed; .ci/tools brings it")
    slide = web.get(f"{gallery.url}/v1/slides?search=small").json()["slides"][0]["id"]
    pages = {f"view/{result}": "view", "slides": "slides", f"slide/{slide}": "slide", "jobs": "jobs"}
    pages |= {f"jobs/{result}": "job", "batches": "batches"}
    pages |= {f"view/{result}?at=700,900,1": "view", f"compare/{result}/{other_result}?mode=curtain": "compare"}
    with browsing(browser, gallery.url, color_scheme=theme, bypass_csp=True) as watched:
        for path, ready in pages.items():
            page = watched.open(path, ready)
            if ready in ("view", "compare"):
                watched.run("() => document.querySelectorAll('details.panel').forEach((one) => { one.open = true; })")
            if "at=" in path:
                start_review(watched)
            findings(watched, path)
            if ready == "slide":
                page.keyboard.press("s")
                page.wait_for_selector("dialog[open]")
                page.click("dialog summary")
                findings(watched, "submit")
            elif ready == "jobs":
                page.keyboard.press("?")
                page.wait_for_selector("dialog[open]")
                findings(watched, "keys")
        for name in seldom_seen(watched, gallery, result):
            findings(watched, name)
    with browsing(browser, f"{below_a_prefix[0].url}/wsi", color_scheme=theme, bypass_csp=True) as watched:
        page = watched.open("slides", "sign-in")
        findings(watched, "sign-in")
        sign_in(page, "wrong")
        page.wait_for_selector(".sign-in .problem:has-text('unknown')")
        findings(watched, "sign-in with a wrong key")


def start_review(watched: Watched) -> None:
    """Start to review, with an outline that is selected and another that is accepted."""
    watched.page.keyboard.press("e")
    watched.page.wait_for_selector("[data-review='counts']:has-text('on the screen'):not(:has-text('screen 0'))")
    for key in ("n", "a", "n"):
        watched.page.keyboard.press(key)
    watched.page.wait_for_selector("[data-review='saved']:has-text('saved')")


def findings(watched: Watched, where: str) -> None:
    watched.page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    found = watched.run("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    grave = [
        (one["id"], [node["html"][:200] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert grave == [], f"{where}: {json.dumps(grave, indent=1)}"


@pytest.mark.parametrize("width", [360, 390, 768, 1280, 2560])
def test_pages_fit_screens_of_every_width(
    browser: Browser, gallery: Served, below_a_prefix: tuple[Served, str], result: str, other_result: str, width: int
) -> None:
    with browsing(browser, gallery.url, width=width, height=800) as watched:
        for path, ready in (
            ("slides", "slides"),
            ("jobs", "jobs"),
            (f"view/{result}", "view"),
            (f"jobs/{result}", "job"),
            (f"compare/{result}/{other_result}", "compare"),
        ):
            page = watched.open(path, ready)
            wide = watched.run("() => document.documentElement.scrollWidth")
            assert wide <= width, path
            if ready == "view":
                watched.drawn()
                box = page.locator(".stage").bounding_box()
                assert box is not None
                assert box["width"] >= min(width, 340)
                assert box["height"] >= 300
                page.keyboard.press("e")
                page.wait_for_selector(".pane[data-review='on']")
                assert watched.run("() => document.documentElement.scrollWidth") <= width, "under review"
        for name in seldom_seen(watched, gallery, result):
            assert watched.run("() => document.documentElement.scrollWidth") <= width, name
            for dialog in watched.page.locator("dialog[open]").all():
                box = dialog.bounding_box()
                assert box is not None
                assert box["x"] >= 0, name
                assert box["x"] + box["width"] <= width, name
        watched.clean("412", "partial", "404")
    with browsing(browser, f"{below_a_prefix[0].url}/wsi", width=width, height=800) as watched:
        watched.open("slides", "sign-in")
        assert watched.run("() => document.documentElement.scrollWidth") <= width, "sign-in"
        watched.clean("401")


@pytest.mark.parametrize("width", [360, 1280])
def test_buttons_are_in_reach_while_the_server_is_away(
    browser: Browser, gallery: Served, result: str, width: int
) -> None:
    with browsing(browser, gallery.url, width=width, height=800) as watched:
        page = watched.open(f"view/{result}", "view")
        watched.drawn()
        page.context.set_offline(True)
        page.locator("#connection").wait_for()
        covered = watched.run(
            "() => [...document.querySelectorAll('.toolbar button')].filter((one) => {"
            " const box = one.getBoundingClientRect();"
            " const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);"
            " return !one.contains(top); }).map((one) => one.title)"
        )
        assert page.locator(".toolbar button").count() >= 3
        assert covered == []
        page.context.set_offline(False)
        page.locator("#connection").wait_for(state="hidden")
        watched.clean("ERR_INTERNET_DISCONNECTED", "failed to load")  # tiles that were on their way


def test_what_the_dialog_asks_for_is_all_that_a_job_can_have(browser: Browser, gallery: Served) -> None:
    """A parameter that is added to jobs later has to be added to the dialog, or named among the others."""
    document = web.get(f"{gallery.url}/openapi.json").json()
    fields = set(document["components"]["schemas"]["JobRequest"]["properties"])
    with browsing(browser, gallery.url) as watched:
        watched.open("slides", "slides")
        asked = watched.run(
            "async (url) => { const { FIELDS, OTHER_FIELDS } = await import(url);"
            " return [...FIELDS.map((one) => one.name), ...OTHER_FIELDS]; }",
            watched.module("submit/fields.js"),
        )
    assert fields == set(asked)
