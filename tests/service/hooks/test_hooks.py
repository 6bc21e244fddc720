"""Web hooks between a real server and real receivers, which check signatures with a library of others."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import web
from free_ports import free_port
from live_server import Served, problem, write_slides
from reverse_proxies import write_certificate
from wsi_segment.service.cli.main import main
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.keys import Keys


@dataclass
class Receiver:
    """A server that takes messages, and answers the first ones wrongly."""

    answers: list[int] = field(default_factory=list)
    """Status of the first answers: 0 hangs up, 307 leads elsewhere; 204 after them."""
    got: list[tuple[Message, bytes, float]] = field(default_factory=list)
    port: int = 0

    def messages(self) -> list[dict[str, Any]]:
        """What arrived, each message once."""
        return list({head["webhook-id"]: json.loads(body) for head, body, _ in self.got}.values())

    def wait_for(self, count: int, seconds: float = 60) -> list[dict[str, Any]]:
        """Wait until so many have arrived and were taken."""
        deadline = time.monotonic() + seconds
        while len(self.messages()) < count or self.answers:
            assert time.monotonic() < deadline, self.got
            time.sleep(0.05)
        return self.messages()


@contextmanager
def receiving(*answers: int, port: int = 0, tls: tuple[Path, Path] | None = None) -> Iterator[Receiver]:
    """A receiver in a thread."""
    receiver = Receiver(list(answers))

    class Handler(BaseHTTPRequestHandler):
        """Takes one request."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((self.headers, body, time.time()))
            answer = receiver.answers.pop(0) if receiver.answers else 204
            if answer == 0:
                self.connection.close()
                return
            self.send_response(answer)
            if answer == 307:
                self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        receiver.port = server.server_address[1]
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def add_hook(served: Served, url: str, key: str | None = None, **more: Any) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = web.post(f"{served.url}/v1/hooks", json={"url": url, **more}, headers=headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["location"].endswith(f"/v1/hooks/{made['id']}")
    return made


def look(served: Served, hook: dict[str, Any], error: str = "", **wanted: int) -> dict[str, Any]:
    """Wait until a hook tells so many messages of a kind, and an error."""
    deadline = time.monotonic() + 30
    while True:
        found: dict[str, Any] = web.get(f"{served.url}/v1/hooks/{hook['id']}").json()
        if error in found["error"] and all(found[name] == count for name, count in wanted.items()):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slides(tmp_path_factory.mktemp("hooks"), count=3, height=300, width=300)


def test_the_ends_of_jobs_and_batches_reach_a_receiver_that_fails_first(folder: Path, tmp_path: Path) -> None:
    webhook = pytest.importorskip("standardwebhooks").Webhook
    tls = write_certificate(tmp_path)
    allowed = ["--hook-host", "127.0.0.1", "--hook-ca", tls[0]]
    with receiving(500, 0, 307, tls=tls) as receiver:
        allowed += ["--hook-host", f"localhost:{receiver.port}", "--root-path", "/wsi"]
        with Served(folder, *allowed) as served, served.client() as client:
            hook = add_hook(served, f"https://localhost:{receiver.port}/in?from=wsi")
            rows = [{"slide": f"slides/s{index}.tiff", "model": "channels"} for index in range(3)]
            rows[2]["region"] = [1e6, 1e6, 2e6, 2e6]  # type: ignore[assignment]
            batch = client.submit_rows(rows)["id"]
            found = receiver.wait_for(4)
            told = look(served, hook, waiting=0, delivered=4)
            assert told["error"] == ""
            metrics = web.get(f"{served.url}/metrics").text
            jobs = {job["id"]: job["status"] for job in client.jobs(batch=batch)}
    ends = [one["data"] for one in found if one["type"] == "job.ended"]
    assert {one["job"]: one["status"] for one in ends} == jobs
    assert all((one["batch"], one["href"]) == (batch, f"/wsi/v1/jobs/{one['job']}") for one in ends)
    (whole,) = [one["data"] for one in found if one["type"] == "batch.ended"]
    assert whole == {
        "batch": batch,
        "status": "failed",
        "counts": {"successful": 2, "failed": 1},
        "href": f"/wsi/v1/batches/{batch}",
    }
    arrived: dict[str, float] = {}
    for head, body, moment in receiver.got:  # each attempt is signed for its own time
        assert webhook(hook["secret"]).verify(body, {name.lower(): value for name, value in head.items()})
        assert int(arrived.get(head["webhook-id"], 0)) <= int(head["webhook-timestamp"]) <= moment
        arrived[head["webhook-id"]] = moment
        assert b"tiff" not in body
    head, body, _ = receiver.got[-1]
    with pytest.raises(Exception, match="signature"):
        webhook(hook["secret"]).verify(body.replace(b"ended", b"begun"), dict(head.items()))
    assert 'wsi_segment_hook_attempts_total{result="delivered"} 4.0' in metrics
    assert 'wsi_segment_hook_attempts_total{result="failed"} 3.0' in metrics
    assert "wsi_segment_hook_messages_waiting 0.0" in metrics
    lines = [line for line in served.log.splitlines() if f"hook {hook['id']} " in line]
    assert len(lines) == 2, lines  # that it fails, and that it does no longer
    assert hook["secret"] not in served.log


def test_messages_survive_a_receiver_that_is_away_and_a_server_that_is_killed(folder: Path) -> None:
    port = free_port()
    served = Served(folder, "--hook-host", f"127.0.0.1:{port}")
    with served, served.client() as client:
        hook = add_hook(served, f"http://127.0.0.1:{port}/", events=["job.ended"])
        job = client.submit("slides/s0.tiff", model="channels")["id"]
        client.wait(job)
        look(served, hook, "ConnectError", waiting=1, delivered=0)
        served.stop(9)
        with receiving(port=port) as receiver:
            served.start()
            (found,) = receiver.wait_for(1, 90)
            look(served, hook, waiting=0, delivered=1)
            time.sleep(2)
            assert len(receiver.got) == 1
    assert found["data"]["job"] == job


def test_only_named_hosts_are_told_whatever_their_names_lead_to(folder: Path) -> None:
    with receiving() as receiver, Served(folder, "--hook-host", f"localhost:{receiver.port}") as served:
        for url in (
            "http://127.0.0.1:1/",
            f"http://127.0.0.1:{receiver.port}/",
            "http://10.0.0.1/",
            "file:///etc/passwd",
        ):
            answer = web.post(f"{served.url}/v1/hooks", json={"url": url})
            assert problem(answer, 422)["type"].endswith("invalid-hook")
        hook = add_hook(served, f"http://localhost:{receiver.port}/")  # named, but its address is of this machine
        assert web.post(f"{served.url}/v1/hooks/{hook['id']}/ping").status_code == 202
        look(served, hook, "no public address", waiting=1)
        assert receiver.got == []
    with Served(folder) as served:
        assert problem(web.post(f"{served.url}/v1/hooks", json={"url": "https://a.example"}), 403)["type"].endswith(
            "hooks-off"
        )


def test_a_hook_is_told_what_its_key_may_see_for_as_long_as_that_lasts(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "served", height=300, width=300)
    database = Database(folder / "data")
    database.migrate()
    keys = Keys(database)
    boss = keys.create("boss", ["read", "write"], None)
    anna = keys.create("anna", ["read-own", "write-own"], None)
    ben = keys.create("ben", ["read", "write"], None)
    database.close()
    with receiving() as receiver, Served(folder, "--hook-host", f"127.0.0.1:{receiver.port}") as served:
        url = f"http://127.0.0.1:{receiver.port}"
        add_hook(served, f"{url}/boss", boss, events=["job.ended"])
        hers = add_hook(served, f"{url}/anna", anna)
        add_hook(served, f"{url}/ben", ben)
        for token in (boss, ben):  # addresses may hold passwords
            headers = {"Authorization": f"Bearer {token}"}
            problem(web.get(f"{served.url}/v1/hooks/{hers['id']}", headers=headers), 404)
            assert len(web.get(f"{served.url}/v1/hooks", headers=headers).json()["hooks"]) == 1
        assert main(["keys", "revoke", "ben", "--data", str(served.data)]) == 0
        posted = {}
        for name, token in (("boss", boss), ("anna", anna)):
            with served.client(token) as client:
                posted[name] = client.submit("slides/s0.tiff", model="channels")["id"]
                client.wait(posted[name])
        receiver.wait_for(3)
        time.sleep(2)
        told = {(json.loads(body)["data"]["job"], head["Host"]) for head, body, _ in receiver.got}
        assert len(receiver.got) == 3
        assert {job for job, _ in told} == set(posted.values())
        headers = {"Authorization": f"Bearer {anna}"}
        assert web.get(f"{served.url}/v1/hooks/{hers['id']}", headers=headers).json()["delivered"] == 1
        assert web.delete(f"{served.url}/v1/hooks/{hers['id']}", headers=headers).status_code == 204
        problem(web.get(f"{served.url}/v1/hooks/{hers['id']}", headers=headers), 404)
