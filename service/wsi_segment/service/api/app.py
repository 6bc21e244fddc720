"""The application, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from pydantic import TypeAdapter

from wsi_segment.service.api import problems
from wsi_segment.service.api.access.credentials import Credentials
from wsi_segment.service.api.access.guard import Guard
from wsi_segment.service.api.bodies.requests import BatchRequest, JobRequest
from wsi_segment.service.api.bodies.sent_corrections import SentCorrections
from wsi_segment.service.api.routes import all_events as event_routes
from wsi_segment.service.api.routes import batches as batch_routes
from wsi_segment.service.api.routes import corrections as correction_routes
from wsi_segment.service.api.routes import hooks as hook_routes
from wsi_segment.service.api.routes import jobs as job_routes
from wsi_segment.service.api.routes import mask_queries as query_routes
from wsi_segment.service.api.routes import outline_list as outline_routes
from wsi_segment.service.api.routes import partial_results as partial_routes
from wsi_segment.service.api.routes import results as result_routes
from wsi_segment.service.api.routes import sign_in as sign_in_routes
from wsi_segment.service.api.routes import slides as slide_routes
from wsi_segment.service.api.routes import system as system_routes
from wsi_segment.service.api.routes import viewer as viewer_routes
from wsi_segment.service.api.service import Service
from wsi_segment.service.jobs.actions import Actions

_DESCRIPTION = """Segments whole-slide images. Post a slide as a job, follow it, fetch its mask.

For research only, not for diagnosis. Errors are problem documents (RFC 9457). Where the server has keys, send one as
`Authorization: Bearer …`; a browser exchanges it for a session at `/v1/session`.
"""


def make_app(service: Service) -> Guard:
    """Build the application over the parts of a service; feed, hooks and housekeeping run as long as it does."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.housekeeping.start()
        service.adopted.start()
        feeding = asyncio.create_task(service.feed.run())
        sending = asyncio.create_task(service.deliveries.run())
        yield
        service.feed.close()
        service.deliveries.close()
        service.adopted.stop()
        await asyncio.to_thread(service.housekeeping.stop)
        await asyncio.gather(feeding, sending)
        service.details.close()
        service.pool.close()

    app = _application(lifespan)
    app.state.service = service
    hosts = [*service.settings.allowed_host, service.settings.host]
    return Guard(
        app,
        credentials=Credentials(service.keys, service.sessions, service.links, service.settings.door is not None),
        actions=Actions(service.database),
        metrics=service.metrics,
        hosts=hosts,
        origins=service.settings.allowed_origin,
        prefix=service.settings.root_path,
        max_body=service.settings.max_body,
        upload_limit=service.settings.upload_limit,
    )


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document of the interface, for which no service needs to run."""
    return _application(None).openapi()


def _application(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None) -> FastAPI:
    """Return an application with all routes, and no service behind them yet."""
    app = FastAPI(
        title="wsi-segment",
        version=version("wsi-segment"),
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    for module in (slide_routes, job_routes, event_routes, batch_routes, result_routes, partial_routes):
        app.include_router(module.router)
    for module in (outline_routes, query_routes, correction_routes, hook_routes, sign_in_routes):
        app.include_router(module.router)
    for router in (
        system_routes.models,
        system_routes.system,
        system_routes.pages,
        viewer_routes.views,
        viewer_routes.router,
    ):
        app.include_router(router)
    problems.install(app)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """Add schemas that no route names by itself, and keys, to the OpenAPI document."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            schemas = document["components"]["schemas"]
            for model in (problems.Problem, JobRequest, BatchRequest, SentCorrections):
                schema = TypeAdapter(model).json_schema(ref_template="#/components/schemas/{model}")
                schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
            document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{}, {"key": []}]
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
