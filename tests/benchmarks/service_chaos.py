"""A service while everything around it fails: what becomes of the jobs of three keys.

Two servers on one PostgreSQL, behind nginx with TLS below ``/wsi/``. Meanwhile, at random: the root is taken away and
given back, the database is restarted, workers and servers are killed, the clock of one server is set by a minute,
slides and the model are replaced while jobs wait. It needs PostgreSQL, nginx and openssl, and sets clocks with
libfaketime.

A server that ends, as one does that finds no database at its start, is started again, as service managers do.

It fails if a job is lost or doubled, if a mask is of another image or model than its job was accepted for, if a job
failed for another reason than that its slide or model was replaced or its worker killed three times, or if a log does
not say how a job ended and why.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from free_ports import free_port
from live_server import (
    FAKETIME,
    Served,
    control_postgresql,
    fresh_database,
    postgresql,
    with_settable_clock,
    write_slides,
)
from reverse_proxies import write_certificate
from synthetic import class_map, tissue_like, write_model, write_slide
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.slides.fingerprint import slide_fingerprint
from wsi_segment.model.card import Model, write_card
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.events import read_events
from wsi_segment.service.jobs.job_table import Job, Jobs
from wsi_segment.service.jobs.keys import Keys

SLIDES, VERSIONS, WAITING = 4, 3, 12
KEYS = ("anna", "bert", "carl")
PATIENCE_SECONDS = 600.0
KILLED = "the worker ended 3 times"
"""What a job says that was hit by three kills of the storm before it finished a region."""
LONGER = 1.5
"""How many times the minutes the storm may last, until all jobs are posted."""
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream servers {{ {servers} }}
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/tls.pem; ssl_certificate_key {folder}/tls.key;
    location /wsi/ {{
      proxy_pass http://servers; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Prefix /wsi; proxy_buffering off;
    }}
  }}
}}
"""


class World:
    """What the service stands on, and what can be done to it."""

    def __init__(self, folder: Path, url: str, rng: random.Random) -> None:
        self.folder, self.url, self.rng = folder, url, rng
        self.control = control_postgresql(url)
        self.slides = write_slides(folder, SLIDES) / "slides"
        self.model = write_model(folder / "models" / "channels")
        self.expected: dict[str, np.ndarray] = {}
        self.versions = 1
        for seed in range(SLIDES * VERSIONS):
            made = write_slide(folder / f"{seed}.tiff", tissue_like(700, 900, seed=seed))
            segment(made, model=self.model, out=folder / f"{seed}.zarr", options=SegmentOptions(device="cpu"))
            self.expected[slide_fingerprint([made])] = class_map(folder / f"{seed}.zarr")
        flags = ["--workers", 1, "--worker-threads", 1, "--database", url, "--root-path", "/wsi"]
        flags += ["--trusted-proxy", "127.0.0.1", "--allowed-host", "localhost"]
        self.servers = [Served(folder, *flags) for _ in range(2)]
        self.set_clock: Callable[[int], None] = (
            with_settable_clock(self.servers[1]) if FAKETIME else lambda seconds: None
        )
        self.done: Counter[str] = Counter()
        self.started_again = 0

    def take_root_away(self) -> None:
        """For some seconds."""
        self.slides.rename(self.folder / "away")
        time.sleep(self.rng.uniform(2, 6))
        (self.folder / "away").rename(self.slides)

    def restart_database(self) -> None:
        """With a pause."""
        self.control("stop")
        time.sleep(self.rng.uniform(0, 4))
        self.control("start")

    def kill_worker(self) -> None:
        """Any of them."""
        workers = [worker for server in self.servers for worker in server.workers()]
        with suppress(psutil.NoSuchProcess, IndexError):
            self.rng.choice(workers).kill()

    def kill_server(self) -> None:
        """One of both; and start it again. On a machine with much else to do, it comes back when it can."""
        server = self.rng.choice(self.servers)
        if server.process is not None:
            server.stop(signal.SIGKILL)
        server.start(wait=False)
        self.wait_for_servers(30)

    def start_ended(self) -> None:
        """Start servers that are not running, as a service manager does."""
        for server in self.servers:
            if server.process is None or server.process.poll() is not None:
                self.started_again += server.process is not None
                server.start(wait=False)

    def wait_for_servers(self, seconds: float) -> bool:
        """Whether both answer within some time."""
        deadline = time.monotonic() + seconds
        while not all(map(is_up, self.servers)):
            if time.monotonic() > deadline:
                return False
            self.start_ended()
            time.sleep(0.5)
        return True

    def step_clock(self) -> None:
        """By a minute, forward or back."""
        self.set_clock(60 * self.rng.randint(0, 3))

    def replace_slide(self) -> None:
        """By another of the same size."""
        index = self.rng.randrange(SLIDES)
        new = self.folder / f"{index + SLIDES * self.rng.randrange(VERSIONS)}.tiff"
        beside = self.folder / "new.tiff"
        beside.write_bytes(new.read_bytes())
        with suppress(FileNotFoundError):  # the root is away
            beside.replace(self.slides / f"s{index}.tiff")

    def replace_model(self) -> None:
        """By another version."""
        self.versions += 1
        card = self.model.card.model_copy(update={"version": f"{self.versions}.0"})
        write_card(card, Model(self.model.folder, card).folder)


