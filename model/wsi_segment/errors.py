"""Every error that this project raises on purpose.

::

    WsiSegmentError
    ├── InputError          the arguments or the data are at fault
    │   ├── SlideError      a slide cannot be opened, read or scaled
    │   │   └── ReplacedSlideError  it is another one than it was when it was opened
    │   ├── ModelError      a model folder is damaged, unknown or not to be trusted
    │   ├── DatasetError    a training dataset is incomplete or contradicts itself
    │   └── OutputError     the output exists, cannot be written, or belongs to another run
    ├── RunError            the run itself failed (a full disk, a lost worker)
    └── Cancelled           somebody asked the run to stop

Messages are one line: what is wrong, the value, and the remedy.
"""

from __future__ import annotations


class WsiSegmentError(Exception):
    """Root of the tree; ``exit_code`` is what the command line returns for it."""

    exit_code = 1


class InputError(WsiSegmentError):
    """The arguments or the data are at fault: doing the same again cannot succeed."""

    exit_code = 2


class SlideError(InputError):
    """A slide is missing, unreadable, of an unsupported kind, or has no usable pixel size."""


class ReplacedSlideError(SlideError):
    """A slide was replaced or written to while it was read."""


class ModelError(InputError):
    """A model folder is missing, incomplete, changed since its card was written, or unusable."""


class DatasetError(InputError):
    """A training dataset names files that are missing, or whose contents do not fit together."""


class OutputError(InputError):
    """The output already exists, cannot be created, or belongs to a run with other parameters."""


class RunError(WsiSegmentError):
    """The run failed although its input is sound."""


class ClusterLostError(RunError):
    """The scheduler went away or cannot be reached, or all workers are gone; the same run continues later."""


class UnfitWorkerError(InputError):
    """A machine of the cluster can take part in no run before somebody mends it, whatever the slide: it is named."""


class Cancelled(WsiSegmentError):  # noqa: N818  not an error of anything
    """The run was asked to stop; what is finished is kept."""

    exit_code = 130
