"""The errors of a cluster that is not there, or not fit for any run, apart from what needs Dask."""

from __future__ import annotations

from wsi_segment.errors import InputError, RunError


class ClusterLostError(RunError):
    """The scheduler went away or cannot be reached, or all workers are gone; the same run continues later."""


class UnfitWorkerError(InputError):
    """A machine of the cluster can take part in no run before somebody mends it, whatever the slide: it is named."""
