"""Sessions of browsers, signed addresses, owners of keys, and the record of who changed what."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import zarr

import web
from live_server import Served, problem, write_slides
from wsi_segment.service.api.access.signed_links import SignedLinks
from wsi_segment.service.cli.main import main
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.keys import Keys, Scope

KEYS: dict[str, tuple[str, tuple[Scope, ...]]] = {
    "boss": ("boss", ("read", "write")),
    "anna": ("anna", ("read-own", "write-own")),
    "anna-laptop": ("anna", ("read-own", "write-own")),
    "ben": ("ben", ("read", "write-own")),
    "short": ("short", ("read", "write")),
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, str]]]:
    """A server with keys of three owners, and the keys by their names."""
    folder = write_slides(tmp_path_factory.mktemp("lab"))
    database = Database(folder / "data")
    database.migrate()
    keys = Keys(database)
    tokens = {name: keys.create(name, scopes, None, owner) for name, (owner, scopes) in KEYS.items()}
    database.close()
    with Served(folder, "--workers", 1) as served:
        yield served, tokens


def client_of(lab: tuple[Served, dict[str, str]], name: str) -> httpx.Client:
    served, tokens = lab
    return web.client(base_url=served.url, headers={"Authorization": f"Bearer {tokens[name]}"})


@pytest.fixture(scope="module")
def jobs(lab: tuple[Served, dict[str, str]]) -> dict[str, str]:
    """A finished job of each of three people."""
    posted = {}
    for name in ("boss", "anna", "ben"):
        with lab[0].client(lab[1][name]) as client:
            job = client.submit("slides/s0.tiff", model="channels")
            assert client.wait(job["id"])["status"] == "successful"
            posted[name] = str(job["id"])
    return posted


@contextmanager
def signed_in(lab: tuple[Served, dict[str, str]], name: str) -> Iterator[tuple[httpx.Client, str]]:
    """A browser with the session of a key, and its token against forgery."""
    with web.client(base_url=lab[0].url) as browser:
        answer = browser.post("/v1/session", json={"key": lab[1][name]})
        assert answer.status_code == 200
        yield browser, answer.json()["csrf_token"]


def test_a_key_becomes_a_cookie_that_no_script_and_no_other_site_can_use(lab: tuple[Served, dict[str, str]]) -> None:
    served, tokens = lab
    answer = web.post(f"{served.url}/v1/session", json={"key": tokens["boss"]})
    (cookie,) = answer.headers.get_list("set-cookie")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert answer.headers["cache-control"] == "no-store"
    assert tokens["boss"] not in cookie + answer.text
    problem(web.post(f"{served.url}/v1/session", json={"key": "nonsense"}), 401)
    assert tokens["boss"] not in served.log


def test_a_session_reads_and_writes_only_with_its_token(lab: tuple[Served, dict[str, str]]) -> None:
    with signed_in(lab, "boss") as (browser, csrf):
        slide = browser.get("/v1/slides").json()["slides"][0]["id"]
        wanted = {"slide": slide, "model": "channels"}
        for headers in ({}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": csrf, "Origin": "http://evil.example"}):
            assert browser.post("/v1/jobs", json=wanted, headers=headers).status_code == 403
        who = browser.get("/v1/session").json()
        assert (who["signed_in"], who["name"], who["csrf_token"]) == (True, "boss", csrf)
        posted = browser.post("/v1/jobs", json=wanted, headers={"X-CSRF-Token": csrf})
        assert posted.status_code == 201
        browser.delete(posted.headers["location"], headers={"X-CSRF-Token": csrf})


def test_signing_out_and_revoking_end_a_session_at_once(lab: tuple[Served, dict[str, str]]) -> None:
    with signed_in(lab, "short") as (browser, _), signed_in(lab, "short") as (other, _):
        kept = dict(browser.cookies)
        assert browser.delete("/v1/session").status_code == 204
        assert not browser.cookies
        assert web.get(f"{lab[0].url}/v1/slides", cookies=kept).status_code == 401
        assert other.get("/v1/slides").status_code == 200
        database = Database(lab[0].data)
        Keys(database).revoke("short")
        database.close()
        assert other.get("/v1/slides").status_code == 401
        assert other.get("/v1/session").json()["signed_in"] is False


def test_a_server_without_keys_says_that_it_needs_none(http: httpx.Client) -> None:
    assert http.get("/v1/session").json() | {"scopes": []} == {
        "key_needed": False, "signed_in": True, "name": "", "owner": "", "scopes": [], "csrf_token": "",
    }  # fmt: skip


def test_a_signed_address_opens_one_thing_for_everybody_and_nothing_else(
    lab: tuple[Served, dict[str, str]], jobs: dict[str, str]
) -> None:
    with client_of(lab, "anna") as anna:
        made = anna.post("/v1/links", json={"kind": "results", "id": jobs["anna"], "seconds": 60}).json()
        problem(anna.post("/v1/links", json={"kind": "results", "id": jobs["boss"]}), 404)
        slide = anna.get("/v1/slides").json()["slides"][0]["id"]
        shown = anna.post("/v1/links", json={"kind": "slide", "id": slide}).json()
    with web.client(base_url=lab[0].url, headers={"Origin": "https://viewer.example"}) as stranger:
        for link in made["links"] + shown["links"]:
            if link["rel"] != "mask":
                answer = stranger.get(link["href"])
                assert answer.status_code == 200, link
                assert answer.headers["access-control-allow-origin"] == "*"
                assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        links = {link["rel"]: link["href"] for link in shown["links"]}
        tiles = links["deep-zoom"].removesuffix(".dzi")
        assert stranger.get(f"{tiles}_files/10/0_0.jpg").status_code == 200
        before = links["self"].partition("/v1/")[0]
        for path in ("/v1/slides", "/v1/jobs", f"/v1/slides/{slide}x", f"/v1/jobs/{jobs['anna']}/results"):
            problem(stranger.get(before + path), 403)
        problem(stranger.delete(links["self"]), 403)
        problem(stranger.get(links["self"].replace(before[-4:], "AAAA")), 403)
    mask = next(link["href"] for link in made["links"] if link["rel"] == "mask")
    assert "labels/segmentation/0" in zarr.open_group(lab[0].url + mask, mode="r")


def test_a_signed_address_expires_and_ends_with_its_key() -> None:
    links = SignedLinks(b"secret")
    before, grant = links.sign("/v1/slides/a", "anna", 10)
    assert links.split(f"{before}/v1/slides/a/thumbnail") == (before, "/v1/slides/a/thumbnail", grant)
    assert grant.opens("/v1/slides/a/thumbnail", time.time())
    assert not grant.opens("/v1/slides/ab", time.time())
    assert not grant.opens("/v1/slides/a", time.time() + 10)
    assert SignedLinks(b"other").split(f"{before}/v1/slides/a") is None
    for text in ("/signed/", "/signed/a/b", "/signed/a.b/c", "/signed/é.ü/c", f"{before}"):
        assert links.split(text) is None


def test_own_scopes_show_and_change_own_jobs_alone(lab: tuple[Served, dict[str, str]], jobs: dict[str, str]) -> None:
    with client_of(lab, "anna-laptop") as anna, client_of(lab, "ben") as ben, client_of(lab, "boss") as boss:
        assert [job["id"] for job in anna.get("/v1/jobs").json()["jobs"]] == [jobs["anna"]]
        assert anna.get(f"/v1/jobs/{jobs['anna']}/results/summary.json").status_code == 200
        for path in ("", "/results", "/results/summary.json", "/results/tiles/0/0/0.png", "/events"):
            problem(anna.get(f"/v1/jobs/{jobs['ben']}{path}"), 404)
        assert {job["id"] for job in ben.get("/v1/jobs").json()["jobs"]} >= set(jobs.values())
        assert ben.get(f"/v1/jobs/{jobs['anna']}").status_code == 200
        for method, path in (("DELETE", ""), ("POST", "/retry"), ("DELETE", "/results")):
            problem(ben.request(method, f"/v1/jobs/{jobs['anna']}{path}"), 403)
        batch = ben.post("/v1/batches", json={"jobs": [{"slide": "slides/s0.tiff", "model": "channels"}]}).json()["id"]
        problem(anna.get(f"/v1/batches/{batch}"), 404)
        problem(anna.delete(f"/v1/batches/{batch}"), 404)
        assert anna.get("/v1/batches").json()["batches"] == []
        assert ben.delete(f"/v1/batches/{batch}").status_code == 200
        assert boss.delete(f"/v1/batches/{batch}").status_code == 200


def test_who_changed_what_is_recorded(
    lab: tuple[Served, dict[str, str]], jobs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with client_of(lab, "ben") as ben:
        refused = ben.delete(f"/v1/jobs/{jobs['anna']}")
    wanted = ["ben", "ben", "127.0.0.1", "403", "DELETE /v1/jobs/{job_id}", jobs["anna"]]
    rows: list[list[str]] = []
    deadline = time.monotonic() + 30
    while [*wanted, refused.headers["x-request-id"]] not in [row[1:] for row in rows]:  # recorded after the answer
        assert time.monotonic() < deadline, rows
        assert main(["keys", "actions", "ben", "--data", str(lab[0].data)]) == 0
        rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[5] for row in rows].count("POST /v1/jobs") == 1
    line = next(line for line in lab[0].log.splitlines() if f"request={refused.headers['x-request-id']}" in line)
    assert f"job={jobs['anna']} key=ben client=127.0.0.1" in line


def test_head_answers_as_get_without_a_body(lab: tuple[Served, dict[str, str]], jobs: dict[str, str]) -> None:
    with client_of(lab, "boss") as boss:
        for path in ("/v1/slides", f"/v1/jobs/{jobs['boss']}", f"/v1/jobs/{jobs['boss']}/results/preview.png"):
            got, head = boss.get(path), boss.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == got.headers["content-length"]
        assert boss.head(f"/v1/jobs/{jobs['boss']}/events").status_code in (200, 204)
        assert boss.head("/v1/nowhere").status_code == 404


def test_jobs_are_listed_by_slide(lab: tuple[Served, dict[str, str]], jobs: dict[str, str]) -> None:
    with client_of(lab, "boss") as boss:
        slide = boss.get(f"/v1/jobs/{jobs['boss']}").json()["slide"]
        assert set(jobs.values()) <= {one["id"] for one in boss.get("/v1/jobs", params={"slide": slide}).json()["jobs"]}
        assert boss.get("/v1/jobs", params={"slide": "0" * 24}).json()["jobs"] == []


def test_a_database_of_the_version_before_keeps_its_keys(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, text

    engine = create_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parents[3] / "service/wsi_segment/service/jobs/migrations")
    )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        row = {"name": "old", "sha256": "0" * 64, "scopes": json.dumps(["read"]), "created": 1.0}
        connection.execute(
            text("INSERT INTO keys (name, sha256, scopes, created) VALUES (:name, :sha256, :scopes, 1)"), row
        )
    engine.dispose()
    database = Database(tmp_path)
    database.migrate()
    (key,) = Keys(database).listed()
    assert (key.name, key.owner, key.scopes) == ("old", "old", ("read",))
    assert Keys(database).names_of("old") == {"old"}
    database.close()
