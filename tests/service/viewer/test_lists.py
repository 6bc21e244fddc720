"""Lists of jobs in a real browser, while their jobs change, and where there are very many of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import web
from browser import Watched, browsing, chromium
from live_server import Served, job_body, write_slides
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.job_table import Jobs, NewJob
from wsi_segment.service.jobs.queue import Queue

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route


class Table:
    """The job table of a server without workers, which a test fills and brings on as it likes."""

    def __init__(self, server: Served, database: Database) -> None:
        with server.client() as client:
            self.first: str = web.post(f"{server.url}/v1/jobs", json=job_body(client)).json()["id"]
        self.url, self.queue, self._jobs = server.url, Queue(database, "tests"), Jobs(database)
        like = self._jobs.get(self.first)
        assert like is not None
        self._new = NewJob(like.slide, like.parameters, inputs=like.inputs)

    def accept(self, count: int) -> list[str]:
        """Put more jobs into it, the newest last."""
        return [job.id for job in self._jobs.accept([self._new] * count).jobs]


@contextmanager
def without_workers(folder: Path) -> Iterator[Table]:
    with Served(write_slides(folder), "--workers", 0) as server:
        database = Database(server.data)
        try:
            yield Table(server, database)
        finally:
            database.close()


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    """A job table with one job."""
    chromium()
    with without_workers(tmp_path) as made:
        yield made


def focused(watched: Watched) -> str:
    """What has the focus: the job of its row, and its name."""
    found: str = watched.run(
        "() => { const one = document.activeElement;"
        " return `${one.closest('tr')?.dataset.job} ${one.getAttribute('aria-label')}`; }"
    )
    return found


def test_a_button_keeps_the_focus_while_its_job_goes_on(browser: Browser, table: Table) -> None:
    with browsing(browser, table.url) as watched:
        page = watched.open("jobs", "jobs")
        here = f"tr[data-job='{table.first}']"
        page.focus(f"{here} button:has-text('Cancel')")
        kept = f"{table.first} Cancel s0.tiff"
        assert focused(watched) == kept
        job = table.queue.claim()
        assert job is not None
        page.wait_for_selector(f"{here}[data-status='running']")
        assert focused(watched) == kept, "the job has begun"
        watched.run("() => { document.activeElement.dataset.same = 'true'; }")
        for done in range(1, 4):
            table.queue.progress(job, "segment", done, 9)
            page.wait_for_selector(f"{here}:has-text('{done} of 9 windows')")
        table.accept(2)
        page.wait_for_selector("tbody tr >> nth=2")
        assert focused(watched) == kept
        assert page.locator(f"{here} button[data-same='true']").count() == 1, "it is the very same button"
        table.queue.end(job, "successful")
        page.wait_for_selector(f"{here}[data-status='successful']")
        assert focused(watched).startswith(table.first), "what is left of the row has it"
        watched.clean()


@pytest.mark.parametrize("place", ["jobs/{job}", "view/{job}"])
def test_the_button_of_a_job_alone_keeps_the_focus_too(browser: Browser, table: Table, place: str) -> None:
    with browsing(browser, table.url) as watched:
        page = watched.open(place.format(job=table.first), place.partition("/")[0].replace("jobs", "job"))
        page.focus("button[aria-label='Cancel s0.tiff']")
        job = table.queue.claim()
        assert job is not None
        page.wait_for_selector("[data-status='running']")
        table.queue.progress(job, "segment", 2, 9)
        page.wait_for_selector("*:has-text('2 of 9 windows')")
        assert focused(watched).endswith(" Cancel s0.tiff")
        watched.clean("partial", "404")


def test_a_row_that_goes_leaves_the_focus_to_the_next(browser: Browser, table: Table) -> None:
    (newest,) = table.accept(1)
    with browsing(browser, table.url) as watched:
        page = watched.open("jobs?status=accepted", "jobs")
        page.wait_for_selector("tbody tr >> nth=1")
        page.focus(f"tr[data-job='{table.first}'] button")
        job = table.queue.claim()
        assert job is not None
        assert job.id == table.first
        page.wait_for_selector(f"tr[data-job='{table.first}']", state="detached")
        assert focused(watched).startswith(newest)
        watched.clean()


def test_an_older_page_is_turned_to_once(browser: Browser, table: Table) -> None:
    """However often the button is pressed before the answer comes."""
    table.accept(120)
    kept: list[Route] = []
    with browsing(browser, table.url) as watched:
        page = watched.open("jobs", "jobs")
        newest = first_job(page)
        assert page.locator("button:has-text('Older')").count() == 1
        page.route("**/v1/jobs?*", lambda route: kept.append(route))
        page.click("button:has-text('Older')")
        page.click("button:has-text('Older')")
        watched.until(lambda: len(kept) == 2)
        for route in kept:
            route.continue_()
        page.unroute("**/v1/jobs?*")
        watched.until(lambda: first_job(page) != newest)
        watched.frames()
        page.click("button:has-text('Newer')")
        watched.until(lambda: first_job(page) == newest)
        assert page.locator("button:disabled:has-text('Newer')").count() == 1
        page.keyboard.press("Tab")
        page.focus("button:has-text('Older')")
        for _ in range(2):
            before = first_job(page)
            page.keyboard.press("Enter")
            watched.until(lambda before=before: first_job(page) != before)  # type: ignore[misc]
        assert page.locator("button:focus:has-text('Newer')").count() == 1, "there is nothing older"
        watched.clean()


def first_job(page: Page) -> str:
    return page.get_attribute("tbody tr >> nth=0", "data-job") or ""


def test_what_never_is_quiet_is_looked_at_now_and_then(browser: Browser, gallery: Served) -> None:
    with browsing(browser, gallery.url) as watched:
        watched.open("slides", "slides")
        called = watched.run(
            "async (url) => { const { debounced } = await import(url); let called = 0;"
            " const look = debounced(60_000, () => { called += 1; }, 100);"
            " for (let i = 0; i < 40; i += 1) { look(); await new Promise((done) => setTimeout(done, 20)); }"
            " look.cancel(); return called; }",
            watched.module("lib/disposal.js"),
        )
        assert 1 <= called <= 8


def test_a_list_of_very_many_jobs_stays_quick(browser: Browser, tmp_path: Path) -> None:
    """Quick means: like a list of few; what a browser has to do for it does not depend on how many there are."""
    chromium()
    with without_workers(tmp_path) as table, browsing(browser, table.url) as watched:

        def opened(path: str) -> float:
            watched.page.goto("about:blank")
            begun = time.monotonic()
            watched.open(path, "jobs")
            return time.monotonic() - begun

        table.accept(99)
        few = min(opened("jobs") for _ in range(3))
        for _ in range(99):
            table.accept(100)
        many = min(opened("jobs") for _ in range(3))
        page = watched.page
        assert page.locator("tbody tr").count() == 50
        begun = time.monotonic()
        for _ in range(5):
            before = first_job(page)
            page.click("button:has-text('Older')")
            watched.until(lambda before=before: first_job(page) != before)  # type: ignore[misc]
        turned = (time.monotonic() - begun) / 5
        begun = time.monotonic()
        page.click("tbody tr >> nth=0 >> button:has-text('Cancel')")
        page.wait_for_selector("tbody tr[data-status='dismissed']")
        cancelled = time.monotonic() - begun
        print(f"{few:.2f} s of 100, {many:.2f} s of 10,000; a page {turned:.2f} s, to cancel {cancelled:.2f} s")
        assert many < 3 * few + 1
        assert turned < few + 1
        watched.clean()
