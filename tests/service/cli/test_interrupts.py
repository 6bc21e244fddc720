"""Signals: the first ends a command in order, the second at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent in another way there")

PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start without it
from wsi_segment.service.cli import main as cli
from wsi_segment.service.cli.commands import doctor
def run(args):
    try:
        print("running", flush=True)
        time.sleep(100)
    finally:
        print("stopping", flush=True)
        time.sleep({stopping})
    return 0
doctor.run = run
code = cli.main(["doctor"])
print("ending", flush=True)
time.sleep({ending})  # as threads of libraries may keep a process for a while
sys.exit(code)
"""


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    """A process; killed at the end, should it still run."""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def signalled(stopping: float, ending: float, signals: dict[str, signal.Signals]) -> tuple[int, str]:
    """Exit code and last line of errors; each of the signals is sent after a line of output."""
    with running(PROGRAM.format(stopping=stopping, ending=ending)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if number := signals.pop(line.strip(), None):
                time.sleep(0.3)  # longer than the moment in which two signals are one
                process.send_signal(number)
            if not signals:
                break
        _, err = process.communicate(timeout=60)  # the phase alone is 100
        assert not signals
        return process.returncode, err.splitlines()[-1]


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("phase", ["stopping", "ending"])
def test_a_second_signal_ends_at_once_with_130_as_the_first(
    first: signal.Signals, second: signal.Signals, phase: str
) -> None:
    stopping, ending = (100, 0) if phase == "stopping" else (0, 100)
    code, said = signalled(stopping, ending, {"running": first, phase: second})
    assert code == 130
    assert said == "wsi-segment: interrupted; what is finished is kept, the same command continues"


def test_what_comes_within_a_moment_of_the_first_is_the_same_signal() -> None:
    code = PROGRAM.format(stopping=1, ending=0).replace("time.sleep(1)", "time.sleep(1); print('in order', flush=True)")
    with running(code) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "running\n"
        one.send_signal(signal.SIGSTOP)  # so that both are there when it goes on, however long lies between them here
        one.send_signal(signal.SIGTERM)
        one.send_signal(signal.SIGINT)
        one.send_signal(signal.SIGCONT)
        out, _ = one.communicate(timeout=60)
    assert one.returncode == 130
    assert "in order" in out


@pytest.mark.parametrize("late", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("first", "expected"), [(signal.SIGTERM, 130), (None, 0)])
def test_a_signal_while_python_is_taken_down_changes_no_exit_code(
    first: signal.Signals | None, late: signal.Signals, expected: int
) -> None:
    teardown = """
class Slow:
    def __del__(self, write=__import__("os").write, sleep=time.sleep):
        write(1, b"taken down\\n")
        sleep(1)
slow = Slow()
"""
    code = teardown + PROGRAM.format(stopping=0, ending=0)
    code = "import time\n" + (code if first else code.replace("time.sleep(100)", "pass"))
    with running(code) as one:
        assert one.stdout is not None
        sent = False
        for line in one.stdout:
            if line == "running\n" and first:
                one.send_signal(first)
            if line == "taken down\n":
                one.send_signal(late)
                sent = True
                break
        one.communicate(timeout=60)
    assert sent
    assert one.returncode == expected


def test_background_jobs_of_a_shell_go_on_ignoring_ctrl_c() -> None:
    code = PROGRAM.format(stopping=0, ending=0).replace("signal.default_int_handler", "signal.SIG_IGN")
    code = code.replace("time.sleep(100)", "time.sleep(2)")
    with running(code) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "running\n"
        one.send_signal(signal.SIGINT)
        one.communicate(timeout=60)
    assert one.returncode == 0
