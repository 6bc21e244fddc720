"""A client whose server comes and goes."""

from __future__ import annotations

import http.server
import threading
from typing import ClassVar

import pytest

from wsi_segment.service import client as client_module
from wsi_segment.service.client import Client


class Restarting(http.server.BaseHTTPRequestHandler):
    """A server that ends its stream in order, is away for longer than a request waits for it, and then is back."""

    asked: ClassVar[list[str]] = []
    away_for = client_module._TRIES + 3

    def do_GET(self) -> None:
        """Answer with what the job has come to."""
        self.asked.append(self.path)
        away = 1 < len(self.asked) <= 1 + self.away_for
        stream = self.path.endswith("/events")
        body = b"" if stream else b'{"status": "successful"}'
        self.send_response(503 if away else 200)
        self.send_header("Content-Length", "0" if away else str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if away else body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_waiting_outlives_a_server_that_stops_in_order_and_is_long_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_PAUSE", 0.001)
    monkeypatch.setattr(Restarting, "asked", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Restarting) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            with Client(f"http://127.0.0.1:{server.server_port}") as client:
                assert client.wait("a")["status"] == "successful"
        finally:
            server.shutdown()
    assert len(Restarting.asked) > 1 + Restarting.away_for