class Poster(threading.Thread):
    """One key that posts jobs, so that some wait; a request without a sure answer is sent again."""

    def __init__(self, url: str, token: str, *, most: int, seconds: float, over: threading.Event) -> None:
        super().__init__(daemon=True)  # a storm that fails ends the program
        self.accepted: list[str] = []
        self.surprises: list[str] = []
        """Answers that no client expects."""
        self._most, self._seconds, self._over, self._number = most, seconds, over, 0
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60, verify=False)

    def run(self) -> None:
        """Until enough are accepted, spread over the seconds of the storm, or the time is over."""
        started = time.monotonic()
        while not self._over.is_set() and len(self.accepted) < self._most:
            due = self._most * (time.monotonic() - started) / self._seconds
            try:
                waiting = self._http.get("/v1/jobs", params={"status": "accepted"}).json()["jobs"]
                if len(waiting) < WAITING and len(self.accepted) <= due:
                    self._post()
                    continue
            except (httpx.TransportError, ValueError, KeyError):
                pass
            time.sleep(0.3)

    def _post(self) -> None:
        name = f"slides/s{self._number % SLIDES}.tiff"
        self._number += 1
        found = self._http.get("/v1/slides", params={"path": name})
        if not found.is_success:
            return
        body = {"slide": found.json()["slides"][0]["id"], "model": "channels"}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        while True:
            with suppress(httpx.TransportError):
                answer = self._http.post("/v1/jobs", json=body, headers=headers)
                if answer.status_code == 201:
                    self.accepted.append(answer.json()["id"])
                    return
                if answer.status_code not in (409, 502, 503, 504):
                    self.surprises.append(f"answered {answer.status_code}: {answer.text}")
                    return
            time.sleep(0.3)


def start_proxy(folder: Path, servers: list[Served]) -> tuple[subprocess.Popen[bytes], str]:
    """Start nginx with a certificate of its own; the address of the service behind it."""
    write_certificate(folder, "localhost")
    port = free_port()
    listed = " ".join(f"server 127.0.0.1:{one.port} max_fails=0;" for one in servers)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, servers=listed))
    process = subprocess.Popen(["nginx", "-c", folder / "nginx.conf", "-e", folder / "nginx.log"])
    return process, f"https://localhost:{port}/wsi"


def is_up(server: Served) -> bool:
    """Whether a server answers."""
    with suppress(httpx.TransportError):
        return httpx.get(f"{server.url}/health/live", timeout=5).is_success
    return False


