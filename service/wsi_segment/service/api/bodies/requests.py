"""What clients send as JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from wsi_segment.errors import InputError
from wsi_segment.inference.slides.geojson_features import refuse_units
from wsi_segment.service.jobs.job_rows import Outlines

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$", examples=["5f2b1c9d8e7a6f5b4c3d2e1f"])]


def _whole(value: Any) -> Any:
    """Convert ``3.0``, which is an integer in JSON Schema."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(_whole)
"""Takes 3.0 for 3, as JSON does."""
_Pixels = Annotated[int, Field(ge=1, le=10_000_000, description="of the slide, as the client sees it"), Whole]
Position = Annotated[list[Annotated[float, Field(ge=-1e9, le=1e9)]], Field(min_length=2, max_length=3)]
Ring = Annotated[list[Position], Field(min_length=3, max_length=100_000)]


MOST_POSITIONS = 1_000_000
"""Positions of all outlines of a job together."""


def _kind(region: Any) -> str:
    """Tell a box from features, and both from one GeoJSON object."""
    if not isinstance(region, list):
        return "geojson"
    return "features" if region and isinstance(region[0], dict | BaseModel) else "box"


def _as_geojson(areas: Any) -> Any:
    """Return outlines as one object; what is no list is one already."""
    kind = _kind(areas)
    if kind == "box":
        x0, y0, x1, y1 = areas
        return {"type": "Polygon", "coordinates": [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]]}
    return {"type": "FeatureCollection", "features": areas} if kind == "features" else areas


def _count_positions(areas: Any) -> int:
    """Count the positions of outlines, wherever they are nested."""
    count, left = 0, [areas]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list | tuple):
            if one and all(isinstance(number, int | float) for number in one):
                count += 1
            else:
                left += one
    return count


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _GeoJson(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)  # QuPath adds a plane, others a bbox

    @model_validator(mode="before")
    @classmethod
    def _in_pixels(cls, content: Any) -> Any:
        """Refuse what would be dropped and changes the meaning: a unit of the coordinates."""
        if isinstance(content, dict):
            try:
                refuse_units(content)
            except InputError as error:
                raise ValueError(str(error)) from None
        return content


class Polygon(_GeoJson):
    """GeoJSON; level-0 pixels from the corner of the slide's bounds."""

    type: Literal["Polygon"]
    coordinates: Annotated[list[Ring], Field(min_length=1, max_length=10_000)]


class MultiPolygon(_GeoJson):
    """GeoJSON; level-0 pixels from the corner of the slide's bounds."""

    type: Literal["MultiPolygon"]
    coordinates: Annotated[list[Annotated[list[Ring], Field(min_length=1)]], Field(min_length=1, max_length=10_000)]


_Geometry = Annotated[dict[str, Any], Field(description="a GeoJSON geometry, which is read when the job runs")]


class GeometryCollection(_GeoJson):
    """GeoJSON; its areas count."""

    type: Literal["GeometryCollection"]
    geometries: Annotated[list[_Geometry], Field(min_length=1, max_length=10_000)]


class Feature(_GeoJson):
    """GeoJSON; an outline as QuPath writes it, or something without an area, which is left out."""

    type: Literal["Feature"]
    geometry: _Geometry | None = None
    properties: dict[str, Any] | None = None


Features = Annotated[list[Feature], Field(min_length=1, max_length=10_000)]


class FeatureCollection(_GeoJson):
    """GeoJSON; its areas count together."""

    type: Literal["FeatureCollection"]
    features: Features


GeoJson = Annotated[
    Polygon | MultiPolygon | GeometryCollection | Feature | FeatureCollection, Field(discriminator="type")
]
Box = Annotated[
    list[Annotated[float, Field(ge=-1e9, le=1e9)]],
    Field(min_length=4, max_length=4, description="x0, y0, x1, y1 in level-0 pixels from the corner of the bounds"),
]
"""Two corners, as in the ``bbox`` of GeoJSON and of ``objects.geojson``."""


