"""What a slide in a bucket is asked for: few requests, and hardly a byte that regions do not need."""

from __future__ import annotations

import pickle
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from buckets import Bucket, emulated
from requested import touched_bytes
from synthetic import tissue_like, write_slide
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.prepare import prepare
from wsi_segment.inference.engine.scheduling.local_threads import LocalRun, LocalThreads, as_seen
from wsi_segment.inference.engine.scheduling.scheduler import Order
from wsi_segment.inference.places.kept_bytes import KEPT_BYTES
from wsi_segment.inference.progress import Watch
from wsi_segment.inference.slides.candidate import Known
from wsi_segment.inference.slides.fingerprint import slide_fingerprint
from wsi_segment.inference.slides.location import slide_location
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.model.card import DEFAULT_MODEL, find_model

MODEL = find_model(DEFAULT_MODEL)
CHOSEN = 2048
"""Side of the regions that a run chooses of itself for this slide where memory is no matter."""


class Nothing:
    """A network that is not asked to see anything: only what is read counts."""

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        count, height, width, _ = windows.shape
        stride = MODEL.card.output_stride
        return np.zeros((count, len(MODEL.card.classes), height // stride, width // stride), np.float32)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with emulated() as running:
        yield running


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory, bucket: Bucket) -> Path:
    pixels = np.full((6144, 6144, 3), 245, np.uint8)
    part = tissue_like(3000, 3000)[476:2524, 476:2524]
    pixels[:, :3072] = np.tile(part, (3, 2, 1))[:, :3072]
    path = tmp_path_factory.mktemp("requests") / "s.tiff"
    write_slide(path, pixels, mpp=MODEL.card.mpp, levels=4, compression="jpeg")
    bucket.client.upload_file(str(path), bucket.name, "s.tiff")
    return path


@pytest.mark.parametrize("lends", [True, False])
@pytest.mark.parametrize(("workers", "region_size"), [(1, CHOSEN), (8, CHOSEN), (8, 1024)])
def test_requests_and_bytes_on_one_worker_and_on_many(
    bucket: Bucket, slide: Path, workers: int, region_size: int, lends: bool
) -> None:
    bucket.requests.clear()
    bucket.sent = 0
    options = SegmentOptions(region_size=region_size)
    touched = touched_bytes(slide, MODEL, options)
    location, known = slide_location(f"s3://{bucket.name}/s.tiff"), Known()
    with open_slide(location, known=known, keep_tiles=True) as first:
        assert bucket.sent <= 4 << 20
        found_out = pickle.dumps(known)
        assert len(found_out) < 1 << 16
        prepared = prepare(as_seen(first, apply_icc=False), path=location, model=MODEL, options=options, known=known)
    planned = bucket.sent
    regions = [region for region in prepared.plan.regions if region.windows]
    random.Random(3).shuffle(regions)
    for number in range(workers):
        before = bucket.sent
        theirs = pickle.loads(found_out)
        theirs.parts.borrow = known.parts.kept.find if lends else None
        with open_slide(location, known=theirs, keep_tiles=True) as opened:
            seen = as_seen(opened, apply_icc=False)
            assert bucket.sent == before
            run = LocalRun(
                prepared,
                opened,
                seen=seen,
                network=Nothing(),
                card=MODEL.card,
                watch=Watch(stop=threading.Event()),
                path=location,
                known=theirs,
            )
            predictor = run.predictor(lambda windows: None)
            for region in regions[number::workers]:
                predictor.class_ids(region.m_box)
    assert bucket.made("GET", r"/s\.tiff") == len(bucket.requests)
    assert len(bucket.requests) <= 0.4 * touched.tiles
    assert bucket.sent - (0 if lends else planned) <= 1.1 * touched.by_regions


def test_one_process_fetches_a_small_slide_once(bucket: Bucket, tmp_path: Path) -> None:
    path = write_slide(
        tmp_path / "small.tiff", tissue_like(1000, 1200), mpp=MODEL.card.mpp, levels=3, compression="jpeg"
    )
    bucket.client.upload_file(str(path), bucket.name, "small.tiff")
    bucket.requests.clear()
    bucket.sent = 0
    options = SegmentOptions(region_size=1024)
    location = slide_location(f"s3://{bucket.name}/small.tiff")
    with LocalThreads(Nothing()).opened(Order(location, MODEL, options), Watch()) as run:
        predictor = run.predictor(lambda windows: None)
        for region in run.prepared.plan.regions:
            predictor.class_ids(region.m_box)
        assert run.prepared.provenance["slide"]["fingerprint"] == slide_fingerprint([path])
    assert bucket.sent == path.stat().st_size
    assert len(bucket.requests) == 2


def test_what_is_kept_of_a_slide_in_a_bucket_counts_as_memory(bucket: Bucket, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "counted.tiff", tissue_like(600, 600), mpp=MODEL.card.mpp)
    bucket.client.upload_file(str(path), bucket.name, "counted.tiff")
    options, peaks = SegmentOptions(region_size=1024, tissue="none", workers=1), list[int]()
    for location in (path, slide_location(f"s3://{bucket.name}/counted.tiff")):
        with open_slide(location) as slide:
            prepared = prepare(slide, path=location, model=MODEL, options=options, look=False)
        peaks.append(prepared.plan.budget.peak_bytes)
    assert peaks[1] - peaks[0] == KEPT_BYTES