def check(world: World, jobs: dict[str, Job], accepted: list[str], ends: Counter[str]) -> list[str]:
    """What is wrong at the end."""
    wrong = [f"lost: {one}" for one in accepted if one not in jobs]
    wrong += [f"from nobody: {one}" for one in jobs.keys() - set(accepted)]
    for job in jobs.values():
        if job.status == "successful":
            mask = world.folder / "data" / "results" / job.id / "mask.zarr"
            assert job.inputs is not None
            provenance, fingerprint = Mask.open(mask).provenance, job.inputs["slide"]["fingerprint"]
            if ends[job.id] != 1:
                wrong.append(f"doubled: {job.id}")
            if provenance["slide"]["fingerprint"] != fingerprint or not np.array_equal(
                class_map(mask), world.expected[fingerprint]
            ):
                wrong.append(f"a mask of another image: {job.id}")
            if provenance["model"]["version"] != job.inputs["model"]["version"]:
                wrong.append(f"a mask of another model: {job.id}")
        elif "was replaced" not in job.message and not job.message.startswith(KILLED):
            wrong.append(f"{job.status}: {job.message}")
    return wrong


def explained(log: str) -> dict[str, tuple[str, str]]:
    """How jobs ended, and why, by the lines of a log."""
    ends = re.compile(
        r"info +job (\w+) after [\d.]+ s of waiting and [\d.]+ s of work(?:: (.*?))? job=(\w+) key=(\w+)", re.M
    )
    return {job: (how, why) for how, why, job, _ in ends.findall(log)}


def main() -> int:
    """Run the storm, wait for the calm, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "served"
        url = fresh_database(stack.enter_context(postgresql()), "chaos")
        world = World(folder, url, rng)
        database = Database(folder / "data", url)
        database.migrate()
        tokens = [Keys(database).create(name, ["read", "write"], None) for name in KEYS]
        for server in world.servers:
            stack.callback(server.__exit__)
        assert world.wait_for_servers(PATIENCE_SECONDS), world.servers[0].log[-5000:]
        over, (proxy, address) = threading.Event(), start_proxy(folder, world.servers)
        stack.callback(proxy.terminate)
        enough, most, each = 60 * args.minutes, 60 * args.minutes * LONGER, -(-args.jobs // len(KEYS))
        posters = [Poster(address, token, most=each, seconds=enough, over=over) for token in tokens]
        for poster in posters:
            poster.start()
        started = time.monotonic()
        failing = (world.take_root_away, world.restart_database, world.kill_worker, world.kill_server, world.step_clock)
        deeds = (*failing, *failing, world.replace_slide, world.replace_slide, world.replace_model)
        while (spent := time.monotonic() - started) < enough or (
            spent < most and any(poster.is_alive() for poster in posters)
        ):
            time.sleep(rng.uniform(3, 8))
            world.start_ended()
            deed = rng.choice(deeds)
            deed()
            world.done[deed.__name__] += 1
        over.set()
        for poster in posters:
            poster.join()
        accepted = [one for poster in posters for one in poster.accepted]
        assert world.wait_for_servers(PATIENCE_SECONDS), world.servers[0].log[-5000:]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            counts = Jobs(database).counts()
            if not counts.get("accepted") and not counts.get("running"):
                break
            world.start_ended()
            time.sleep(1)
        jobs = {job.id: job for job in Jobs(database).listed(None, 1_000_000)}
        events = read_events(database, 0, limit=10_000_000)
        ends = Counter(event.job for event in events if event.kind == "successful")
        wrong = check(world, jobs, accepted, ends) + [one for poster in posters for one in poster.surprises]
        said = explained(world.servers[0].log)  # both write to one file
        for job in jobs.values():
            if said.get(job.id, ("", ""))[0] != job.status:
                wrong.append(f"not explained in the log: {job.id}")
            elif job.status == "failed" and not said[job.id][1]:
                wrong.append(f"no reason in the log: {job.id}")
        if wrong:
            print("the log of both servers:", shutil.copy(folder / "log", tempfile.mkdtemp(prefix="chaos")))
        database.close()
    by_key = Counter(job.client for job in jobs.values())
    by_status, cut_off = Counter(job.status for job in jobs.values()), sum(job.fence - 1 for job in jobs.values())
    print(f"{(time.monotonic() - started) / 60:.1f} minutes, {len(accepted)} jobs {dict(by_key)}, {dict(world.done)}")
    killed = sum(job.message.startswith(KILLED) for job in jobs.values())
    print(f"{dict(by_status)}, {cut_off} cut off, {killed} given up after three kills")
    print(f"{world.started_again} servers ended by themselves")
    print("\n".join(wrong) or "0 lost, 0 doubled, 0 masks of another image or model")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
