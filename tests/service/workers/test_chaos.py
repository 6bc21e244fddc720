"""Two minutes of the chaos of ``tests/benchmarks/service_chaos.py``, which says what it does and checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from live_server import FAKETIME, postgresql_programs
from tools import absent, program

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "service_chaos.py"


@pytest.mark.skipif(sys.platform == "win32", reason="servers and workers are killed by POSIX signals")
def test_no_job_is_lost_doubled_or_of_another_image_while_all_around_the_service_fails() -> None:
    for name in ("nginx", "openssl"):
        program(name)
    if postgresql_programs() is None or FAKETIME is None:
        absent("PostgreSQL or libfaketime is not installed; `make tools` brings them")
    told = subprocess.run(
        [sys.executable, SCRIPT, "--minutes", "2", "--jobs", "30"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr[-3000:]
    assert "0 lost, 0 doubled" in told.stdout
