"""A job is bound to the slide and the model that it was accepted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from job_bench import Bench
from synthetic import tissue_like, write_model, write_slide
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.slides.fingerprint import slide_fingerprint
from wsi_segment.service.jobs.job_rows import Outlines
from wsi_segment.service.jobs.job_table import NewJob
from wsi_segment.service.workers import job_runner as work_module
from wsi_segment.service.workers.job_inputs import filled, inputs_of, windows_at_most
from wsi_segment.service.workers.job_runner import JobRunner
from wsi_segment.service.workers.lease_keeper import Limits


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "served")


def post(bench: Bench, **parameters: Any) -> str:
    """Accept a job as the API does; its id."""
    model = bench.models.get("channels")
    inputs = inputs_of(slide_fingerprint([bench.slide.location]), bench.slide.size, None, model)
    new = NewJob(bench.slide.id, filled({"model": "channels", **parameters}, model), inputs=inputs)
    return bench.jobs.accept([new]).jobs[0].id


def replace_slide(bench: Bench) -> tuple[str, str]:
    """Put another picture in the slide's place; the fingerprints of both."""
    before = slide_fingerprint([bench.slide.location])
    write_slide(bench.slide.location, tissue_like(700, 900, seed=77))
    return before, slide_fingerprint([bench.slide.location])


def test_a_slide_that_was_replaced_while_its_job_waited_fails_the_job_and_both_are_named(bench: Bench) -> None:
    job_id = post(bench)
    before, after = replace_slide(bench)
    job = bench.do()
    assert job.status == "failed"
    assert before[:16] in job.message
    assert after[:16] in job.message
    assert not (bench.data / "results" / job_id / "mask.zarr").exists()


def test_a_slide_that_is_replaced_while_it_is_read_gives_no_mask(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = post(bench)

    def replaced_at_the_end(path: Path, *, before_publishing: Any, **named: Any) -> Any:
        def hook(*more: Any) -> None:
            replace_slide(bench)
            before_publishing(*more)

        return segment(path, before_publishing=hook, **named)

    monkeypatch.setattr(work_module, "segment", replaced_at_the_end)
    job = bench.do()
    assert (job.status, "was replaced" in job.message) == ("failed", True)
    assert not (bench.data / "results" / job_id / "mask.zarr").exists()


def test_a_model_that_is_exported_again_is_taken_up_and_jobs_of_the_old_one_fail(bench: Bench) -> None:
    post(bench)
    old = bench.models.get("channels").card
    folder = bench.folder / "models" / "channels"
    write_model(folder)
    text = (folder / "card.json").read_text(encoding="utf-8")
    (folder / "card.json").write_text(text.replace(f'"version":"{old.version}"', '"version":"9.9"').replace(
        f'"version": "{old.version}"', '"version": "9.9"'), encoding="utf-8")  # fmt: skip
    assert bench.models.get("channels").card.version == "9.9"
    job = bench.do()
    assert job.status == "failed"
    assert f"version {old.version} " in job.message
    assert "version 9.9 " in job.message
    post(bench)
    assert bench.do().status == "successful"


def test_a_job_of_an_earlier_version_runs_and_says_that_nothing_is_known_of_its_inputs(bench: Bench) -> None:
    bench.post()
    job = bench.do()
    assert job.status == "successful"
    assert [one["code"] for one in job.warnings] == ["inputs-not-kept"]


def test_a_bound_job_keeps_all_parameters_with_their_defaults(bench: Bench) -> None:
    post(bench, overlap=0.5)
    job = bench.do()
    options = SegmentOptions()
    assert job.status == "successful"
    assert job.warnings == []
    assert job.parameters["overlap"] == 0.5
    assert job.parameters["tissue"] == options.tissue
    assert job.parameters["ome_zarr"] == options.ome_zarr
    assert job.inputs is not None
    assert job.inputs["slide"]["bytes"] == bench.slide.location.stat().st_size


@pytest.mark.parametrize(
    ("limits", "flag"), [(Limits(windows=2), "`job_windows`"), (Limits(hours=1e-9), "`job_hours`")]
)
def test_a_job_that_takes_too_much_fails_and_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, limits: Limits, flag: str
) -> None:
    monkeypatch.setattr("wsi_segment.service.workers.lease_keeper.LOOK_SECONDS", 0.001)  # before the job is done
    bench.runner = JobRunner(
        queue=bench.queue,
        catalogue=bench.runner._catalogue,
        models=bench.models,
        data=bench.data,
        options=SegmentOptions(workers=1, device="cpu"),
        stopping=bench.stopping,
        roots=bench.runner._roots,
        limits=limits,
    )
    post(bench, overlap=0.9, tissue="none")
    job = bench.do()
    assert (job.status, flag in job.message) == ("failed", True)


def test_the_estimate_is_what_a_slide_needs_if_all_of_it_is_tissue(bench: Bench) -> None:
    model = bench.models.get("channels")
    described = {"width": 900, "height": 700, "mpp": 1.0}
    parameters = filled({"tissue": "none"}, model)
    estimate = windows_at_most(described, parameters, model)
    post(bench, tissue="none")
    job = bench.do()
    summary = json.loads((bench.data / "results" / job.id / "mask.summary.json").read_text(encoding="utf-8"))
    assert estimate is not None
    assert 0.5 < estimate / summary["windows"] < 2
    box = {"type": "Polygon", "coordinates": [[[0, 0], [90, 0], [90, 90], [0, 0]]]}
    smaller = windows_at_most(described, parameters | {"region": Outlines.of(box)}, model)
    assert smaller is not None
    assert smaller < estimate
    gigantic = windows_at_most(described | {"width": 10**8, "height": 10**8, "mpp": 100.0}, parameters, model)
    assert gigantic == 2**31 - 1  # which is as much as every database keeps
