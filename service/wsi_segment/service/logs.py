"""Logs on standard error: one line per entry, with the ids of request and job; as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the request that is being handled."""

_IDS = ("request", "job", "key", "client")
"""What entries say where it is known; a record's ``fields`` stand in its message, and in JSON on their own too."""

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


class _Formatter(logging.Formatter):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def format(self, record: logging.LogRecord) -> str:
        """Format an entry as one line, whatever the message holds."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in _IDS:
            if value := getattr(record, name, "") or (request_id.get() if name == "request" else ""):
                entry[name] = value
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        if self.form == "json":
            return json.dumps(entry)
        ids = "".join(f" {name}={entry[name]}" for name in _IDS if name in entry)
        text = f"{entry['time']} {entry['level']:<7} {entry['message']}{ids}".translate(_CONTROL)
        if "exception" in entry:  # indented, so that no line of it can be taken for an entry
            text += "".join(f"\n    {line.translate(_CONTROL)}" for line in entry["exception"].splitlines())
        return text


def set_up_logs(form: str) -> None:
    """Send all of this process's log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(form))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name in ("alembic", "httpx", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)


def form_in_use() -> str:
    """Return the format of this process's log, for its children."""
    formatters = [handler.formatter for handler in logging.getLogger().handlers]
    return next((one.form for one in formatters if isinstance(one, _Formatter)), "text")
