"""A service on two hosts, and the cable between them pulled: two network namespaces and a veth pair.

Needs root and Linux. Host a has PostgreSQL, the Dask scheduler, a server and a worker; host b a server and two workers
that a loop starts again. Both share a folder. Jobs are posted, the cable is out for a while, and in the end every job
must have been done, with the mask of a local run. With ``--bucket`` slides lie in a bucket of an emulator on host a,
and then a command on host b segments one of them into that bucket, with the cable out once more in the middle.
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
from buckets import VARIABLES, Bucket
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
    parser.add_argument("--bucket", action="store_true")
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
        subprocess.run(on("a", *own, "--side", args.side, *["--bucket"] * args.bucket), check=True)


def post_and_pull(folder: Path, args: argparse.Namespace) -> None:
    """On host a: start everything, post jobs, pull the cable, wait, compare."""
    write_slides(folder / "served", args.jobs, args.side, args.side)
    served, data = folder / "served", folder / "data"
    (folder / "preload.py").write_text(
        WATCHED.format(folder=str(folder), pause=0.1, hold=0, hang=False, die="", more="")
    )
    scheduler = free_port()
    database, address = start_database(folder), f"tcp://{A}:{scheduler}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *command: str) -> subprocess.Popen[bytes]:
        with (folder / f"{name}.log").open("wb") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder))
        return started[-1]

    dask = f"{sys.executable} -m dask"
    store = Store() if args.bucket else None
    slides = [f"slides/s{index}.tiff" for index in range(args.jobs)]
    if store is not None:
        environment |= store.environment
        slides = [store.keep(served / slide, slide) for slide in slides]
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
                f"slides={served / 'slides'}" if store is None else f"s3://{store.name}/slides/",
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
            wait_until(lambda: not list(client.jobs()), 120)
            jobs = [client.submit(slide, model="channels")["id"] for slide in slides]
            wait_until(lambda: sum(client.job(job)["status"] == "running" for job in jobs) == 2, 180)
            owners = Counter(line.split("/")[0] for line in owners_of(database))
            print(f"running on {dict(owners)}; the cable is out for {args.out_seconds:g} s", flush=True)
            pull(args.out_seconds)
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
        if store is not None:
            flags = ["--model", served / "models" / "channels", "--scheduler", address, "--quiet"]
            regions = "masks/m.zarr.partial/regions-"
            out = f"s3://{store.name}/masks/m.zarr"
            segmenting = [sys.executable, "-P", "-m", "wsi_segment.service", slides[0], "--out", out, *flags]
            command = start("command-b", *on("b", *segmenting))
            wait_until(lambda: command.poll() is not None or len(store.objects(regions)) > 1, 120)
            assert command.poll() is None, (folder / "command-b.log").read_text()
            print(f"a command on host b has written regions; the cable is out for {args.out_seconds:g} s", flush=True)
            pull(args.out_seconds)
            began = time.monotonic()
            while (rc := command.wait(300)) != 0:  # whoever started it starts it again
                print((folder / "command-b.log").read_text().splitlines()[-1])
                assert time.monotonic() < began + 300, rc
                command = start("command-b", *on("b", *segmenting))
            print(f"its mask was there {time.monotonic() - began:.0f} s after the cable was in again")
            assert store.objects("masks/m.zarr/") == files_of(folder / "local" / "0.zarr")
            print("its objects are identical to local files")
    finally:
        for process in started:
            kill_tree(process)
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            psutil.Process(int((folder / "pg" / "postmaster.pid").read_text().splitlines()[0])).terminate()


class Store:
    """An emulator of S3 on host a, with one bucket."""

    name = "shared"

    def __init__(self) -> None:
        """Start it."""
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address=A, port=0, verbose=False)
        self._server.start()
        _, port = self._server.get_host_and_port()
        self._bucket = Bucket(self.name, f"http://{A}:{port}", port)
        self._bucket.client.create_bucket(Bucket=self.name)
        self.environment = VARIABLES | {"AWS_ENDPOINT_URL": f"http://{A}:{port}"}
        self.objects = self._bucket.objects

    def keep(self, path: Path, key: str) -> str:
        """Put a file into the bucket; its address."""
        self._bucket.client.upload_file(str(path), self.name, key)
        return f"s3://{self.name}/{key}"


def pull(seconds: float) -> None:
    """Have the cable out for a while."""
    ip("link", "set", "veth-a", "down")
    time.sleep(seconds)
    ip("link", "set", "veth-a", "up")


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
