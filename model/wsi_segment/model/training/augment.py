"""Augmentation of a batch of patches: symmetries of the square, stain, colour, focus and compression.

Every random number comes from the generator that is passed in, so a step can be repeated exactly.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from wsi_segment.model.training.recipe import Recipe

_GREY = torch.tensor([0.2989, 0.5870, 0.1140])
_STAINS = torch.tensor([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical densities of red, green and blue: a row for haematoxylin, for eosin, and for what is left."""


def augment(pixels: Tensor, ids: Tensor, recipe: Recipe, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return randomly changed copies of a batch.

    Args:
        pixels: (B, 3, h, h) float32 in 0..255.
        ids: (B, h, h) class ids, moved with the pixels.
        recipe: Its ``rotate``, ``flip``, ``stain``, ``density``, ``stain_ratio``, ``cast``, ``jitter``, ``blur`` and
            ``jpeg`` are read.
        generator: Source of all randomness; on the CPU, wherever the pixels are.
    """
    turns = torch.randint(0, 4, (len(pixels),), generator=generator).tolist()
    mirrors = torch.randint(0, 2, (len(pixels),), generator=generator).tolist()
    moved_pixels, moved_ids = [], []
    for index, (turn, mirror) in enumerate(zip(turns, mirrors, strict=True)):
        one, its_ids = pixels[index], ids[index]
        if recipe.rotate:
            one, its_ids = torch.rot90(one, turn, (1, 2)), torch.rot90(its_ids, turn, (0, 1))
        if recipe.flip and mirror:
            one, its_ids = one.flip(2), its_ids.flip(1)
        moved_pixels.append(one)
        moved_ids.append(its_ids)
    changed = stain_jitter(torch.stack(moved_pixels), recipe.stain, generator)
    changed = stain_strength(changed, recipe.density, recipe.stain_ratio, generator)
    changed = colour_cast(changed, recipe.cast, generator)
    changed = colour_jitter(changed, recipe.jitter, generator)
    changed = blur(changed, recipe.blur, generator)  # in the order of a scanner: slide, lamp, lens, file
    return compress(changed, recipe.jpeg, generator), torch.stack(moved_ids)


def stain_jitter(pixels: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Vary haematoxylin, eosin and residual stain at random, for each patch by itself (Tellez et al. 2018).

    Optical densities are taken apart by the stain vectors of Ruifrok and Johnston (2001); each stain is
    multiplied by 1 - amount to 1 + amount and shifted by -amount to amount, times a tenth.

    Args:
        pixels: (B, 3, h, w) float32 in 0..255.
        amount: Half the range; 0 changes nothing.
        generator: Source of all randomness.
    """
    if not amount:
        return pixels
    draws = torch.rand((2, len(pixels), 3, 1, 1), generator=generator) * 2 - 1
    scale, shift = draws.to(pixels.device) * amount
    return _restained(pixels, lambda stains: stains * (1 + scale) + shift / 10)


def stain_strength(
    pixels: Tensor, density: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Stain each patch more weakly or strongly, and haematoxylin and eosin apart from each other.

    Laboratories differ in the strength of their stains by more than a factor of two; a wide range of it is what
    carries a network from one to another (Tellez et al. 2019).

    Args:
        pixels: (B, 3, h, w) float32 in 0..255.
        density: Range of the factor of all optical density, drawn evenly on a logarithmic scale.
        ratio: Range of the factors of haematoxylin and of eosin, drawn likewise.
        generator: Source of all randomness.
    """
    if density == ratio == (1.0, 1.0):
        return pixels
    draws = torch.rand((3, len(pixels), 1, 1), generator=generator)
    both, haematoxylin, eosin = (
        torch.exp(math.log(low) + draw * (math.log(high) - math.log(low)))
        for draw, (low, high) in zip(draws, (density, ratio, ratio), strict=True)
    )
    factors = torch.stack((both * haematoxylin, both * eosin, both), dim=1).to(pixels.device)
    return _restained(pixels, lambda stains: stains * factors)


def _restained(pixels: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Change the optical densities (B, 3, h, w) of haematoxylin, eosin and residual."""
    apart, together = (matrix.to(pixels.device) for matrix in (torch.linalg.inv(_STAINS), _STAINS))
    stains = torch.einsum("ji,bjhw->bihw", apart, -torch.log10((pixels + 1) / 256))
    return (256 * 10 ** -torch.einsum("ji,bjhw->bihw", together, change(stains)) - 1).clamp(0, 255)


def colour_cast(pixels: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Multiply red, green and blue by factors of 1 - amount to 1 + amount, for each patch by itself.

    Args:
        pixels: (B, 3, h, w) float32 in 0..255.
        amount: Half the range; 0 changes nothing.
        generator: Source of all randomness.
    """
    if not amount:
        return pixels
    draws = torch.rand((len(pixels), 3, 1, 1), generator=generator) * 2 - 1
    return (pixels * (1 + amount * draws.to(pixels.device))).clamp(0, 255)


def blur(pixels: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Blur half of the patches by a Gaussian of a random sigma, as slides are out of focus here and there.

    Args:
        pixels: (B, 3, h, w) float32 in 0..255.
        most: The largest sigma, pixels; 0 changes nothing.
        generator: Source of all randomness.
    """
    if not most:
        return pixels
    chosen, sigmas = torch.rand((2, len(pixels)), generator=generator)
    sigmas = (most * sigmas * (chosen < 0.5)).clamp(min=1e-3).to(pixels.device)
    reach = math.ceil(3 * most)
    places = torch.arange(-reach, reach + 1, device=pixels.device)
    kernels = torch.exp(-0.5 * (places / sigmas[:, None]) ** 2)
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).repeat_interleave(3, dim=0)
    count, channels, height, width = pixels.shape
    x = functional.pad(pixels, (reach,) * 4, mode="replicate").reshape(1, count * channels, *_grown(pixels, reach))
    x = functional.conv2d(x, kernels[:, None, :, None], groups=count * channels)
    x = functional.conv2d(x, kernels[:, None, None, :], groups=count * channels)
    return x.reshape(count, channels, height, width)


def _grown(pixels: Tensor, reach: int) -> tuple[int, int]:
    return pixels.shape[2] + 2 * reach, pixels.shape[3] + 2 * reach


def compress(pixels: Tensor, lowest: int, generator: torch.Generator) -> Tensor:
    """Compress half of the patches as JPEG of a random quality.

    Args:
        pixels: (B, 3, h, w) float32 in 0..255.
        lowest: The lowest quality, 1 to 99; 100 changes nothing.
        generator: Source of all randomness.
    """
    if lowest >= 100:
        return pixels
    chosen = torch.rand(len(pixels), generator=generator) < 0.5
    qualities = torch.randint(lowest, 96, (len(pixels),), generator=generator)
    if pixels.is_meta:  # shapes without values
        return pixels
    changed = pixels.clone()
    for index in chosen.nonzero().flatten().tolist():
        rgb = pixels[index].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, "JPEG", quality=int(qualities[index]))
        changed[index] = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).to(pixels)
    return changed


