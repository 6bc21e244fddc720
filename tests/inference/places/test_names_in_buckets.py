"""Names of objects: a key is what the address says, whichever signs it has, and what no key can be is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from buckets import Bucket, emulated
from synthetic import ChannelNetwork, files_of, make_model, tissue_like, write_model, write_slide
from wsi_segment.errors import InputError, RunError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.verify import verify
from wsi_segment.inference.places.bucket_folder import object_folder, object_of
from wsi_segment.inference.slides.location import object_place, slide_location
from wsi_segment.service.cli.main import main

NAMES = ("a b", "a%20b", "a%2Fb", "100%", "a#b", "a?b=c&d", "a+b", "ü 日本", "a\\b", "a ", "~$[a]{b}*'\"")
RUN = SegmentOptions(region_size=512, overlap=0.0, workers=1)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with emulated() as running:
        yield running


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("names") / "s.tiff", tissue_like(700, 1100))


@pytest.fixture(scope="module")
def local(slide: Path) -> Path:
    out = slide.with_name("local.zarr")
    segment(slide, make_model(), out, RUN, network=ChannelNetwork())
    return out


class Breaking(ChannelNetwork):
    """Fails in the middle."""

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        if self.windows > 40:
            raise RunError("broken")
        return super().__call__(windows)


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_of_any_name_is_written_resumed_and_read(bucket: Bucket, slide: Path, local: Path, name: str) -> None:
    key, out = f"{name}/{name}.zarr", slide_location(f"s3://{bucket.name}/{name}/{name}.zarr")
    with pytest.raises(RunError, match="broken"):
        segment(slide, make_model(), out, RUN, network=Breaking())
    assert segment(slide, make_model(), out, RUN, network=ChannelNetwork()).regions_kept
    assert bucket.objects(f"{key}/") == files_of(local)
    assert verify(str(out)).damage == ()
    here, there = Mask.open(local), Mask.open(str(out))
    assert here.areas() == there.areas()
    assert list(here.outlines()) == list(there.outlines())


def test_a_mask_is_never_taken_for_one_of_a_like_name(bucket: Bucket, slide: Path, local: Path) -> None:
    """Beside a whole mask of the name that a decoded one would have, damage is found, and a lack is a lack."""
    plain, coded = (slide_location(f"s3://{bucket.name}/twins/{name}.zarr") for name in ("c d", "c%20d"))
    segment(slide, make_model(), plain, RUN, network=ChannelNetwork())
    with pytest.raises(Exception, match="no Zarr group"):
        Mask.open(coded)
    for key, content in files_of(local).items():
        spoilt = b"".join((content[:-1], bytes([content[-1] ^ 1]))) if "/c/" in key else content
        bucket.client.put_object(Bucket=bucket.name, Key=f"twins/c%20d.zarr/{key}", Body=spoilt)
    assert verify(coded).damage
    assert verify(plain).damage == ()


def test_slides_and_extras_of_any_name(bucket: Bucket, slide: Path, tmp_path: Path) -> None:
    name = "e f%20g#?+ü"
    write_model(tmp_path / "model")
    bucket.client.upload_file(str(slide), bucket.name, f"slides/{name}.tiff")
    common = ["--model", str(tmp_path / "model"), "--quiet"]
    for source, place in ((f"s3://{bucket.name}/slides/{name}.tiff", f"s3://{bucket.name}/x"), (slide, tmp_path)):
        extras = ["--geojson", f"{place}/{name}.geojson", "--preview", f"{place}/{name}.png"]
        assert main([str(source), "--out", f"{place}/{name}.zarr", *extras, *common]) == 0
    for made in (f"{name}.geojson", f"{name}.png"):
        assert bucket.objects(f"x/{made}")[""] == (tmp_path / made).read_bytes()
    assert bucket.objects(f"x/{name}.zarr/") == files_of(tmp_path / f"{name}.zarr")
    assert main(["verify", f"s3://{bucket.name}/x/{name}.zarr", "--quiet"]) == 0
    assert main(["info", f"s3://{bucket.name}/slides/{name}.tiff"]) == 0


@pytest.mark.parametrize(
    "scheme", ["gs://b", "az://b@account.dfs.core.windows.net", "abfss://b@account.dfs.core.windows.net"]
)
def test_all_that_reads_from_a_bucket_asks_for_the_same_key(scheme: str) -> None:
    """As far as can be seen without the store itself: prefix, bucket and account of what asks it."""
    upath = pytest.importorskip("upath")
    pytest.importorskip("obstore")
    for name in NAMES:
        folder = object_folder(upath.UPath(f"{scheme}/{name}/{name}.zarr"))
        assert folder.name() == f"{name}/{name}.zarr"
        assert folder.zarr_store().store.prefix == folder.name()
        assert folder.zarr_store().store.config == folder.client.config
        assert folder.client.config.get("account_name") == ("account" if "account" in scheme else None)
        assert object_of(folder.path) == (object_folder(folder.path.parent), f"{name}.zarr")


@pytest.mark.parametrize(
    "name", ["/x.zarr", "x//y.zarr", "../x.zarr", "x/../y.zarr", "./x.zarr", "x/.", "x\ty.zarr", "x\udcffy.zarr"]
)
def test_what_cannot_be_the_name_of_an_object_is_one_line(
    bucket: Bucket, slide: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    odd, good = f"s3://{bucket.name}/{name}", f"s3://{bucket.name}/odd/m"
    for command in (
        [str(slide), "--out", odd],
        [str(slide), "--out", f"{good}.zarr", "--geojson", odd],
        [str(slide), "--out", f"{good}.zarr", "--preview", odd],
        [odd, "--out", good],
        ["verify", odd],
        ["info", odd],
    ):
        assert main(command) == 2, command
        said = capsys.readouterr().err
        assert said.count("\n") == 1, said
        assert "address of objects" in said or "name of objects" in said
    assert not bucket.names("odd/")


@pytest.mark.parametrize("flag", ["--geojson", "--preview"])
def test_a_bucket_that_is_not_there_is_said_before_anything_is_done(
    bucket: Bucket, slide: Path, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(slide), "--out", f"s3://{bucket.name}/nothing/m.zarr", flag, "s3://not-there/extra"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"{flag} s3://not-there/extra: cannot be written (there is no bucket not-there)" in line
    assert not bucket.names("nothing/")


def test_an_address_without_a_bucket_is_one_line() -> None:
    for address in ("s3://", "s3:///x.zarr"):
        with pytest.raises(InputError, match="names no bucket"):
            slide_location(address)


def test_addresses_of_one_object_lead_to_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    upath = pytest.importorskip("upath")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "mine")
    at = ".dfs.core.windows.net"
    for addresses in (
        ("s3://b/x/a%20b", "s3a://b/x/a%20b"),
        ("gs://b/x", "gcs://b/x"),
        ("az://b/x", "abfs://b/x", "abfss://b/x", f"az://b@mine{at}/x", f"abfss://b@mine{at}/x"),
        (f"abfs://b@other{at}/x", f"abfss://b@other{at}/x"),
    ):
        assert len({object_place(upath.UPath(address)) for address in addresses}) == 1
    others = ["s3://b/x", "s3://c/x", "s3://b/y", "s3://b/a b", "s3://b/a%20b", "gs://b/x", "az://b/x"]
    others.append(f"az://b@other{at}/x")
    assert len({object_place(upath.UPath(address)) for address in others}) == len(others)
