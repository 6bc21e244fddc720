"""Masks in an S3 emulator: the objects are the local files, whatever happens on the way."""

from __future__ import annotations

import errno
import json
import os
import pickle
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest
import zarr

from buckets import Bucket, emulated
from dying_runs import run_slowly
from forked_runs import Forked
from synthetic import ChannelNetwork, files_of, make_model, tissue_like, write_model, write_slide
from wsi_segment.errors import OutputError, RunError, SlideError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.partial import Output
from wsi_segment.inference.mask.region_writer import RegionWriter
from wsi_segment.inference.mask.summary import Summary
from wsi_segment.inference.mask.verify import verify
from wsi_segment.inference.places import bucket_shards
from wsi_segment.inference.places import lease as leases
from wsi_segment.inference.places.bucket_folder import ObjectFolder, TakenError
from wsi_segment.inference.places.bucket_shards import ShardFolder
from wsi_segment.inference.places.bucket_site import BucketSite
from wsi_segment.inference.places.ledger_records import run_name, sealed
from wsi_segment.inference.places.sites import writing
from wsi_segment.inference.progress import Progress
from wsi_segment.inference.slides.location import slide_location
from wsi_segment.service.cli.main import main

KILLS = int(os.environ.get("WSI_SEGMENT_BUCKET_KILLS", "10"))
RUN = SegmentOptions(region_size=512, overlap=0.0, workers=2)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with emulated() as running:
        yield running


