"""How messages of web hooks are written and signed: as Standard Webhooks says, so that its libraries check them.

See https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: a signature is made with
HMAC-SHA256 over ``id.timestamp.body``.
"""

from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime

from wsi_segment.service.hooks.hook_table import Hook
from wsi_segment.service.jobs.outbox import Message


def body_of(message: Message, hook: Hook) -> bytes:
    """Write a message; it has ids and no names, since a slide's name can tell who a patient is."""
    data = dict(message.data)
    for kind in ("job", "batch"):
        if message.type == f"{kind}.ended":
            data["href"] = f"{hook.prefix}/v1/{kind}{'es' if kind == 'batch' else 's'}/{data[kind]}"
    moment = datetime.fromtimestamp(message.time, UTC).isoformat(timespec="milliseconds")
    return json.dumps({"type": message.type, "timestamp": moment, "data": data}).encode()


def headers_of(message: Message, body: bytes, secret: bytes, now: float) -> dict[str, str]:
    """Return the headers of an attempt at a time: the message's id, the time, the signature of both and of the body."""
    moment = str(int(now))
    signature = base64.b64encode(hmac.digest(secret, f"{message.id}.{moment}.".encode() + body, "sha256")).decode()
    return {
        "Content-Type": "application/json",
        "User-Agent": "wsi-segment",
        "webhook-id": message.id,
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{signature}",
    }
