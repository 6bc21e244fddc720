"""What comes late, or not at all, in a real browser: answers for a page that was left, and answers that are lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
