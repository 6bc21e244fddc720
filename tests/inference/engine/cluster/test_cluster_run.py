"""What the process that has a slide computed on a cluster sees of the slide itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from synthetic import tissue_like, write_slide
from wsi_segment.errors import Cancelled, InputError, ReplacedSlideError
from wsi_segment.inference.engine.cluster import cluster_run
from wsi_segment.inference.engine.cluster.cluster_run import FilesHere, open_on_cluster
from wsi_segment.inference.engine.cluster.connection import Connection
from wsi_segment.inference.engine.cluster.facts import facts_here
from wsi_segment.inference.engine.cluster.feeding import Feeder
from wsi_segment.inference.engine.cluster.tickets import OtherSlide
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.scheduling.scheduler import Order
from wsi_segment.inference.progress import Watch
from wsi_segment.inference.slides.fingerprint import slide_fingerprint
from wsi_segment.inference.slides.slide_files import slide_files, written
from wsi_segment.model.card import DEFAULT_MODEL, find_model


def test_a_slide_may_be_copied_to_its_place_while_the_run_waits_for_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, looked = tmp_path / "s.tiff", list[bytes]()

    def wait(device: str, watch: Watch) -> dict[str, Any]:
        slide.write_bytes(b"whole")
        return {"tcp://a:1": facts_here("cpu")}

    def look(files: Any) -> tuple[tuple[int, int], ...]:
        looked.append(slide.read_bytes())
        return written(files)

    def end(*arguments: object, **more: object) -> None:
        raise Cancelled

    slide.write_bytes(b"half")
    cluster = Connection("tcp://127.0.0.1:1")
    monkeypatch.setattr(cluster, "facts", wait)
    monkeypatch.setattr(cluster_run, "written", look)
    monkeypatch.setattr(Feeder, "run", end)
    order = Order(slide, find_model(DEFAULT_MODEL), SegmentOptions(device="cpu"))
    with pytest.raises(Cancelled), open_on_cluster(cluster, order, Watch()):
        pass
    assert looked == [b"whole"]


def test_a_worker_that_finishes_with_an_older_copy_of_the_slide_costs_no_run(tmp_path: Path) -> None:
    """Where this process sees that the slide is as it was planned; else it may have been replaced for all."""
    slide = write_slide(tmp_path / "s.tiff", tissue_like(300, 300))
    provenance = {"slide": {"fingerprint": slide_fingerprint(slide_files(slide))}}
    settlement: Any = SimpleNamespace(prepared=SimpleNamespace(provenance=provenance))
    other = OtherSlide("tcp://a:1", f"{slide}: was replaced")
    model = find_model(DEFAULT_MODEL)
    here = FilesHere(Order(slide, model, SegmentOptions()))
    with pytest.raises(InputError, match=r"worker tcp://a:1: .*s.tiff is another file there than here") as found:
        here.refuse_at_the_end(settlement, other)
    assert not isinstance(found.value, ReplacedSlideError)
    unseen = FilesHere(Order(tmp_path / "elsewhere.tiff", model, SegmentOptions()))
    with pytest.raises(ReplacedSlideError, match="was replaced"):
        unseen.refuse_at_the_end(settlement, other)
    write_slide(slide, tissue_like(310, 300))
    with pytest.raises(ReplacedSlideError, match="was replaced"):
        here.refuse_at_the_end(settlement, other)


def test_who_feeds_a_cluster_does_not_load_onnxruntime() -> None:
    code = (
        "import sys\n"
        "import wsi_segment.inference.engine.segment\n"
        "from wsi_segment.inference.engine.cluster import cluster_run, connection\n"
        "from wsi_segment.inference.engine.provenance import versions\n"
        "known = versions()['onnxruntime']\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "import onnxruntime\n"
        "assert onnxruntime.__version__ == known"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
