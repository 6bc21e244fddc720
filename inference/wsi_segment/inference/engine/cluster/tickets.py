"""What travels with every task of a run. A scheduler unpickles it, so it holds nothing that would load the engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ticket:
    """How a worker finds what it needs to compute the regions of a run."""

    token: str
    """Name of this very run, 8 hexadecimal digits; no two runs share one."""
    place: bytes
    """Pickled: where the plan was left, see :class:`wsi_segment.inference.mask.partial.Left`."""
    sha256: str
    """sha256 of the plan, as it was left."""


@dataclass(frozen=True, slots=True)
class LackingModel:
    """What a worker returns in place of a result, if the model is not on its machine."""

    worker: str
    """Its address."""


@dataclass(frozen=True, slots=True)
class OtherSlide:
    """What a worker returns in place of a mask, if the slide that it sees is not the one that was planned."""

    worker: str
    """Its address."""
    reason: str
