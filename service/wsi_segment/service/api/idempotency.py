"""Requests that post jobs and may come again: the same Idempotency-Key gives the first answer, and no second job."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated

from fastapi import Header, Request
from fastapi.responses import Response
from sqlalchemy.exc import IntegrityError

from wsi_segment.service.api.problems import ProblemError
from wsi_segment.service.api.service import Service
from wsi_segment.service.jobs.job_table import Accepted, NewJob, Reply

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[!-~]+$",
        description="the same key with the same body gives the first answer again, and no second job",
    ),
]


class JobPost:
    """One request that posts jobs."""

    def __init__(self, service: Service, request: Request, key: str | None, content: bytes) -> None:
        """Remember what tells this request from others.

        Args:
            service: The route's service.
            request: Its client and path; a key belongs to both.
            key: The Idempotency-Key, or None.
            content: What has to be the same for the same key.
        """
        self._service, self._request = service, request
        self._key = None if key is None else f"{request.state.client} {request.url.path} {key}"
        self._content = content

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self._content).hexdigest()

    def stored_answer(self) -> Response | None:
        """Return the answer that the request got when it came first, or None.

        Raises:
            ProblemError: the key came with another body.
        """
        known = None if self._key is None else self._service.jobs.reply_to(self._key)
        if known is None:
            return None
        if known.request != self._digest:
            raise ProblemError(422, "key-reused", "this Idempotency-Key was used with another body; choose a new one")
        return _response(known)

    def accept(
        self, new: Sequence[NewJob], render: Callable[[Accepted], tuple[str, str]], batch_name: str | None = None
    ) -> Response:
        """Enqueue the jobs and answer 201; the answer is stored with them, for the request coming again.

        Args:
            new: The jobs.
            render: Returns the location and the JSON of what was accepted.
            batch_name: Name of the batch that they become, or None.
        """

        def make_reply(accepted: Accepted) -> Reply:
            location, body = render(accepted)
            return Reply(
                key=self._key or "",
                request=self._digest,
                created=time.time(),
                status=201,
                headers={"Location": location},
                body=body.encode(),
            )

        try:
            accepted = self._service.jobs.accept(new, batch_name, None if self._key is None else make_reply)
        except IntegrityError:  # the same request came twice at once, and the other one was first
            answer = self.stored_answer()
            if answer is None:
                raise
            return answer
        # for the line of the log and the record of who posted it
        self._request.state.target = accepted.jobs[0].id if accepted.batch is None else accepted.batch.id
        self._service.supervisor.wake()
        return _response(make_reply(accepted))


def _response(reply: Reply) -> Response:
    return Response(reply.body, reply.status, reply.headers, "application/json")
