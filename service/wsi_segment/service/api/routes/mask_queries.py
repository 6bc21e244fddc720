"""Questions about finished masks: where the model was unsure, and how two masks of one slide differ."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from wsi_segment.service.api.bodies.requests import Id
from wsi_segment.service.api.problems import ProblemError, documented
from wsi_segment.service.api.routes.jobs import JobId
from wsi_segment.service.api.service import Here
from wsi_segment.service.api.viewing.differences import differences
from wsi_segment.service.api.viewing.uncertain_fields import uncertain_fields
from wsi_segment.service.folders.adopted_masks import state_of

router = APIRouter(prefix="/v1/jobs/{job_id}/results", tags=["results"])


class FieldOut(BaseModel):
    """A square of a slide."""

    bbox: tuple[float, float, float, float] = Field(description="x0, y0, x1, y1 in level-0 pixels, as in GeoJSON")
    uncertainty: float = Field(description="mean entropy of the probabilities: 0 (sure) to 1 (all classes alike)")


class FieldList(BaseModel):
    """The least certain fields, the least certain first."""

    fields: list[FieldOut]
    total: int = Field(description="fields with tissue")


class PairOut(BaseModel):
    """Tissue that has one class in this result and another in the other result."""

    this: str
    other: str
    area_mm2: float


class DifferencesOut(BaseModel):
    """How two masks differ."""

    downsample: float = Field(description="of the pixels that were compared, in level-0 pixels")
    compared_mm2: float = Field(description="tissue that both have a class for")
    differing_mm2: float = Field(description="of it, where the classes have different names")
    only_one_mm2: float = Field(description="tissue that only one of them has a class for")
    pairs: list[PairOut] = Field(description="the largest first")


@router.get("/uncertain.json", response_model=FieldList, responses=documented(404))
def list_uncertain_fields(
    service: Here, job_id: JobId, count: Annotated[int, Query(ge=1, le=500, description="at most so many")] = 50
) -> FieldList:
    """List the fields of a slide of whose classes the model was least sure; only where probabilities were kept."""
    _, files = service.result(job_id)
    found = uncertain_fields(files.store, state_of(files.store))
    if found is None:
        raise ProblemError(
            404, "no-probabilities", "this mask keeps no probabilities; run the job with `probabilities`"
        )
    fields = [FieldOut(bbox=one.box, uncertainty=one.uncertainty) for one in found[:count]]
    return FieldList(fields=fields, total=len(found))


@router.get("/differences.json", response_model=DifferencesOut, responses=documented(404, 409))
def get_differences(
    service: Here, job_id: JobId, other: Annotated[Id, Query(description="id of the job to compare with")]
) -> DifferencesOut:
    """Compare the masks of two jobs of one slide, by the names of the classes."""
    stores = [service.result(one)[1].store for one in (job_id, other)]
    prints = {service.masks.opened(store).provenance["slide"]["fingerprint"] for store in stores}
    if len(prints) > 1:
        raise ProblemError(409, "other-slide", "the two results are of different slides")
    found = differences(stores[0], stores[1], (state_of(stores[0]), state_of(stores[1])))
    return DifferencesOut(
        downsample=found.downsample,
        compared_mm2=found.compared_mm2,
        differing_mm2=found.differing_mm2,
        only_one_mm2=found.only_one_mm2,
        pairs=[PairOut(this=pair.first, other=pair.second, area_mm2=pair.area_mm2) for pair in found.pairs],
    )
