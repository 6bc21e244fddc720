from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wsi_segment.errors import InputError
from wsi_segment.inference.engine.options import SegmentOptions


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "tpu"}, "`device` is 'tpu'; give auto, cpu, cuda or openvino"),
        ({"precision": "fp8"}, "`precision` is 'fp8'; give auto, fp32, bf16, fp16 or int8"),
        ({"ome_zarr": 0.4}, "`ome_zarr` is 0.4; give 0.4 or 0.5"),
        ({"batch_size": 0}, "`batch_size` is 0; give 1 or more"),
        ({"workers": -1}, "`workers` is -1; give 0 for one per core, or more"),
        ({"region_size": 100}, "`region_size` is 100; give one of"),
    ],
)
def test_what_cannot_be_chosen_is_refused_with_what_can(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        SegmentOptions(**changes)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("name", ["tissue", "region"])
def test_outlines_may_be_named_by_text(name: str) -> None:
    given: dict[str, Any] = {name: "outlines.geojson"}
    assert getattr(SegmentOptions(**given), name) == Path("outlines.geojson")


@pytest.mark.parametrize("method", ["otsu", "none"])
def test_methods_of_finding_tissue_stay_words(method: Any) -> None:
    assert SegmentOptions(tissue=method).tissue == method
