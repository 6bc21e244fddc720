"""How a bucket is found and reached, as the environment says."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from buckets import Bucket, emulated
from wsi_segment.inference.places import bucket_folder
from wsi_segment.inference.places.bucket_client import reason_of
from wsi_segment.inference.places.bucket_folder import ObjectFolder
from wsi_segment.inference.slides.location import is_remote, slide_location
from wsi_segment.service.cli.main import main


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with emulated() as running:
        yield running


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials in a file alone."""
    credentials, settings = tmp_path / "credentials", tmp_path / "config"
    credentials.write_text("[hospital]\naws_access_key_id = test\naws_secret_access_key = test\n")
    settings.write_text("[profile hospital]\nregion = eu-central-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(settings))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("profiles")
def test_a_profile_has_the_credentials_and_the_region(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "hospital")
    folder = ObjectFolder(f"s3://{bucket.name}/profile")
    folder.put({"a": b"1"})
    assert folder.get("a") == b"1"
    assert folder.client.config["region"] == "eu-central-1"


@pytest.mark.usefixtures("profiles")
def test_a_profile_that_is_not_there_is_one_line(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "hopital")
    assert main(["info", f"s3://{bucket.name}/a.svs"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "AWS_PROFILE hopital: The config profile (hopital) could not be found" in said


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
@pytest.mark.parametrize(
    "command", [["info", "s3://b/a.svs"], ["verify", "s3://b/m.zarr"], ["a.svs", "--out", "s3://b/m.zarr"]]
)
def test_an_address_of_a_store_that_is_none_is_one_line(
    bucket: Bucket,
    variable: str,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for address in ("127.0.0.1:9000", "minio.lan", "http://"):
        monkeypatch.setenv(variable, address)
        assert main(command) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"{variable} {address}: give an address that starts with http:// or https://" in said


def test_a_store_that_does_not_answer_is_named() -> None:
    obstore = pytest.importorskip("obstore")
    with socket.socket() as held:  # a port on which nobody listens
        held.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{held.getsockname()[1]}"
        store = obstore.store.S3Store(
            "b",
            endpoint=address,
            access_key_id="a",
            secret_access_key="b",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        with pytest.raises(obstore.exceptions.BaseError) as raised:
            obstore.get(store, "a.svs")
    assert reason_of(raised.value, "s3://b") == f"the store {address} cannot be reached (error sending request)"


@pytest.mark.parametrize(("seconds", "tries"), [(1.0, 4), (60.1, 2), (240.0, 1)])
def test_answers_that_are_cut_off_are_asked_for_again_for_a_while(
    seconds: float, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("obstore")
    folder, asked, passed = ObjectFolder("s3://b/k"), list[float](), 0.0
    monkeypatch.setattr(bucket_folder, "time", SimpleNamespace(monotonic=lambda: passed))

    def cut_off() -> None:
        nonlocal passed
        asked.append(passed)
        passed += seconds
        raise OSError("request or response body error")

    for within, expected in (({}, tries), ({"within": math.inf}, 4)):
        asked.clear()
        with pytest.raises(OSError, match="cannot be reached"):
            folder.ask(cut_off, **within)
        assert len(asked) == expected


@pytest.mark.parametrize(
    "address",
    ["gs://b/x.svs", "az://b/x.svs", "abfs://b/x.svs", "abfss://b@mine.dfs.core.windows.net/x.svs"],
)
def test_other_stores_need_nothing_that_the_extra_lacks(address: str) -> None:
    location = slide_location(address)
    assert is_remote(location)
    assert location.name == "x.svs"
