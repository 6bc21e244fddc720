"""The supervisor's talk with its workers, where a worker ends or begins at a bad moment."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from wsi_segment.service import supervisor as supervisor_module
from wsi_segment.service.database import Database
from wsi_segment.service.supervisor import Supervisor, _Worker
from wsi_segment.service.worker import WorkerConfig

CONFIG = WorkerConfig("data", None, (), None, 1, 1 << 40, "cpu", 0, "text")


class Closing:
    """An input of a worker; somebody posts a job just when it was closed."""

    def __init__(self, held: Any, supervisor: Supervisor) -> None:
        self._held, self._supervisor = held, supervisor

    def write(self, line: bytes) -> int:
        """Passed on."""
        return int(self._held.write(line))

    def close(self) -> None:
        """Passed on."""
        self._held.close()
        self._supervisor.wake()


def test_a_job_may_come_while_a_worker_that_ended_is_put_away(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.migrate()
    supervisor = Supervisor(database, CONFIG, 0)
    ended = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE, bufsize=0)
    ended.wait()
    ended.stdin = Closing(ended.stdin, supervisor)  # type: ignore[assignment]
    supervisor._workers = [_Worker(ended, "host/1/a")]
    supervisor._over.set()  # no pause
    supervisor._replace_ended()
    assert supervisor.alive == 0
    assert ended.stdin is not None
    database.close()


def test_a_worker_that_begins_while_the_service_stops_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(tmp_path)
    database.migrate()
    supervisor = Supervisor(database, CONFIG, 1)

    def begin_late() -> None:
        assert supervisor._over.wait(10)
        time.sleep(0.2)  # the others were told meanwhile
        late = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, bufsize=0)
        supervisor._workers.append(_Worker(late, "host/1/a"))

    monkeypatch.setattr(supervisor, "_replace_ended", begin_late)
    monkeypatch.setattr(supervisor_module, "STOP_SECONDS", 60.0)
    supervisor.start()
    started = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - started < 20
    assert [worker.process.returncode for worker in supervisor._workers] == [0]
    database.close()
