"""The look at an installation."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from wsi_segment.service.cli.commands import doctor
from wsi_segment.service.cli.main import main
from wsi_segment.service.jobs.database import Database


def test_doctor_says_line_by_line_what_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = Database(tmp_path)
    database.migrate()
    database.close()
    assert main(["doctor", "--data", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", name] for name in ("versions", "providers", "codecs", "disk", "database", "self-test")
    ]
    said = dict(line.split(maxsplit=2)[1:] for line in lines)
    assert "ExecutionProvider" in said["providers"] or "CPU" in said["providers"]
    assert "JPEG 2000" in said["codecs"]
    assert str(tmp_path) in said["disk"]
    assert said["database"].startswith("sqlite, tables of version ")
    assert "windows segmented and verified" in said["self-test"]


def test_a_service_that_is_not_installed_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(doctor, "_self_test", lambda: "not this time")
    assert main(["doctor", "--data", str(tmp_path)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.split()[1] == "database")
    assert line.startswith("-       database   not checked")
    assert "the extra [service]" in line


def test_doctor_says_what_does_not_work_goes_on_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> str:
        raise OSError("no decoder\nin two lines")

    monkeypatch.setattr(doctor, "_codecs", broken)
    monkeypatch.setattr(doctor, "_self_test", lambda: "not this time")
    url = "postgresql://nobody@127.0.0.1:9/none"
    assert main(["doctor", "--data", str(tmp_path), "--database", url]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "FAILED  codecs     no decoder in two lines" in lines
    assert [line.split()[1] for line in lines if line.startswith("FAILED")] == ["codecs", "database"]
    assert lines[-1] == "ok      self-test  not this time"
