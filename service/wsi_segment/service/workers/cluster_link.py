"""The connection of a worker to the cluster that computes its jobs' regions."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from wsi_segment.errors import WsiSegmentError

if TYPE_CHECKING:
    from wsi_segment.inference.engine.cluster.connection import Connection

PATIENCE_SECONDS = 60.0
"""Seconds without workers of the cluster after which a job goes back into the queue."""

UNFIT_SECONDS = 10.0
"""Seconds for which no job is started after a worker was found that can take part in none; twice as many each time."""
_MOST_UNFIT_SECONDS = 300.0

log = logging.getLogger(__name__)


class ClusterLink:
    """One connection, made when it is needed and again after it was lost."""

    def __init__(self, address: str, tls: tuple[str, str, str] | None = None) -> None:
        """Remember where the scheduler is, and the files of its certificates."""
        self._address, self._tls = address, tls
        self._cluster: Connection | None = None
        self._said = ""
        self._unfit, self._unfit_until, self._pause = "", 0.0, UNFIT_SECONDS

    def is_there(self) -> bool:
        """Return whether the cluster has workers now; connect to it where that is not so yet. It is said once."""
        if time.monotonic() < self._unfit_until:
            return self._say(self._unfit)
        try:
            reason = "" if self.cluster().slots() else f"{self._address} has no workers that begin anything"
        except WsiSegmentError as error:
            self.close()
            reason = str(error)
        return self._say(reason)

    def refuse(self, reason: str) -> None:
        """Take the cluster for one that is away, for a while: a machine of it can take part in no run."""
        self.close()
        self._unfit, self._unfit_until = reason, time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _MOST_UNFIT_SECONDS)

    def worked(self) -> None:
        """Take the cluster for mended: a job ended well."""
        self._pause = UNFIT_SECONDS

    def _say(self, reason: str) -> bool:
        if reason != self._said:
            self._said = reason
            if reason:
                log.warning("jobs wait for the cluster: %s", reason)
            else:
                log.info("the cluster is there")
        return not reason

    def cluster(self) -> Connection:
        """Return the connection; see :class:`wsi_segment.inference.engine.cluster.connection.Connection` for errors."""
        from wsi_segment.inference.engine.cluster.address import tls_of
        from wsi_segment.inference.engine.cluster.connection import Connection

        if self._cluster is None:
            ca, cert, key = (Path(one) for one in self._tls) if self._tls is not None else (None, None, None)
            tls = tls_of(self._address, ca, cert, key)
            self._cluster = Connection(self._address, tls, PATIENCE_SECONDS).__enter__()
        return self._cluster

    def close(self) -> None:
        """Disconnect; may be called again."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close()
