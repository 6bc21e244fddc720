from __future__ import annotations

from pathlib import Path

import pytest

from wsi_segment.service.cli.commands.qupath import scripts_folder
from wsi_segment.service.cli.main import main


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_scripts_and_what_they_load_are_installed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "scripts" / "wsi_segment"
    assert main(["qupath", "install", "--dir", str(tmp_path / "scripts")]) == 0
    assert str(target) in capsys.readouterr().out
    assert {"wsi_segment.groovy", "install_menu.groovy", "wsisegment/Plugin.groovy"} <= names(target)
    assert {name for name in names(target) if not name.endswith(".groovy")} == set()
    (target / "wsisegment" / "Old.groovy").write_text("class Old {}")
    (target / "mine.groovy").write_text("// the user's own")
    (target / "wsi_segment.groovy").write_text("// an earlier version")
    assert main(["qupath", "install", "--dir", str(tmp_path / "scripts")]) == 0
    assert (target / "wsi_segment.groovy").read_bytes() == (scripts_folder() / "wsi_segment.groovy").read_bytes()
    assert (target / "mine.groovy").exists()
    assert not (target / "wsisegment" / "Old.groovy").exists()


def test_every_version_of_qupath_gets_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for version in ("v0.5", "v0.6"):
        (tmp_path / "QuPath" / version).mkdir(parents=True)
    assert main(["qupath", "install"]) == 0
    for version in ("v0.5", "v0.6"):
        assert (tmp_path / "QuPath" / version / "scripts" / "wsi_segment" / "remove_results.groovy").exists()


def test_without_qupath_the_remedy_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert main(["qupath", "install"]) == 2
    # a QuPath that has no user folder yet shows no script directory either
    told = capsys.readouterr().err
    assert "Edit > Preferences > QuPath user directory" in told
    assert "give --dir FOLDER" in told
    (tmp_path / "file").write_text("")
    assert main(["qupath", "install", "--dir", str(tmp_path / "file")]) == 2
    assert "not a folder" in capsys.readouterr().err


def test_without_a_java_compiler_a_jar_is_refused_with_the_other_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["qupath", "jar", "--out", str(tmp_path / "one.jar")]) == 2
    assert "no javac on the PATH; install a JDK of Java 17" in capsys.readouterr().err
    compiler = tmp_path / "javac"
    compiler.write_text("#!/bin/sh\necho 'error: release version 17 not supported' >&2; exit 2\n")
    compiler.chmod(0o755)
    assert main(["qupath", "jar", "--out", str(tmp_path / "one.jar")]) == 2
    assert "release version 17 not supported" in capsys.readouterr().err
    assert not (tmp_path / "one.jar").exists()
