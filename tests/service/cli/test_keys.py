"""Keys by command."""

from __future__ import annotations

from pathlib import Path

import pytest

from live_server import Served, write_slides
from wsi_segment.service.cli.main import main
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.keys import Keys


def test_keys_are_made_listed_and_revoked_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path)]
    assert main(["keys", "create", "anna", "--scope", "read", "--days", "2", *data]) == 0
    token = capsys.readouterr().out.strip()
    assert len(token) > 43
    assert main(["keys", "create", "anna", *data]) == 2
    assert main(["keys", "list", *data]) == 0
    listed = capsys.readouterr().out
    assert "anna\tread\t" in listed
    assert token not in listed
    assert main(["keys", "revoke", "anna", *data]) == 0
    assert main(["keys", "revoke", "nobody", *data]) == 2
    assert main(["keys", "create", *data]) == 2
    database = Database(tmp_path)
    assert Keys(database).check(token) is None
    database.close()


def test_a_folder_without_a_service_has_no_keys_and_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for action in (["list"], ["actions"], ["revoke", "anna"]):
        assert main(["keys", *action, "--data", str(tmp_path / "typo")]) == 2
        assert "typo: no service keeps its data there" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()


def test_a_key_that_is_missing_or_wrong_is_asked_for_as_the_command_takes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WSI_SEGMENT_KEY", raising=False)
    folder = write_slides(tmp_path / "served")
    assert main(["keys", "create", "anna", "--data", str(folder / "data")]) == 0
    token = capsys.readouterr().out.strip()
    with Served(folder, "--workers", 0) as served:
        for key in ([], ["--key", "wrong"]):
            assert main(["status", "--server", served.url, *key]) == 2
            said = capsys.readouterr().err
            assert "give one as --key, or in WSI_SEGMENT_KEY" in said
            assert "Bearer" not in said
        assert main(["status", "--server", served.url, "--key", token]) == 0
