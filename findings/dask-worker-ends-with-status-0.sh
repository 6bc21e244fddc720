#!/usr/bin/env bash
# distributed 2026.8.0: how `dask worker` ends when its scheduler dies.
#
# One would guess: a worker that lost its scheduler waits for it to come back, or ends with a status that says that
#   something went wrong, so that `Restart=on-failure` of systemd or `restartPolicy: OnFailure` starts it again.
# What happens: it ends at once and for good with status 0, and so does the nanny that would start a worker again that
#   was killed; a new scheduler at the same address finds no worker. Only `Restart=always`, a loop that does not look
#   at the status, or whatever started the workers brings them back.
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install dask==2026.8.0 distributed==2026.8.0 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
venv/bin/python - <<'PYTHON' 2> /dev/null
import socket, subprocess, sys, time
from importlib.metadata import version

from distributed import Client

with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    port = found.getsockname()[1]
loopback = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]


def start(*command):
    return subprocess.Popen([sys.executable, "-m", "dask", *command, *loopback], stderr=subprocess.DEVNULL)


print("distributed", version("distributed"))
scheduler = start("scheduler", "--port", str(port))
address, seen = f"tcp://127.0.0.1:{port}", []
workers = {"with a nanny": start("worker", address), "without": start("worker", address, "--no-nanny")}
try:
    with Client(address, timeout=60) as client:
        client.wait_for_workers(2, timeout=60)
    scheduler.kill()
    scheduler.wait()
    for name, worker in workers.items():
        print(f"a worker {name} ends with status {worker.wait(120)}")
        seen.append(worker.returncode)
    scheduler = start("scheduler", "--port", str(port))
    with Client(address, timeout=60) as client:
        time.sleep(5)
        back = len(client.scheduler_info()["workers"])
        print(f"workers of a new scheduler at the same address: {back}")
finally:
    for process in (scheduler, *workers.values()):
        process.kill()
assert seen == [0, 0] and back == 0, "this has changed"
PYTHON
# seen:
# distributed 2026.8.0
# a worker with a nanny ends with status 0
# a worker without ends with status 0
# workers of a new scheduler at the same address: 0
