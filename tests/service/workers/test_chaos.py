"""Two minutes of the chaos of ``tests/benchmarks/service_chaos.py``, which says what it does and checks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from live_server import postgresql_programs

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "service_chaos.py"


@pytest.mark.skipif(postgresql_programs() is None, reason="PostgreSQL is not installed")
@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_no_job_is_lost_doubled_or_of_another_image_while_all_around_the_service_fails() -> None:
    told = subprocess.run(
        [sys.executable, SCRIPT, "--minutes", "2", "--jobs", "30"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr[-3000:]
    assert "0 lost, 0 doubled" in told.stdout
