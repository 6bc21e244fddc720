"""A service on two hosts, and the cable between them pulled: two network namespaces and a veth pair.

Needs root and Linux. Host a has PostgreSQL, the Dask scheduler, a server and a worker; host b a server and two workers
that a loop starts again. Both share a folder. Jobs are posted, the cable is out for a while, and in the end every job
must have been done, with the mask of a local run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from free_ports import free_port
from live_cluster import WATCHED, kill_tree
from live_server import postgresql_programs, write_slides
from synthetic import files_of
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.model.card import find_model
from wsi_segment.service.client import Client

A, B = "10.77.0.1", "10.77.0.2"
NAMES = {"a": "wsi-a", "b": "wsi-b"}


def ip(*words: str) -> None:
    """Call ``ip``."""
    subprocess.run(["ip", *words], check=True)


def on(host: str, *command: object) -> list[str]:
    """The command line that runs a command on a host, under the host's own name."""
    named = ["unshare", "--uts", "sh", "-c", f'hostname host-{host}; exec "$@"', "sh", *map(str, command)]
    return ["ip", "netns", "exec", NAMES[host], *named]


def start_database(folder: Path) -> str:
    """Start PostgreSQL on host a; its URL."""
    programs, data, port = postgresql_programs(), folder / "pg", free_port()
    assert programs is not None
    folder.chmod(0o755)
    data.mkdir()
    shutil.chown(data, "postgres")
    become = ["runuser", "-u", "postgres", "--"]
    subprocess.run(
        [*become, programs / "initdb", "-D", data, "-A", "trust", "-N", "-U", "tester"],
        check=True,
        cwd="/",
        stdout=subprocess.DEVNULL,
    )
    with (data / "pg_hba.conf").open("a") as hba:
        hba.write("host all all 10.77.0.0/24 trust\n")
    options = f"-k {data} -p {port} -c listen_addresses={A}"
    subprocess.run(
        on("a", *become, programs / "pg_ctl", "-D", data, "-o", options, "-l", data / "log", "-w", "start"),
        check=True, cwd="/", stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return f"postgresql://tester@{A}:{port}/postgres"


def main() -> None:
    """Build both hosts, pull the cable once, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=6)
    parser.add_argument("--out-seconds", type=float, default=45.0)
    parser.add_argument("--side", type=int, default=1500)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside is not None:
        post_and_pull(args.inside, args)
        return
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="two-hosts-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for host, name in NAMES.items():
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            ip("-n", name, "link", "set", "lo", "up")
            del host
        ip("link", "add", "veth-a", "netns", NAMES["a"], "type", "veth", "peer", "name", "veth-b", "netns", NAMES["b"])
        for host, address in (("a", A), ("b", B)):
            ip("-n", NAMES[host], "address", "add", f"{address}/24", "dev", f"veth-{host}")
            ip("-n", NAMES[host], "link", "set", f"veth-{host}", "up")
        own = [sys.executable, __file__, "--inside", folder, "--jobs", args.jobs, "--out-seconds", args.out_seconds]
        subprocess.run(on("a", *own, "--side", args.side), check=True)


def post_and_pull(folder: Path, args: argparse.Namespace) -> None:
    """On host a: start everything, post jobs, pull the cable, wait, compare."""
    write_slides(folder / "served", args.jobs, args.side, args.side)
    served, data = folder / "served", folder / "data"
    (folder / "preload.py").write_text(WATCHED.format(folder=str(folder), pause=0.1, hang=False, die="", more=""))
    scheduler = free_port()
    database, address = start_database(folder), f"tcp://{A}:{scheduler}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *command: str) -> None:
        with (folder / f"{name}.log").open("wb") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder))

    dask = f"{sys.executable} -m dask"
    try:
        start(
            "scheduler",
            *on(
                "a", *dask.split(), "scheduler", "--host", A, "--port", scheduler, "--dashboard-address", "127.0.0.1:0"
            ),
        )
        for number, host in enumerate("abb"):
            worker = (
                f"{dask} worker {address} --nthreads 1 --host {A if host == 'a' else B} --dashboard-address 127.0.0.1:0"
            )
            worker += f" --local-directory {folder}/scratch-{number} --preload {folder}/preload.py"
            start(f"worker-{number}-{host}", *on(host, "sh", "-c", f"while true; do {worker}; sleep 1; done"))
        ports = {host: free_port() for host in "ab"}
        for host in "ab":
            flags = [
                "--root",
                f"slides={served / 'slides'}",
                "--models",
                served / "models",
                "--data",
                data,
                "--database",
                database,
            ]
            flags += [
                "--port",
                ports[host],
                "--scheduler",
                address,
                "--workers",
                "1",
                "--min-free",
                "1MiB",
                "--worker-memory",
                "2GiB",
            ]
            start(f"server-{host}", *on(host, sys.executable, "-P", "-m", "wsi_segment.service", "serve", *flags))
            time.sleep(8)
        with Client(f"http://127.0.0.1:{ports['a']}") as client:
            wait_until(lambda: client.slides(), 120)
            jobs = [client.submit(f"slides/s{index}.tiff", model="channels")["id"] for index in range(args.jobs)]
            wait_until(lambda: sum(client.job(job)["status"] == "running" for job in jobs) == 2, 180)
            owners = Counter(line.split("/")[0] for line in owners_of(database))
            print(f"running on {dict(owners)}; the cable is out for {args.out_seconds:g} s", flush=True)
            ip("link", "set", "veth-a", "down")
            time.sleep(args.out_seconds)
            ip("link", "set", "veth-a", "up")
            began = time.monotonic()
            wait_until(lambda: all(client.job(job)["status"] == "successful" for job in jobs), 600)
            print(f"all {len(jobs)} jobs successful {time.monotonic() - began:.0f} s after it was in again")
            events = [event for job in jobs for event in client.events("jobs", job)]
            paused = Counter(event["message"] for event in events if event.get("message"))
            print(f"messages on the way: {dict(paused)}")
            for index, job in enumerate(jobs):
                local = folder / "local" / f"{index}.zarr"
                segment(
                    served / "slides" / f"s{index}.tiff",
                    find_model(served / "models" / "channels"),
                    local,
                    SegmentOptions(),
                )
                assert files_of(data / "results" / job / "mask.zarr") == files_of(local), job
            print("masks identical to local ones, file by file")
    finally:
        for process in started:
            kill_tree(process)
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            psutil.Process(int((folder / "pg" / "postmaster.pid").read_text().splitlines()[0])).terminate()


def owners_of(database: str) -> list[str]:
    """Who owns running jobs."""
    import psycopg

    with psycopg.connect(database) as connection:
        return [row[0] for row in connection.execute("SELECT owner FROM jobs WHERE status = 'running'").fetchall()]


def wait_until(condition: object, seconds: float) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(Exception):  # a server that is not up yet
            if condition():  # type: ignore[operator]
                return
        assert time.monotonic() < deadline
        time.sleep(0.5)


if __name__ == "__main__":
    main()