Areas = Annotated[
    Annotated[GeoJson, Tag("geojson")] | Annotated[Features, Tag("features")] | Annotated[Box, Tag("box")],
    Discriminator(_kind),
]
"""Outlines; several areas count together."""


class Choices(_In):
    """How a slide is segmented; a field that is left out has the default of model or engine."""

    model: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")] | None = None
    image: Annotated[int, Field(ge=0, le=10_000, description="image of the file; null for the slide"), Whole] | None = (
        None
    )
    mpp: (
        Annotated[
            float,
            Field(ge=0.05, le=100, description="µm per level-0 pixel, where the slide states none"),
        ]
        | None
    ) = None
    window: (
        Annotated[
            int,
            Field(ge=1, le=8192, description="side of a block, 512 or 1024, or of the model's windows, in mask pixels"),
            Whole,
        ]
        | None
    ) = None
    overlap: (
        Annotated[
            float, Field(ge=0, le=0.9, description="share of a window that its neighbour covers too; means windows")
        ]
        | None
    ) = None
    precision: (
        Annotated[
            Literal["auto", "fp32", "bf16", "fp16", "int8"],
            Field(description="number format of the network; auto is what is fast on the server"),
        ]
        | None
    ) = None
    tissue: (
        Annotated[
            Literal["otsu", "none"] | Areas,
            Field(description="how tissue is found, or its outlines in level-0 pixels"),
        ]
        | None
    ) = None
    region: Areas | None = None
    apply_icc: Annotated[bool, Field(description="convert colours from the slide's ICC profile to sRGB first")] = False
    probabilities: Annotated[bool, Field(description="keep the probability of each class too")] = False
    ome_zarr: Literal["0.5", "0.4"] = "0.5"
    strict: Annotated[bool, Field(description="fail rather than end with warnings")] = False
    priority: Annotated[int, Field(ge=-10, le=10, description="jobs with a larger one come first"), Whole] = 0

    @model_validator(mode="after")
    def _outlines_are_few_enough(self) -> Choices:
        drawn = self.model_dump(include={"region", "tissue"})
        if (count := sum(map(_count_positions, drawn.values()))) > MOST_POSITIONS:
            raise ValueError(f"the outlines have {count} positions, and all together may have {MOST_POSITIONS}")
        return self

    def parameters(self) -> dict[str, Any]:
        """Return the choices as the job keeps them."""
        made = self.model_dump(exclude_defaults=True, exclude={"slide", "priority", "width", "height"})
        drawn = {name: made[name] for name in ("region", "tissue") if isinstance(made.get(name), list | dict)}
        return made | {name: Outlines.of(_as_geojson(areas)) for name, areas in drawn.items()}

    def apart(self) -> tuple[Self, dict[str, Any]]:
        """Return the request without its outlines, which can be large, and the parameters, which hold them as text."""
        return self.model_copy(update={"region": None, "tissue": None}), self.parameters()


class JobRequest(Choices):
    """A slide to be segmented."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"slide": "5f2b1c9d8e7a6f5b4c3d2e1f"},
                {"slide": "5f2b1c9d8e7a6f5b4c3d2e1f", "region": [2000, 1000, 6000, 4000]},
            ]
        },
    )

    slide: Id
    width: _Pixels | None = None
    height: _Pixels | None = None


class BatchRow(Choices):
    """One slide of a batch, by its id or by its path under a root."""

    slide: Annotated[str, Field(min_length=1, max_length=4096)]


MOST_ROWS = 50_000
"""Largest number of rows in a batch."""


class BatchRequest(_In):
    """Slides to be segmented."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"name": "week 12", "jobs": [{"slide": "slides/a.svs"}]}]},
    )

    name: Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")] = ""  # PostgreSQL keeps no such character
    jobs: Annotated[list[BatchRow], Field(min_length=1, max_length=MOST_ROWS)]