def colour_jitter(pixels: Tensor, amounts: tuple[float, float, float, float], generator: torch.Generator) -> Tensor:
    """Vary brightness, contrast, saturation and hue, each patch by its own random factors.

    Factors are uniform in 1 - amount to 1 + amount (hue: -amount to amount of a turn). Hue turns the
    chroma plane of YIQ, which is linear and needs no HSV round trip.

    Args:
        pixels: (B, 3, h, w) float32 in 0..255.
        amounts: Brightness, contrast, saturation, hue.
        generator: Source of all randomness.
    """
    if not any(amounts):
        return pixels
    draws = torch.rand((4, len(pixels), 1, 1, 1), generator=generator) * 2 - 1
    factors = zip(amounts[:3], draws[:3].to(pixels.device), strict=True)
    brightness, contrast, saturation = (1 + amount * draw for amount, draw in factors)
    x = pixels * brightness
    mean = _luma(x).mean(dim=(2, 3), keepdim=True)
    x = (x - mean) * contrast + mean
    luma = _luma(x)
    x = (x - luma) * saturation + luma
    if amounts[3]:
        turns = _hue_rotation(amounts[3] * draws[3].flatten())
        x = torch.einsum("bij,bjhw->bihw", turns.to(x.device), x)
    return torch.clamp(x, 0, 255)


def _luma(x: Tensor) -> Tensor:
    return torch.unsqueeze(torch.einsum("j,bjhw->bhw", _GREY.to(x.device), x), 1)


def _hue_rotation(turns: Tensor) -> Tensor:
    """Return matrices (B, 3, 3) that turn I and Q of YIQ by a fraction of a full turn."""
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    angle = turns * (2 * torch.pi)
    turn = torch.zeros(len(turns), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = angle.cos()
    turn[:, 1, 2], turn[:, 2, 1] = -angle.sin(), angle.sin()
    return torch.matmul(torch.matmul(torch.linalg.inv(to_yiq), turn), to_yiq)
