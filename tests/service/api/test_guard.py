"""What every request passes first: keys, hosts, origins, limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

import web
from live_server import Served, write_slides
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.keys import Keys
from wsi_segment.service.jobs.tables import keys as key_table


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, str]]]:
    """A server with keys, and their tokens by what they may do."""
    folder = write_slides(tmp_path_factory.mktemp("guarded"))
    database = Database(folder / "data")
    database.migrate()
    keys = Keys(database)
    tokens = {
        "reader": keys.create("reader", ["read"], None),
        "writer": keys.create("writer", ["read", "write"], None),
        "metrics": keys.create("metrics", ["metrics"], None),
        "expired": keys.create("expired", ["read", "write"], 1e-9),
        "revoked": keys.create("revoked", ["read", "write"], None),
    }
    keys.revoke("revoked")
    database.close()
    flags = (
        "--workers",
        0,
        "--host",
        "0.0.0.0",
        "--allowed-host",
        "lab.example",
        "--allowed-origin",
        "https://view.example",
    )
    with Served(folder, *flags, "--max-body", "64KiB") as running:
        yield running, tokens


def asked(
    guarded: tuple[Served, dict[str, str]], who: str | None, method: str, path: str, **more: Any
) -> httpx.Response:
    served, tokens = guarded
    headers = {} if who is None else {"Authorization": f"Bearer {tokens.get(who, who)}"}
    return web.request(method, served.url + path, headers=headers | more.pop("headers", {}), **more)


@pytest.mark.parametrize(
    ("who", "method", "path", "status"),
    [
        (None, "GET", "/health/live", 200), (None, "GET", "/v1/slides", 401), (None, "GET", "/v1/nowhere", 401),
        (None, "GET", "/docs", 200), (None, "GET", "/openapi.json", 200), (None, "GET", "/", 200),
        (None, "GET", "/metrics", 401),
        ("nonsense", "GET", "/v1/slides", 401), ("expired", "GET", "/v1/slides", 401),
        ("revoked", "GET", "/v1/slides", 401), ("reader", "GET", "/v1/slides", 200),
        ("reader", "POST", "/v1/jobs", 403), ("reader", "DELETE", "/v1/jobs/" + "0" * 24, 403),
        ("reader", "GET", "/metrics", 403), ("writer", "POST", "/v1/jobs", 415), ("writer", "GET", "/metrics", 403),
        ("metrics", "GET", "/metrics", 200), ("metrics", "GET", "/v1/slides", 403),
    ],
)  # fmt: skip
def test_keys_open_what_their_scopes_say(
    guarded: tuple[Served, dict[str, str]], who: str | None, method: str, path: str, status: int
) -> None:
    answer = asked(guarded, who, method, path)
    assert answer.status_code == status, answer.text
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_only_the_hash_of_a_key_is_kept(guarded: tuple[Served, dict[str, str]]) -> None:
    served, tokens = guarded
    for path in served.data.iterdir():
        content = path.read_bytes() if path.is_file() else b""
        assert not any(token.encode() in content for token in tokens.values())


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400), ({"Host": "evil.example:8000"}, 400), ({"Host": ""}, 400),
        ({"Host": "127.0.0.1.evil.example"}, 400), ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403), ({"Host": "["}, 400),
        ({"Origin": "http://localhost:1"}, 403), ({"Host": "lab.example", "Origin": "http://evil.example"}, 403),
    ],
)  # fmt: skip
def test_other_hosts_and_origins_are_refused_with_every_method(
    guarded: tuple[Served, dict[str, str]], method: str, headers: dict[str, str], status: int
) -> None:
    assert asked(guarded, "writer", method, "/v1/slides", headers=headers).status_code == status


def test_known_hosts_and_origins_are_served(guarded: tuple[Served, dict[str, str]]) -> None:
    served, _ = guarded
    for headers in ({"Host": "lab.example"}, {"Host": "LOCALHOST:99"}, {"Origin": served.url}):
        assert asked(guarded, "reader", "GET", "/v1/slides", headers=headers).status_code == 200, headers
    allowed = asked(guarded, "reader", "GET", "/v1/slides", headers={"Origin": "https://view.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://view.example"
    preflight = asked(guarded, None, "OPTIONS", "/v1/jobs", headers={"Origin": "https://view.example"})
    assert preflight.status_code == 204
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-origin" not in asked(guarded, "reader", "GET", "/v1/slides").headers


def test_a_proxy_that_nobody_named_is_not_believed(guarded: tuple[Served, dict[str, str]]) -> None:
    served, _ = guarded
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1", "Forwarded": "proto=https;host=lab.example"}
    answer = asked(guarded, "reader", "GET", "/v1/slides/", headers=said)
    assert (answer.status_code, answer.headers["location"]) == (307, f"{served.url}/v1/slides")
    for name in ("X-Forwarded-Host", "Forwarded"):
        headers = {"Host": "evil.example", name: "host=lab.example" if name == "Forwarded" else "lab.example"}
        assert asked(guarded, "reader", "GET", "/v1/slides", headers=headers).status_code == 400


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, str]]]:
    """A server on loopback whose proxy is named, and the token of its only key."""
    folder = write_slides(tmp_path_factory.mktemp("proxy"))
    database = Database(folder / "data")
    database.migrate()
    token = Keys(database).create("only", ["read", "write"], None)
    database.close()
    with Served(folder, "--workers", 0, "--trusted-proxy", "127.0.0.1", "--allowed-host", "lab.example") as running:
        yield running, {"only": token}


def test_a_proxy_that_was_named_says_how_clients_came_and_nothing_else(
    behind_proxy: tuple[Served, dict[str, str]],
) -> None:
    headers = {"Host": "lab.example", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
    answer = asked(behind_proxy, "only", "GET", "/v1/slides/", headers=headers)
    assert answer.headers["location"] == "https://lab.example/v1/slides"
    headers = {"Host": "evil.example", "X-Forwarded-Host": "lab.example", "X-Forwarded-For": "127.0.0.1"}
    assert asked(behind_proxy, "only", "GET", "/v1/slides", headers=headers).status_code == 400


def test_the_end_of_the_last_key_opens_nothing(behind_proxy: tuple[Served, dict[str, str]]) -> None:
    served, _ = behind_proxy
    assert asked(behind_proxy, "only", "GET", "/v1/models").status_code == 200
    database = Database(served.data)
    Keys(database).revoke("only")
    assert asked(behind_proxy, None, "GET", "/v1/models").status_code == 401
    with database.write() as connection:  # a server that others reach asks even where no key was ever made
        connection.execute(delete(key_table))
    database.close()
    assert asked(behind_proxy, None, "GET", "/v1/models").status_code == 401


def test_on_loopback_a_key_is_asked_for_once_one_was_made(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "loopback")
    with Served(folder, "--workers", 0) as running:
        assert web.get(f"{running.url}/v1/models").status_code == 200
        database = Database(running.data)
        token = Keys(database).create("brief", ["read"], 1e-9)
        assert web.get(f"{running.url}/v1/models").status_code == 401
        Keys(database).revoke("brief")
        database.close()
        for headers in ({}, {"Authorization": f"Bearer {token}"}):
            assert web.get(f"{running.url}/v1/models", headers=headers).status_code == 401


def test_bodies_have_a_limit(guarded: tuple[Served, dict[str, str]]) -> None:
    large = b'{"slide": "' + b"0" * (64 << 10) + b'"}'
    json_type = {"Content-Type": "application/json"}
    answer = asked(guarded, "writer", "POST", "/v1/jobs", content=large, headers=json_type)
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    pieces = (b" " * 1024 for _ in range(100))  # without a Content-Length
    assert asked(guarded, "writer", "POST", "/v1/batches", content=pieces, headers=json_type).status_code == 413


def test_uploads_are_off_unless_they_are_allowed(guarded: tuple[Served, dict[str, str]]) -> None:
    answer = asked(guarded, "writer", "POST", "/v1/slides?suffix=.tiff", content=b"x")
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:wsi-segment:problem:no-uploads")


def test_every_answer_has_a_strict_policy_and_an_id(guarded: tuple[Served, dict[str, str]]) -> None:
    for path in ("/docs", "/v1/slides", "/v1/nowhere"):
        headers = asked(guarded, "reader", "GET", path, headers={"X-Request-Id": "of-a-client-1234"}).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"].split("script-src")[1].split(";")[0]
        assert headers["x-content-type-options"] == "nosniff"
        assert len(headers["x-request-id"]) == 16
        assert headers["x-request-id"] != "of-a-client-1234"
    assert "<script>" not in asked(guarded, "reader", "GET", "/docs").text


def test_no_route_shows_labels_or_macro_images(guarded: tuple[Served, dict[str, str]]) -> None:
    paths = asked(guarded, "reader", "GET", "/openapi.json").json()["paths"]
    assert not [path for path in paths if "label" in path or "macro" in path or "associated" in path]