@pytest.fixture(autouse=True)
def undisturbed(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(bucket_shards, "TRUSTED_SECONDS", 0.1)
    yield
    bucket.fault = lambda number, method, path: None
    bucket.requests.clear()


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = tissue_like(1100, 2200)
    pixels[:, :520] = 255  # a shard of each level is empty
    return write_slide(tmp_path_factory.mktemp("bucket") / "s.tiff", pixels)


@pytest.fixture(scope="module")
def local(slide: Path) -> dict[str, bytes]:
    out = slide.with_name("local.zarr")
    segment(slide, make_model(), out, RUN, network=ChannelNetwork())
    return files_of(out)


def out_of(bucket: Bucket, name: str) -> Any:
    return slide_location(f"s3://{bucket.name}/masks/{name}.zarr")


def make(slide: Path, bucket: Bucket, name: str, **changes: Any) -> Summary:
    options = SegmentOptions(**{"region_size": 512, "overlap": 0.0, "workers": 2} | changes)
    return segment(slide, make_model(), out_of(bucket, name), options, network=ChannelNetwork())


@pytest.mark.parametrize(("version", "probabilities"), [("0.5", False), ("0.5", True), ("0.4", True)])
def test_objects_are_the_local_files(
    bucket: Bucket, slide: Path, tmp_path: Path, version: str, probabilities: bool
) -> None:
    name = f"same-{version}-{probabilities}"
    options = SegmentOptions(region_size=1024, ome_zarr=version, probabilities=probabilities)  # type: ignore[arg-type]
    for out in (tmp_path / f"{name}.zarr", out_of(bucket, name)):
        segment(slide, make_model(), out, options, network=ChannelNetwork())
    assert bucket.objects(f"masks/{name}.zarr/") == files_of(tmp_path / f"{name}.zarr")
    beside = [one for one in bucket.names("masks/") if name in one and f"{name}.zarr/" not in one]
    assert beside == [f"masks/{name}.summary.csv", f"masks/{name}.summary.json"]
    found = verify(str(out_of(bucket, name)))
    assert found.damage == ()
    assert found.regions == 6
    here, there = Mask.open(tmp_path / f"{name}.zarr"), Mask.open(str(out_of(bucket, name)))
    assert here.areas() == there.areas()
    assert list(here.outlines()) == list(there.outlines())


def test_damage_in_a_bucket_is_found(bucket: Bucket, slide: Path) -> None:
    make(slide, bucket, "damaged")
    name = next(one for one in bucket.names("masks/damaged.zarr/") if "/c/" in one)
    body = bytearray(bucket.objects(name)[""])
    body[len(body) // 2] ^= 1
    bucket.client.put_object(Bucket=bucket.name, Key=name, Body=bytes(body))
    assert verify(str(out_of(bucket, "damaged"))).damage


def test_a_shard_is_one_put_and_nothing_else(bucket: Bucket, slide: Path, local: dict[str, bytes]) -> None:
    started = time.monotonic()
    summary = make(slide, bucket, "counted")
    seconds = time.monotonic() - started
    shards = [key for key in local if re.search(r"/\d+/c/", key)]
    for key in shards:
        made = [method for method, path in bucket.requests if path.endswith(f"counted.zarr/{key}")]
        assert made == ["PUT"], key
    assert bucket.made("PUT", r"counted\.zarr/labels/segmentation/\d+/c/") == len(shards)
    assert bucket.made("PUT", r"/regions-\w+/") == summary.regions
    assert bucket.made("GET", r"/regions-\w+/") == bucket.made("GET", r"counted\.zarr/.*/c/") == 0
    others = len(bucket.requests) - len(shards) - summary.regions
    assert others <= 100 + seconds / 10
    puts = [path.partition("counted.zarr/")[2] for method, path in bucket.requests if method == "PUT"]
    stores = [key for key in puts if key]
    assert stores[-1] == "zarr.json"
    assert all(not key.endswith("zarr.json") for key in stores[: len(shards)])


def test_a_mask_that_is_not_finished_opens_nowhere(bucket: Bucket, slide: Path) -> None:
    import ome_zarr_models

    seen: list[int] = []

    class Looking(ChannelNetwork):
        def __call__(self, windows: np.ndarray) -> np.ndarray:
            if self.windows > 60 and not seen:
                seen.append(len(bucket.names("masks/half.zarr/")))
                store = ObjectFolder(f"s3://{bucket.name}/masks/half.zarr").zarr_store()
                for group in ("", "labels", "labels/segmentation"):
                    with pytest.raises(FileNotFoundError):
                        ome_zarr_models.open_ome_zarr(zarr.open_group(store, path=group, mode="r"))
                for opened in (Mask.open, verify):
                    with pytest.raises(OutputError):
                        opened(str(out_of(bucket, "half")))
            return super().__call__(windows)

    segment(slide, make_model(), out_of(bucket, "half"), RUN, network=Looking())
    assert seen[0] > 0
    assert verify(str(out_of(bucket, "half"))).damage == ()


class Cut(Exception):  # noqa: N818
    """What ends a run in the middle."""


@pytest.mark.parametrize("kept", [0, 1, 3, 4, 5])
def test_metadata_appears_from_the_leaves_to_the_root(
    bucket: Bucket, slide: Path, local: dict[str, bytes], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off at any of its last objects, there is no mask; then the same command finishes it."""
    folder, whole, put = ObjectFolder(f"s3://{bucket.name}/masks/leaves-{kept}.zarr"), ShardFolder.put, 0

    def some(self: ShardFolder, contents: Any) -> None:
        nonlocal put
        for key, content in contents.items():
            put += key.endswith("zarr.json")
            if put > kept:
                raise Cut
            whole(self, {key: content})

    with monkeypatch.context() as cutting:
        cutting.setattr(ShardFolder, "put", some)
        with pytest.raises(Cut):
            make(slide, bucket, f"leaves-{kept}")
    assert len([key for key in folder.find() if key.endswith("zarr.json")]) == kept
    for group in ("", "labels", "labels/segmentation"):
        if folder.get(f"{group}/zarr.json".strip("/")) is not None:  # then all below it is there
            assert {key for key in local if key.startswith(group)} <= set(folder.find())
    with pytest.raises(OutputError):
        Mask.open(str(folder.path))
    assert make(slide, bucket, f"leaves-{kept}").regions_kept == 15
    assert bucket.objects(f"masks/leaves-{kept}.zarr/") == local


def test_what_is_there_is_replaced_only_where_that_is_wanted(
    bucket: Bucket, slide: Path, local: dict[str, bytes]
) -> None:
    make(slide, bucket, "again", tissue="none")
    with pytest.raises(OutputError, match="already exists"):
        make(slide, bucket, "again")
    make(slide, bucket, "again", overwrite=True)
    assert bucket.objects("masks/again.zarr/") == local
    bucket.client.put_object(Bucket=bucket.name, Key="masks/foreign.zarr/notes.txt", Body=b"mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"already exists|is not a mask of wsi-segment"):
            make(slide, bucket, "foreign", overwrite=overwrite)
    assert bucket.objects("masks/foreign.zarr/") == {"notes.txt": b"mine"}


class Breaking(ChannelNetwork):
    """Fails after some windows."""

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        if self.windows > 60:
            raise RunError("broken")
        return super().__call__(windows)


def test_another_run_neither_continues_nor_mixes(bucket: Bucket, slide: Path, local: dict[str, bytes]) -> None:
    other = SegmentOptions(region_size=512, overlap=0.5, workers=2)
    with pytest.raises(RunError, match="broken"):
        segment(slide, make_model(), out_of(bucket, "mixed"), other, network=Breaking())
    with pytest.raises(OutputError, match=r"was started with parameters.overlap = 0.5"):
        make(slide, bucket, "mixed")
    make(slide, bucket, "mixed", overwrite=True)
    assert bucket.objects("masks/mixed.zarr/") == local


def test_overwriting_that_was_cut_off_goes_on_without_being_told_twice(
    bucket: Bucket, slide: Path, local: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(slide, bucket, "cut", tissue="none")
    delete = ObjectFolder.delete

    def some(self: ObjectFolder, keys: Any) -> None:
        listed = list(keys)
        if len(listed) > 10:
            delete(self, listed[:5])
            raise OSError("cut off")
        delete(self, listed)

    with monkeypatch.context() as cutting:
        cutting.setattr(ObjectFolder, "delete", some)
        with pytest.raises(RunError, match="cut off"):
            make(slide, bucket, "cut", overwrite=True)
    with pytest.raises(OutputError, match="not a mask"):
        Mask.open(str(out_of(bucket, "cut")))
    make(slide, bucket, "cut")
    assert bucket.objects("masks/cut.zarr/") == local


def test_a_run_may_be_written_and_finished_by_other_processes(
    bucket: Bucket, slide: Path, local: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What travels to them is pickled: the writer, and in the end what coarse levels are made from."""
    finish = Output.finish

    def elsewhere(self: Output, provenance: Any, step: Any, make: Any = None) -> None:
        def travel(regions: Any, step: Any) -> Any:
            store, arrived = pickle.loads(pickle.dumps((self._store, tuple(regions))))
            for region in arrived:
                store.keep(region)
            try:
                return store.finish(arrived, provenance, step)
            finally:
                store.close()

        finish(self, provenance, step, travel)

    monkeypatch.setattr(Output, "finish", elsewhere)
    write = RegionWriter.write

    def pickled(self: RegionWriter, *args: Any, **kwargs: Any) -> Any:
        return write(pickle.loads(pickle.dumps(self)), *args, **kwargs)

    monkeypatch.setattr(RegionWriter, "write", pickled)
    make(slide, bucket, "elsewhere")
    assert bucket.objects("masks/elsewhere.zarr/") == local


def spoiled(bucket: Bucket, kind: str, every: int) -> None:
    bucket.fault = lambda number, method, path: kind if number % every == 0 else None


def test_a_slide_that_is_replaced_in_its_bucket_while_it_is_read_gives_no_mask(
    bucket: Bucket, slide: Path, tmp_path: Path
) -> None:
    bucket.client.upload_file(str(slide), bucket.name, "changing.tiff")
    other = write_slide(tmp_path / "other.tiff", tissue_like(1100, 2200, seed=1))

    def replace_it(told: Progress) -> None:
        if told.stage == "segment" and told.done:
            bucket.client.upload_file(str(other), bucket.name, "changing.tiff")

    where = slide_location(f"s3://{bucket.name}/changing.tiff")
    with pytest.raises(SlideError, match=r"changing\.tiff: was replaced or written to while it was read"):
        segment(where, make_model(), tmp_path / "m.zarr", RUN, report=replace_it, network=ChannelNetwork())
    assert not (tmp_path / "m.zarr").exists()


@pytest.mark.parametrize("kind", ["503", "done but 500", "cut"])
def test_requests_that_fail_are_made_again(bucket: Bucket, slide: Path, local: dict[str, bytes], kind: str) -> None:
    spoiled(bucket, kind, 10)
    make(slide, bucket, f"spoiled {kind}")
    spoiled(bucket, kind, 10**9)
    assert bucket.objects(f"masks/spoiled {kind}.zarr/") == local
    assert not bucket.names(f"masks/spoiled {kind}.zarr.partial/")


def test_a_file_in_parts_whose_last_answer_is_cut_off_is_there_as_a_whole(bucket: Bucket) -> None:
    complete, content = [], bytes(range(256)) * (6 << 12)

    def cut_first(number: int, method: str, path: str) -> str | None:
        complete.append(method == "POST" and "uploadId" in path)
        return "cut" if complete[-1] and sum(complete) == 1 else None

    bucket.fault = cut_first
    with writing(slide_location(f"s3://{bucket.name}/large")) as file:
        file.write(content)
    assert sum(complete) == 2
    assert bucket.objects("large") == {"": content}


def test_a_lease_that_was_created_though_the_answer_was_500_is_ones_own(bucket: Bucket) -> None:
    bucket.fault = lambda number, method, path: "done but 500" if method == "PUT" and number < 3 else None
    bucket.requests.clear()
    lease = leases.Lease(ObjectFolder(f"s3://{bucket.name}/lease-500"), "it")
    lease.acquire()
    assert bucket.made("PUT", "lease-500") >= 2
    bucket.fault = lambda number, method, path: "done but 500" if method == "PUT" and number % 2 else None
    for _ in range(4):
        lease._renew()
    lease.check()
    lease.release()
    assert not bucket.names("lease-500/")


def test_silence_is_waited_for(bucket: Bucket, slide: Path, local: dict[str, bytes]) -> None:
    bucket.seconds = float(os.environ.get("WSI_SEGMENT_SILENCE", "3"))
    bucket.fault = lambda number, method, path: "silence" if number == 25 else None
    bucket.requests.clear()
    make(slide, bucket, "silent")
    assert bucket.objects("masks/silent.zarr/") == local


def test_two_commands_on_one_output(bucket: Bucket, slide: Path, local: dict[str, bytes]) -> None:
    ends: list[str] = []

    def one() -> None:
        try:
            make(slide, bucket, "twice")
            ends.append("written")
        except OutputError as error:
            ends.append(str(error))

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends.count("written") == 1, ends
    assert all("another run is writing it" in end or "already exists" in end for end in ends if end != "written")
    assert bucket.objects("masks/twice.zarr/") == local


@pytest.mark.parametrize("left", [("lease",), ("lease", "run"), ("lease", "run", "regions-0123/0,0")])
def test_what_a_run_left_that_was_killed_after_its_last_object_goes(
    bucket: Bucket, slide: Path, left: tuple[str, ...]
) -> None:
    name = f"left-{len(left)}"
    make(slide, bucket, name)
    for key in left:
        bucket.client.put_object(Bucket=bucket.name, Key=f"masks/{name}.zarr.partial/{key}", Body=b"{}")
    dead = json.dumps({"token": "0", "host": "h", "pid": 1, "machine": leases._machine(), "born": "0"}).encode()
    bucket.client.put_object(Bucket=bucket.name, Key=f"masks/{name}.zarr.partial/lease", Body=dead)
    with pytest.raises(OutputError, match="already exists"):
        make(slide, bucket, name)
    assert not bucket.names(f"masks/{name}.zarr.partial/")
    assert verify(str(out_of(bucket, name))).damage == ()


def test_nobody_is_waited_for_where_a_mask_is_complete(
    bucket: Bucket, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds what lies beside may still remove it; watching its lease would take half a minute, unsaid."""
    make(slide, bucket, "held")
    lease = elsewhere(ObjectFolder(f"s3://{bucket.name}/masks/held.zarr.partial"))
    with monkeypatch.context() as patched:
        patched.setattr(leases, "time", Clock(lambda: pytest.fail("it is waited for")))
        with pytest.raises(OutputError, match="already exists"):
            make(slide, bucket, "held")
    lease.check()
    lease.release()


def test_one_of_many_owns_a_lease(bucket: Bucket) -> None:
    folder = ObjectFolder(f"s3://{bucket.name}/contended")
    for _ in range(3):
        owners: list[leases.Lease] = []

        def ask(owners: list[leases.Lease] = owners) -> None:
            lease = leases.Lease(folder, "it")
            try:
                lease.acquire()
            except OutputError:
                return
            owners.append(lease)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(owners) == 1
        owners[0].release()


class Clock:
    """Time that passes while somebody sleeps."""

    CLOCK_BOOTTIME = 7

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        self.seconds, self._told = 1000.0, told

    def clock_gettime(self, clock: int) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self._told()


def elsewhere(folder: ObjectFolder) -> leases.Lease:
    """A lease of another machine, which beats only when it is told to."""
    lease = leases.Lease(folder, "it")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(leases, "_machine", lambda: "another machine")
        lease.acquire()
        lease._ended.set()
    return lease


def test_a_lease_of_another_machine_is_taken_once_its_owner_has_long_not_been_certain(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner's certainty ends before, and whatever the store's clock says of the lease."""
    certain, folder = list[bool](), ObjectFolder(f"s3://{bucket.name}/abandoned")
    clock = Clock(lambda: certain.append(dead.is_certain()))
    monkeypatch.setattr(leases, "time", clock)
    dead = elsewhere(folder)
    heir = leases.Lease(folder, "it")
    began = clock.seconds
    heir.acquire()
    assert clock.seconds - began == leases.EXPIRY
    assert certain[0]
    assert not any(certain[-5:])
    dead._renew()
    with pytest.raises(OutputError, match="has taken over"):
        dead.check()
    dead.release()
    heir.check()
    assert bucket.names("abandoned/") == ["abandoned/lease"]
    heir.release()
    with pytest.raises(TakenError):
        folder.replace("lease", b"{}", {"e_tag": '"0"'})


def test_a_lease_of_another_machine_that_shows_a_sign_of_life_is_left_to_it(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ObjectFolder(f"s3://{bucket.name}/alive")
    clock = Clock(lambda: owner._renew() if clock.seconds >= 1000 + leases.BEAT else None)
    monkeypatch.setattr(leases, "time", clock)
    owner = elsewhere(folder)
    said: list[tuple[float, str]] = []
    with pytest.raises(OutputError, match=r"another run is writing it \(.+, process \d+\); wait for it"):
        leases.Lease(folder, "it").acquire(lambda reason: said.append((clock.seconds, reason)))
    assert said[0][0] == 1000
    assert re.fullmatch(r"for up to 30 s to see whether the run that .+ \(.+, process \d+\) still lives", said[0][1])
    assert clock.seconds == 1000 + leases.BEAT
    owner.check()
    owner.release()
    heir = leases.Lease(folder, "it")
    heir.acquire()
    heir.release()


@pytest.mark.parametrize("content", [{}, {"token": 1, "host": "h", "pid": "?", "machine": "m", "born": 1.0}, [1]])
def test_a_lease_that_another_program_wrote_is_taken_once_it_shows_no_sign_of_life(
    bucket: Bucket, content: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, clock = ObjectFolder(f"s3://{bucket.name}/foreign"), Clock()
    monkeypatch.setattr(leases, "time", clock)
    monkeypatch.setattr(leases, "_machine", lambda: "m")
    folder.put({"lease": json.dumps(content).encode()})
    heir = leases.Lease(folder, "it")
    heir.acquire()
    assert clock.seconds == 1000 + leases.EXPIRY
    folder.put({"lease": json.dumps(content).encode()})
    heir._renew()
    with pytest.raises(OutputError, match="another run has taken over"):
        heir.check()
    heir.release()
    folder.delete(["lease"])


@pytest.mark.parametrize("lives", [True, False])
def test_a_lease_of_an_earlier_version_on_this_machine_is_judged_by_its_signs_of_life(
    bucket: Bucket, lives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ObjectFolder(f"s3://{bucket.name}/earlier-{lives}")
    clock = Clock(lambda: owner._renew() if lives else None)
    monkeypatch.setattr(leases, "time", clock)
    owner, heir = leases.Lease(folder, "it"), leases.Lease(folder, "it")
    with monkeypatch.context() as patched:
        patched.setattr(leases, "_born", lambda pid: 1796000000.5)
        owner.acquire()
    owner._ended.set()
    if lives:
        with pytest.raises(OutputError, match="another run is writing it"):
            heir.acquire()
    else:
        heir.acquire()
        assert clock.seconds == 1000 + leases.EXPIRY
        heir.release()
    owner.release()


def test_a_lease_that_its_owner_lets_go_while_it_is_watched_is_taken(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ObjectFolder(f"s3://{bucket.name}/let-go")
    clock = Clock(lambda: owner.release() if clock.seconds >= 1000 + leases.BEAT else None)
    monkeypatch.setattr(leases, "time", clock)
    owner, heir = elsewhere(folder), leases.Lease(folder, "it")
    heir.acquire()
    assert clock.seconds < 1000 + leases.EXPIRY
    heir.check()
    heir.release()


def test_a_store_that_refuses_a_lease_and_shows_none_is_not_asked_for_ever(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = list[float]()
    clock = Clock()
    monkeypatch.setattr(leases, "time", clock)

    def refuse(self: ObjectFolder, key: str, content: bytes, writer: str = "") -> None:
        tries.append(clock.seconds)
        if len(tries) > 100:
            raise OSError("asked for ever")
        raise TakenError(key)

    monkeypatch.setattr(ObjectFolder, "create", refuse)
    with pytest.raises(OutputError, match="it: another run is writing it; wait for it"):
        leases.Lease(ObjectFolder(f"s3://{bucket.name}/refused"), "it").acquire()
    assert len(set(tries)) == len(tries) > 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only a clock tells when a process began")
def test_a_process_of_this_machine_keeps_its_lease_though_the_clock_is_set(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ObjectFolder(f"s3://{bucket.name}/set")
    owner = leases.Lease(folder, "it")
    owner.acquire()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: 0.0)
    with pytest.raises(OutputError, match="another run is writing it"):
        leases.Lease(folder, "it").acquire()
    owner.release()


def test_what_an_earlier_try_has_written_is_no_sign_of_life_now(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have watched the lease since then."""
    folder, replace = ObjectFolder(f"s3://{bucket.name}/answerless"), ObjectFolder.replace
    clock = Clock()
    monkeypatch.setattr(leases, "time", clock)
    owner = elsewhere(folder)

    def written_without_a_word(self: ObjectFolder, *args: Any) -> Any:
        replace(self, *args)
        raise OSError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(ObjectFolder, "replace", written_without_a_word)
        owner._renew()
    clock.seconds += leases.EXPIRY
    owner.check()
    assert not owner.is_certain()
    owner.check()
    assert owner.is_certain()
    owner.release()


def test_a_mask_that_was_finished_since_a_run_looked_is_not_replaced(bucket: Bucket, slide: Path) -> None:
    finished: list[Summary] = []

    def look(told: Progress) -> None:
        if not finished:
            finished.append(make(slide, bucket, "meanwhile", tissue="none"))

    with pytest.raises(OutputError, match="already exists"):
        segment(slide, make_model(), out_of(bucket, "meanwhile"), RUN, report=look, network=ChannelNetwork())
    assert finished
    assert verify(str(out_of(bucket, "meanwhile"))).damage == ()
    assert Mask.open(str(out_of(bucket, "meanwhile"))).provenance["parameters"]["tissue"] == "none"


def test_a_mask_of_a_run_that_was_replaced_while_it_was_put_does_not_appear(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, body = BucketSite(out_of(bucket, "late")), b'{"run": "old"}'
    site.acquire(run_name(body))
    site.records.start(body)
    site.check()
    monkeypatch.setattr(leases.Lease, "is_certain", lambda self: False)  # it is stopped here, for long
    ObjectFolder(f"{site.final}.partial").put({bucket_shards.RUN: sealed(b'{"run": "new"}')})
    with pytest.raises(OSError, match="another run has been started in its place"):
        site.publish({"labels/zarr.json": b"{}", "zarr.json": b"{}"})
    site.release()
    assert bucket.names("masks/late") == ["masks/late.zarr.partial/run"]


def test_a_place_that_cannot_be_tidied_is_let_go(bucket: Bucket, slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(slide, bucket, "untidy")
    bucket.client.put_object(Bucket=bucket.name, Key="masks/untidy.zarr.partial/regions-0123/0,0", Body=b"{}")
    delete = ObjectFolder.delete

    def refusing(self: ObjectFolder, keys: Any) -> None:
        listed = list(keys)
        if listed != ["lease"]:
            raise OSError(errno.EIO, "access is denied")
        delete(self, listed)

    with monkeypatch.context() as patched:
        patched.setattr(ObjectFolder, "delete", refusing)
        with pytest.raises(OutputError, match="cannot be looked at: access is denied"):
            BucketSite(out_of(bucket, "untidy")).tidy()
    assert bucket.names("masks/untidy.zarr.partial/") == ["masks/untidy.zarr.partial/regions-0123/0,0"]


@pytest.fixture
def guarded(bucket: Bucket) -> Iterator[dict[str, tuple[str, str]]]:
    """Key and secret of each user of a store that checks them: one may read, one has a wrong secret, one is unknown."""
    iam = bucket.client_of("iam")
    iam.create_user(UserName="reader")
    allowed = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=policy)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    reader = key["AccessKeyId"], key["SecretAccessKey"]
    with urlopen(Request(f"{bucket.direct}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"}, method="POST")):
        pass
    yield {"reads alone": reader, "wrong secret": (reader[0], "wrong"), "unknown": ("AKIAUNKNOWN", "wrong")}
    with urlopen(
        Request(f"{bucket.direct}/moto-api/reset-auth", b"inf", {"Content-Type": "text/plain"}, method="POST")
    ):
        pass
    iam.delete_access_key(UserName="reader", AccessKeyId=reader[0])
    iam.delete_user_policy(UserName="reader", PolicyName="read")
    iam.delete_user(UserName="reader")


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("reads alone", "access is denied"),
        ("wrong secret", "the credentials are not accepted (SignatureDoesNotMatch)"),
        ("unknown", "the credentials are not accepted (InvalidAccessKeyId)"),
    ],
)
def test_what_the_store_refuses_is_one_line(
    bucket: Bucket,
    slide: Path,
    guarded: dict[str, tuple[str, str]],
    user: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", guarded[user][0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", guarded[user][1])
    assert main([str(slide), "--out", f"s3://{bucket.name}/masks/refused.zarr", "--quiet"]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("wsi-segment:")]
    assert len(error) == 1
    assert said in error[0]
    if user != "reads alone":
        assert main(["verify", f"s3://{bucket.name}/masks/refused.zarr"]) == 1
        assert (
            capsys.readouterr().err == f"wsi-segment: s3://{bucket.name}/masks/refused.zarr: cannot be read: {said}\n"
        )


def test_a_missing_bucket_and_a_dead_store_are_one_line(
    bucket: Bucket, slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(slide), "--out", "s3://no-such-bucket/m.zarr", "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "there is no bucket no-such-bucket" in said
    assert main([str(slide), "--out", "https://example.org/m.zarr", "--quiet"]) == 2
    assert "object store" in capsys.readouterr().err
    for flag in ("--geojson", "--preview"):
        out = tmp_path / "never.zarr"
        assert main([str(slide), "--out", str(out), flag, "s3://no-such-bucket/m", "--quiet"]) == 2
        assert f"{flag} s3://no-such-bucket/m: cannot be written (there is no bucket" in capsys.readouterr().err
        assert not out.exists()
    assert main(["verify", "s3://no-such-bucket/m.zarr"]) == 1
    assert "m.zarr: cannot be read: there is no bucket no-such-bucket" in capsys.readouterr().err
    with pytest.raises(RunError, match="there is no bucket no-such-bucket"):
        Mask.open("s3://no-such-bucket/m.zarr")


def test_a_store_that_stops_answering_is_no_damage(
    bucket: Bucket, slide: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(out_of(bucket, "stops"))
    make(slide, bucket, "stops")
    bucket.fault = lambda number, method, path: "403" if "/c/" in path else None
    assert main(["verify", place, "--quiet"]) == 1
    assert capsys.readouterr().err == f"wsi-segment: {place}: cannot be read: access is denied\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    write_slide(folder / "s.tiff", tissue_like(1100, 2000))
    write_model(folder / "model")
    return folder


def begin(folder: Path, bucket: Bucket, out: str, seconds: float) -> Forked:
    return Forked(run_slowly, out, seconds, cwd=folder, environment=bucket.environment)


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a POSIX signal")
def test_killed_again_and_again_it_continues_to_the_same_objects(folder: Path, bucket: Bucket) -> None:
    assert begin(folder, bucket, "local.zarr", 0).wait() == 0
    whole, rng, killed, rounds = files_of(folder / "local.zarr"), random.Random(0), 0, 0
    out, root = f"s3://{bucket.name}/killed/m.zarr", "killed/m.zarr/zarr.json"

    def records() -> set[str]:
        return {name for name in bucket.names("killed/m.zarr.partial/") if "/regions-" in name}

    while killed < KILLS:
        rounds += 1
        assert rounds < 4 * KILLS
        before = records()
        bucket.requests.clear()
        process = begin(folder, bucket, out, 0.05)
        most = rng.randint(1, 10 + 2 * (12 - len(before)))  # by how far it is, since clocks run as the machine does
        while process.poll() is None and len(bucket.requests) < 10 + most:
            time.sleep(0.01)
        if process.poll() is None:
            process.kill()
            killed += 1
        code = process.wait()
        assert code in (0, -signal.SIGKILL)
        if root not in bucket.names("killed/m.zarr/"):
            assert before <= records()  # nothing that was finished is lost
            continue
        if code:  # after its last object: it is finished, and what is left goes
            assert begin(folder, bucket, out, 0).wait() != 0
        assert bucket.objects("killed/m.zarr/") == whole
        assert not bucket.names("killed/m.zarr.partial/")
        for name in bucket.names("killed/"):
            bucket.client.delete_object(Bucket=bucket.name, Key=name)
    kept = len(records())
    assert begin(folder, bucket, out, 0).wait() == 0
    assert json.loads(bucket.objects("killed/m.summary.json")[""])["regions_kept"] == kept
    assert bucket.objects("killed/m.zarr/") == whole


def test_the_command_line_reads_from_and_writes_to_buckets(
    bucket: Bucket, slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(tmp_path / "model")
    for name in ("a.tiff", "b.tiff"):
        bucket.client.upload_file(str(slide), bucket.name, f"slides/{name}")
    manifest = tmp_path / "slides.csv"
    manifest.write_text(f"slide\ns3://{bucket.name}/slides/a.tiff\ns3://{bucket.name}/slides/b.tiff\n")
    common = ["--model", str(tmp_path / "model"), "--quiet"]
    many = ["--manifest", str(manifest), "--out", f"s3://{bucket.name}/all/", *common]
    assert main(many) == 0
    assert main(many) == 0  # both are there
    bucket.client.put_object(Bucket=bucket.name, Key="one/m.png.probe", Body=b"of somebody else")
    extras = ["--geojson", f"s3://{bucket.name}/one/m.geojson.gz", "--preview", f"s3://{bucket.name}/one/m.png"]
    one = f"s3://{bucket.name}/one/m.zarr"
    assert main([f"s3://{bucket.name}/slides/a.tiff", "--out", one, *extras, *common]) == 0
    assert (
        main([str(slide), "--out", str(tmp_path / "m.zarr"), "--geojson", str(tmp_path / "m.geojson.gz"), *common]) == 0
    )
    assert bucket.objects("one/m.geojson.gz")[""] == (tmp_path / "m.geojson.gz").read_bytes()
    assert bucket.objects("one/m.png")[""].startswith(b"\x89PNG")
    probes = {name: content for name, content in bucket.objects("one/").items() if name.endswith(".probe")}
    assert probes == {"m.png.probe": b"of somebody else"}
    here = files_of(tmp_path / "m.zarr")
    for prefix in ("one/m.zarr/", "all/a.zarr/", "all/b.zarr/"):
        assert bucket.objects(prefix) == here
    assert main(["verify", one, f"s3://{bucket.name}/all/a.zarr", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert not [name for name in bucket.names() if ".partial" in name and name.startswith(("one/", "all/"))]
