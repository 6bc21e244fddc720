"""A finished network from which a training goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from wsi_segment.errors import DatasetError
from wsi_segment.model.card import SegmentClass
from wsi_segment.model.data.dataset import Dataset
from wsi_segment.model.training.recipe import Recipe
from wsi_segment.model.training.resnet import Head, SegmentationNetwork, Upsampling


@dataclass(frozen=True, slots=True)
class Origin:
    """What a card says of the network that a training began with."""

    name: str
    """Name and version of the model, or the dataset and step of the run."""
    sha256: str
    """Digest of the file that holds its weights."""
    training_data: str
    license: str
    attribution: str


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """A finished network, with what it was trained on and for."""

    network: SegmentationNetwork
    head: Head
    head_upsampling: Upsampling
    patch: int
    """Side of the patches that it learnt from, pixels."""
    mpp: float
    """Pixel size that it learnt at, µm."""
    classes: tuple[SegmentClass, ...]
    origin: Origin
    started_from: str | None = None
    """Digest of the weights that its own training began with; None for a training from the beginning."""

    @property
    def family(self) -> frozenset[str]:
        """Digests of its weights and of those that it began with."""
        return frozenset(digest for digest in (self.origin.sha256, self.started_from) if digest is not None)

    def recipe(self, recipe: Recipe) -> Recipe:
        """Return a recipe with the network's own architecture."""
        return replace(recipe, head=self.head, head_upsampling=self.head_upsampling)

    def check_classes(self, dataset: Dataset) -> None:
        """Refuse a dataset whose class ids mean something else.

        Raises:
            DatasetError: its classes are others, or come in another order.
        """
        own, others = ([entry.name for entry in classes] for classes in (self.classes, dataset.classes))
        if own != others:
            raise DatasetError(
                f"{dataset.name}: its classes are {', '.join(others)}; {self.origin.name} has {', '.join(own)}: "
                "list all of these in this order in classes.json, those without images too"
            )


@torch.no_grad()
def measure_batch_norm(network: nn.Module, inputs: Iterable[Tensor]) -> None:
    """Set the running statistics of batch norm to those of some inputs, in place; the network computes the same.

    Scale and shift of each layer make up for the change. An exported graph has its batch norm folded into convolutions,
    and a run's is of other images; training divides by the statistics of its own batches.

    Args:
        network: It is put into evaluation mode.
        inputs: Batches (B, 3, h, w), normalised and augmented as in training.
    """
    moments = {module: _Moments(module) for module in network.modules() if isinstance(module, nn.BatchNorm2d)}
    hooks = [module.register_forward_pre_hook(found.add) for module, found in moments.items()]
    network.eval()
    for batch in inputs:
        network(batch)
    for hook in hooks:
        hook.remove()
    for module, found in moments.items():
        assert module.running_mean is not None
        assert module.running_var is not None
        mean, variance = found.mean, found.variance
        scale = module.weight.double() / (module.running_var.double() + module.eps).sqrt()
        module.bias.copy_(module.bias + scale * (mean - module.running_mean))
        module.weight.copy_(scale * (variance + module.eps).sqrt())
        module.running_mean.copy_(mean)
        module.running_var.copy_(variance)


class _Moments:
    """Sums of what enters a layer, by channel; in double precision, so that a small variance survives."""

    def __init__(self, module: nn.BatchNorm2d) -> None:
        self._count = 0
        self._sum = torch.zeros_like(module.weight, dtype=torch.float64)
        self._squares = torch.zeros_like(self._sum)

    def add(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Count the channels of an input (B, C, h, w)."""
        values = inputs[0].double()
        self._count += values.numel() // values.shape[1]
        self._sum += values.sum(dim=(0, 2, 3))
        self._squares += values.square().sum(dim=(0, 2, 3))

    @property
    def mean(self) -> Tensor:
        """Mean of each channel (C,)."""
        return self._sum / self._count

    @property
    def variance(self) -> Tensor:
        """Variance of each channel (C,), as batch norm divides by it."""
        return (self._squares / self._count - self.mean.square()).clamp(min=0)
