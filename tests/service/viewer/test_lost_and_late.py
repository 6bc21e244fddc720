"""What comes late, or not at all, in a real browser: answers for a page that was left, and answers that are lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import web
from browser import Watched, browsing
from live_server import Served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route


def kept_back(page: Page, path: str) -> list[Route]:
    """Keep requests back from now on; gives those that came."""
    kept: list[Route] = []

    def keep(route: Route) -> None:
        kept.append(route)

    page.route(path, keep)
    return kept


def let_go(watched: Watched, route: Route) -> None:
    """Let a request have its answer, and the page the time to do something with it."""
    with watched.page.expect_response(route.request.url) as answer:
        route.continue_()
    answer.value.finished()
    watched.frames()


def lost_once(page: Page, path: str) -> list[str]:
    """Have the first request from now on get no answer; gives the addresses of all."""
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.abort()
        else:
            route.continue_()

    page.route(path, answer)
    return asked


def test_a_page_that_comes_late_leaves_the_next_one_alone(watched: Watched, result: str, other_result: str) -> None:
    page = watched.open("slides", "slides")
    pages = {f"#/view/{result}": f"**/{result}/view", f"#/compare/{result}/{other_result}": f"**/{other_result}/view"}
    for address, path in pages.items():
        kept = kept_back(page, path)
        watched.turn_to(address)
        watched.until(lambda kept=kept: len(kept) == 1)  # type: ignore[misc]
        page.click("text=Jobs")
        watched.wait("jobs")
        let_go(watched, kept[0])
        assert page.locator(".pane").count() == 0
        assert page.inner_text("h1") == "Jobs"
        assert page.url.endswith("#/jobs")
        page.unroute(path)
    watched.clean()


def test_a_review_that_comes_late_gets_no_keys(browser: Browser, gallery: Served, result: str) -> None:
    with browsing(browser, gallery.url) as watched:
        page = watched.open(f"view/{result}", "view")
        watched.drawn()
        kept = kept_back(page, "**/versions")
        page.keyboard.press("e")
        watched.until(lambda: len(kept) == 1)
        page.click("text=Jobs")
        watched.wait("jobs")
        let_go(watched, kept[0])
        page.keyboard.press("?")
        assert "review" not in page.inner_text("dialog[open]")
        watched.clean("404")


def test_a_list_that_cannot_be_shown_follows_nothing(watched: Watched) -> None:
    ended: list[str] = []
    watched.page.on("requestfailed", lambda request: ended.append(request.url))
    watched.page.route("**/v1/jobs?*", lambda route: route.fulfill(status=500))
    watched.open("jobs", "problem")
    watched.until(lambda: any(url.endswith("/v1/events") for url in ended))
    watched.clean("500")


def test_a_job_whose_first_answer_is_lost_is_shown_all_the_same(watched: Watched, result: str) -> None:
    asked = lost_once(watched.page, f"**/v1/jobs/{result}")
    page = watched.open(f"jobs/{result}", "job")
    page.wait_for_selector("article[data-status='successful']")
    assert len(asked) == 2
    watched.clean("ERR_FAILED")


def test_a_result_whose_first_answer_is_lost_when_it_is_done_is_completed(watched: Watched, gallery: Served) -> None:
    with gallery.held(1) as let, gallery.client() as client:
        job = client.submit("slides/large.tiff", model="channels")["id"]
        page = watched.open(f"view/{job}", "view")
        let(3)
        page.wait_for_selector(".legend tr[data-row='1'] td:has-text('mm²')")  # what there is of it is known
        asked = lost_once(page, f"**/v1/jobs/{job}/view")
    page.wait_for_selector(".growing", state="detached")
    assert len(asked) == 2
    page.wait_for_selector("[data-panel='outlines']:visible")
    page.wait_for_selector("[data-panel='downloads']:visible")
    watched.drawn()
    watched.clean("ERR_FAILED", f"{job}/partial")


def test_a_search_that_is_lost_is_done_when_the_server_is_back(watched: Watched) -> None:
    page = watched.open("slides", "slides")
    page.wait_for_selector("li.slide-card >> nth=1")
    page.context.set_offline(True)
    with page.expect_event("requestfailed", lambda request: "search=LARGE" in request.url):
        page.fill("#search", "LARGE")
    page.wait_for_selector("#connection:not([hidden])")
    page.context.set_offline(False)
    page.wait_for_selector("li.slide-card:only-child")
    watched.clean("ERR_INTERNET_DISCONNECTED")


def test_a_compared_result_that_was_removed_is_said(watched: Watched, gallery: Served) -> None:
    regions = [[1000, 1000, 2000, 2000], [1000, 1000, 2000, 1900]]
    with gallery.client() as client:
        jobs = [client.submit("slides/large.tiff", model="channels", region=region)["id"] for region in regions]
        for job in jobs:
            assert client.wait(job)["status"] == "successful"
    page = watched.open(f"compare/{jobs[0]}/{jobs[1]}?at=1500,1500,4", "compare")
    for side in "AB":
        page.wait_for_selector(f".pane[data-side='{side}'][data-drawn='true']")
    web.delete(f"{gallery.url}/v1/jobs/{jobs[1]}/results").raise_for_status()
    for _ in range(5):
        page.keyboard.press("+")

    def goes_on_and_hears_of_it() -> bool:
        page.keyboard.press("ArrowRight")
        return page.locator(f".notice.error:has-text('{jobs[1]}'):has-text('removed')").count() > 0

    watched.until(goes_on_and_hears_of_it)
    watched.clean("404")
