"""The settings of a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsi_segment.errors import InputError
from wsi_segment.service.settings import Settings, load_settings


def test_settings_come_from_flags_then_environment_then_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "server.toml"
    config.write_text('workers = 7\nport = 7\nhost = "::1"\nroot = ["a=/x", "/y"]\nmax_body = "1MiB"\n')
    monkeypatch.setenv("WSI_SEGMENT_WORKERS", "6")
    monkeypatch.setenv("WSI_SEGMENT_PORT", "6")
    monkeypatch.setenv("WSI_SEGMENT_ALLOWED_HOST", "a.example, b.example")
    settings = load_settings({"port": "5"}, config)
    assert (settings.port, settings.workers, settings.host) == (5, 6, "::1")
    assert settings.root == ("a=/x", "/y")
    assert settings.allowed_host == ("a.example", "b.example")
    assert settings.max_body == 1 << 20
    config.write_text("colour = 1\n")
    with pytest.raises(InputError, match="unknown key 'colour'"):
        load_settings({}, config)
    with pytest.raises(InputError, match="`port 99999`"):
        load_settings({"port": "99999"}, None)


def test_every_setting_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "guide" / "serve.md").read_text(encoding="utf-8")
    for name in Settings.model_fields:
        assert f"`--{name.replace('_', '-')}`" in text, name
