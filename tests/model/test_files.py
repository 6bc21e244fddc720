from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from wsi_segment.errors import OutputError
from wsi_segment.files import replacing, temporary_for


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with replacing(path, text=True) as file:
        file.write("µ\n")
        assert not path.exists()
    assert path.read_bytes() == "µ\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_what_fails_leaves_the_file_of_before_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"after")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes have no names in folders there")
def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="is a device or a pipe"), replacing(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()
    assert list(tmp_path.iterdir()) == [tmp_path / "pipe"]


def test_several_may_write_a_shared_file_at_once(tmp_path: Path) -> None:
    path, ready = tmp_path / "file", threading.Barrier(4)

    def write(digit: int) -> None:
        with replacing(path, shared=True) as file:
            ready.wait(120)  # all have their file open
            for _ in range(1000):
                file.write(bytes([digit]) * 100)

    threads = [threading.Thread(target=write, args=(digit,)) for digit in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = path.read_bytes()
    assert content in {bytes([digit]) * 100_000 for digit in range(4)}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_a_private_file_is_never_open_to_others(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    temporary_for(path).write_bytes(b"left by a killed process, readable by all")
    with replacing(path, private=True) as file:
        file.write(b"x")
        assert stat.S_IMODE(temporary_for(path).stat().st_mode) == 0o600
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
