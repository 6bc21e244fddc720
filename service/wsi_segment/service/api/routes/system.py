"""Models, health, metrics, and the pages of the documentation."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse, Response

from wsi_segment.model.card import DEFAULT_MODEL
from wsi_segment.service.api.problems import ProblemError, answers, documented
from wsi_segment.service.api.responses import ModelList, ModelOut
from wsi_segment.service.api.service import Here

models = APIRouter(prefix="/v1", tags=["models"], responses=documented())
system = APIRouter(tags=["system"])
pages = APIRouter(include_in_schema=False)

ModelName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$", alias="model_id")]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>wsi-segment API</title>
<link rel="icon" href="docs/favicon-32x32.png"><link rel="stylesheet" href="docs/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script></body></html>
"""
_START = (
    'SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, tryItOutEnabled: true, '
    "presets: [SwaggerUIBundle.presets.apis], validatorUrl: null});\n"
)
_VENDORED = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}


@models.get("/models", response_model=ModelList)
def list_models(service: Here) -> ModelList:
    """List the models that jobs can name."""
    return ModelList(
        models=[_out(model.card.model_dump(mode="json")) for model in service.models], default=DEFAULT_MODEL
    )


@models.get("/models/{model_id}", response_model=ModelOut, responses=documented(404))
def get_model(service: Here, model_id: ModelName) -> ModelOut:
    """Return a model's card: its classes, training data and metrics."""
    return _out(service.models.get(model_id).card.model_dump(mode="json"))


@system.get("/health/live")
async def live() -> dict[str, str]:
    """Return whether the server answers; needs none of its threads."""
    return {"status": "alive"}


@system.get("/health/ready", responses=documented(503))
def ready(service: Here) -> dict[str, Any]:
    """Return whether jobs are started, and if not, why; needs no key, so that it has no figures."""
    reasons = []
    try:
        service.jobs.listed(None, 1)
    except Exception:  # whatever the database raises, it does not answer
        reasons.append("the database does not answer")
    else:
        reasons += service.roots.away().values()
    if service.supervisor.alive < service.settings.workers:
        reasons.append("workers are missing; the server's log says why")
    if service.supervisor.cluster_away:
        reasons.append("the cluster cannot compute; jobs wait for it, and the server's log says why")
    if service.housekeeping.disk_low is not None:
        reasons.append("the disk is nearly full; see `min_free`")
    if reasons:
        raise ProblemError(503, "not-ready", "; ".join(reasons), {"Retry-After": "10"})
    return {"status": "ready"}


@system.get("/metrics", response_class=Response, responses=answers("text/plain"))
def metrics(service: Here) -> Response:
    """Return metrics for Prometheus."""
    service.metrics.listeners.set(service.feed.listeners)
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@pages.get("/docs", response_class=HTMLResponse)
def docs() -> HTMLResponse:
    """Return the documentation, which loads nothing from elsewhere."""
    return HTMLResponse(_PAGE)


@pages.get("/docs/{name}")
def docs_file(name: str) -> Response:
    """Return a part of that page, from the package that brings Swagger UI."""
    if name == "start.js":
        return Response(_START, media_type="text/javascript")
    if name not in _VENDORED:
        raise ProblemError(404, "not-found", "nothing is here")
    return Response((files("fastapi_swagger.resources") / name).read_bytes(), media_type=_VENDORED[name])


def _out(card: dict[str, Any]) -> ModelOut:
    return ModelOut.model_validate(card)
