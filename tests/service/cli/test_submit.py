"""``submit`` for other programs, through real proxies, and while the server comes and goes."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from live_server import Served, write_slides
from reverse_proxies import nginx
from wsi_segment.service import client as client_module
from wsi_segment.service.cli.main import main
from wsi_segment.service.client import Client


def test_standard_output_has_the_id_and_nothing_else(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["submit", "slides/s0.tiff", "--model", "channels", "--wait", "--server", served.url]
    assert main(command) == 0
    said = capsys.readouterr()
    assert len(said.out) == 25
    assert said.out.strip().isalnum()
    assert f"{said.out.strip()}: successful" in said.err
    assert main([*command, "--json"]) == 0
    job = json.loads(capsys.readouterr().out)
    assert (job["status"], job["slide_name"]) == ("successful", "s0.tiff")
    assert main([*command, "--width", "901"]) == 2
    assert "901 there" in capsys.readouterr().err


def test_a_proxy_of_the_environment_is_not_for_this_machine(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert main(["status", "--server", served.url]) == 0


def test_a_private_authority_is_given_by_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Served(write_slides(tmp_path / "s"), "--workers", 0, "--root-path", "/wsi") as served:
        (tmp_path / "n").mkdir()
        with nginx(tmp_path / "n", served.port) as (port, certificate):
            server = ["--server", f"https://localhost:{port}/wsi"]
            assert main(["status", *server, "--ca", str(certificate)]) == 0
            monkeypatch.setenv("WSI_SEGMENT_CA", "")  # which is none
            assert main(["status", *server]) != 0
            assert "of no authority that is known here" in capsys.readouterr().err
            (tmp_path / "bad.pem").write_text("no certificate")
            for wrong in (tmp_path / "bad.pem", tmp_path / "none.pem"):
                assert main(["status", *server, "--ca", str(wrong)]) == 2
                assert "not a file of certificates" in capsys.readouterr().err


def test_waiting_outlives_a_server_that_is_away_behind_its_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nginx answers 502 while the server starts again; the same address, the same job."""
    monkeypatch.setattr(client_module, "_TRIES", 40)  # a busy machine may need longer for a start than a client waits
    folder = write_slides(tmp_path / "s")
    with Served(folder, "--workers", 1, "--root-path", "/wsi", holds=True) as served:
        (tmp_path / "n").mkdir()
        with nginx(tmp_path / "n", served.port) as (port, ca), Client(f"https://localhost:{port}/wsi", ca=ca) as client:
            with served.held():
                job = client.submit("slides/s0.tiff", model="channels")["id"]
                ended: list[str] = []
                waiting = threading.Thread(target=lambda: ended.append(client.wait(job)["status"]))
                waiting.start()
                served.stop()
                assert client._http.get("/v1/jobs").status_code == 502
            served.start()
            waiting.join(600)
            assert ended == ["successful"]
