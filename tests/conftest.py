"""What several tests need."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter
from hypothesis import HealthCheck, settings

from live_server import Served, write_slides
from synthetic import SHARED, SLIDES

settings.register_profile("house", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

LONG_FILES = (
    "inference/engine/cluster/test_cluster.py",
    "service/workers/test_kill.py",
    "qupath_plugin/test_steps.py",
    "inference/places/test_buckets.py",
    "service/viewer/test_working.py",
    "qupath_plugin/test_service.py",
    "service/workers/test_chaos.py",
    "service/test_faults.py",
    "service/api/test_openapi.py",
    "service/cli/test_experiment.py",
    "service/api/test_scale.py",
)
"""Files that take minutes, the longest first: they begin first, so that none of them runs alone at the end."""


def pytest_configure() -> None:
    """Heed Ctrl-C also where a shell has its background jobs ignore it: programs under test inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long."""
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(LONG_FILES)}
    assert all(path.is_file() for path in ranks), "LONG_FILES names a file that is gone"
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


def pytest_collection_finish() -> None:
    """Free the collector of all that was imported so far: every run of the engine calls it."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """End with how many tests were skipped, and the one command that brings most of them."""
    skipped = len(terminalreporter.stats.get("skipped", []))
    if skipped:
        terminalreporter.write_line(
            f"{skipped} tests were skipped, for the reasons above. `make tools` installs what most of them need "
            "(PostgreSQL, Java, Groovy, Chromium, curl, jq); others need a GPU, real slides, or the extra [viewers]."
        )


@pytest.fixture
def slides() -> Path:
    """The folder of real slides; a user's checkout has none."""
    if not SLIDES.is_dir():
        pytest.skip("the folder of real slides is not beside this checkout")
    return SLIDES


@pytest.fixture
def ebhi_seg() -> Path:
    """The real dataset; a user's checkout has none."""
    folder = SHARED / "ebhi-seg"
    if not folder.is_dir():
        pytest.skip("the dataset EBHI-Seg is not beside this checkout")
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with two made slides and a cheap model."""
    folder = write_slides(tmp_path_factory.mktemp("served"), count=2)
    with Served(folder, "--upload-limit", "2MiB", "--workers", 1) as running:
        yield running


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server on which jobs wait."""
    with Served(write_slides(tmp_path_factory.mktemp("idle")), "--workers", 0) as running:
        yield running


@pytest.fixture(scope="module")
def done(served: Served) -> str:
    """The id of a job that has results."""
    with served.client() as client:
        job = client.submit("slides/s0.tiff", model="channels")
        ended = client.wait(job["id"])
    assert ended["status"] == "successful", ended
    return str(job["id"])
