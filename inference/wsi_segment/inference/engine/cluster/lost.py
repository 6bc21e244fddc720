"""The error of a cluster that is not there, apart from what needs Dask."""

from __future__ import annotations

from wsi_segment.errors import RunError


class ClusterLostError(RunError):
    """The scheduler went away or cannot be reached, or all workers are gone; the same run continues later."""
