"""Models, health, metrics and the pages of the documentation."""

from __future__ import annotations

import httpx

from live_server import problem


def test_models_health_metrics_and_pages(http: httpx.Client) -> None:
    models = http.get("/v1/models").json()
    assert models["default"] == "colorectal-biopsy"
    assert {model["name"] for model in models["models"]} == {"colorectal-biopsy", "channels"}
    assert http.get("/v1/models/channels").json()["classes"][0]["name"] == "red"
    problem(http.get("/v1/models/none"), 404)
    assert http.get("/health/live").json() == {"status": "alive"}
    assert http.get("/health/ready").json() == {"status": "ready"}
    metrics = http.get("/metrics").text
    assert 'wsi_segment_jobs{status="successful"}' in metrics
    assert "s0" not in metrics
    page = http.get("/docs").text
    assert "http" not in page.replace("wsi-segment", "")  # nothing is loaded from elsewhere
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js", "favicon-32x32.png"):
        assert f'"docs/{name}"' in page  # relative, so that it is found below a path prefix
        assert http.get(f"/docs/{name}").is_success
    problem(http.get("/nowhere"), 404)
    assert problem(http.put("/v1/jobs"), 405)["detail"]
