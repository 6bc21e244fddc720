"""The commands and the client that talk to a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from live_server import Served
from synthetic import files_of
from wsi_segment.errors import InputError, RunError
from wsi_segment.service.cli.commands import submit
from wsi_segment.service.cli.main import main


def test_the_commands_talk_to_a_server(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ["--server", served.url]
    assert main(["submit", "slides/s0.tiff", "--model", "channels", "--wait", *server]) == 0
    job = capsys.readouterr().out.splitlines()[0]
    out, outlines = tmp_path / "m.zarr", tmp_path / "m.geojson"
    arguments = ["fetch", job, "--out", str(out), "--geojson", str(outlines), "--preview", str(tmp_path / "p.png")]
    assert main([*arguments, *server]) == 0
    assert files_of(out) == files_of(served.data / "results" / job / "mask.zarr")
    assert json.loads(outlines.read_text())["features"]
    assert main(["status", job, "--json", *server]) == 0
    assert json.loads(capsys.readouterr().out.partition("\n{")[2].join(["{", ""]))["status"] == "successful"
    (tmp_path / "m.csv").write_text("slide,mpp,model\nslides/s0.tiff,,channels\nslides/s1.tiff,,channels\n")
    assert main(["submit", "--manifest", str(tmp_path / "m.csv"), "--wait", *server]) == 0
    capsys.readouterr()
    assert main(["status", *server]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[:2]] == ["s1.tiff", "s0.tiff"]
    assert main(["status", job, "--cancel", *server]) == 0
    assert capsys.readouterr().out.rstrip().endswith("s0.tiff  had ended before")
    for bad, said in (
        (["submit", "slides/none.tiff"], "path map"),
        (["fetch", "0" * 24, "--out", str(tmp_path / "n.zarr")], "no job or batch of yours"),
        (["status", "0" * 24], "no job or batch of yours"),
        (["fetch", job, "--out", str(out)], "already exists"),
    ):
        assert main([*bad, *server]) == 2
        assert said in capsys.readouterr().err


def test_flags_that_a_manifest_would_drop_are_refused(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.csv").write_text("slide\nslides/s0.tiff\n")
    (tmp_path / "r.json").write_text('{"type": "Polygon", "coordinates": []}')
    flags = (("model", "channels"), ("mpp", "1"), ("overlap", "0"), ("priority", "1"), ("region", tmp_path / "r.json"))
    for name, value in flags:
        command = ["submit", "--manifest", str(tmp_path / "m.csv"), f"--{name}", str(value), "--server", served.url]
        assert main(command) == 2
        said = capsys.readouterr()
        assert f"--{name} is not for rows of --manifest" in said.err
        assert said.out == ""


def test_who_interrupts_waiting_is_told_where_the_job_goes_on(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(client: object, posted: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(submit, "_wait", interrupted)
    command = ["submit", "slides/s0.tiff", "slides/s1.tiff", "--model", "channels", "--wait", "--server", served.url]
    assert main(command) == 130
    said = capsys.readouterr()
    job = said.out.split()[-1]
    assert f"{job} goes on at the server, as do 1 before it; see wsi-segment status {job}" in said.err
    assert "same command" not in said.err


def test_a_copy_that_was_cut_off_is_gone_on_with_for_the_same_job_only(
    served: Served, done: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, out = tmp_path / f"m.zarr.{'0' * 24}.partial", tmp_path / "m.zarr"
    with served.client() as client:
        other.mkdir()
        whole = (served.data / "results" / done / "mask.zarr" / "zarr.json").read_bytes()
        (other / "zarr.json").write_bytes(b"x" * len(whole))
        client.fetch(done, out)
        assert files_of(out) == files_of(served.data / "results" / done / "mask.zarr")
        monkeypatch.setattr(client, "_call", lambda *_, **more: {"files": [{"path": "../../x", "size": 1}]})
        with pytest.raises(RunError, match="outside of the mask"):
            client.fetch(done, tmp_path / "n.zarr")


def test_a_client_without_a_server_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from wsi_segment.service import client

    monkeypatch.setattr(client, "_TRIES", 1)
    assert main(["status", "--server", "http://127.0.0.1:9"]) == 1
    assert "is wsi-segment serve running" in capsys.readouterr().err
    with client.Client("nonsense") as wrong, pytest.raises(InputError, match="not an address"):
        wrong.job("x")
