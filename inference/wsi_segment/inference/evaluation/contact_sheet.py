"""A sheet of test images: each with its truth and its prediction, the worst among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsi_segment.inference.engine.networks.network import Network
from wsi_segment.inference.evaluation.model_scores import Evaluation, ImageResult, predict_image, read_pair
from wsi_segment.inference.grid.box import ceil_div
from wsi_segment.inference.mask.preview import overlay
from wsi_segment.model.card import ModelCard
from wsi_segment.model.data.dataset import Dataset

_SIDE, _GAP, _TEXT = 200, 8, 13
_INK, _PAPER = (25, 25, 25), (255, 255, 255)


def pick_images(evaluation: Evaluation, count: int, worst: int) -> list[ImageResult]:
    """Pick images for a sheet: spread evenly from the best to the worst, and the very worst at the end.

    Args:
        evaluation: Of a split.
        count: How many in all.
        worst: How many of them are those with the lowest accuracy.
    """
    ranked = sorted(evaluation.masked, key=lambda image: (-image.accuracy, str(image.item.image)))
    worst = min(worst, len(ranked))
    rest, last = ranked[: len(ranked) - worst], ranked[len(ranked) - worst :]
    places = np.linspace(0, max(0, len(rest) - 1), min(count - worst, len(rest))).astype(int)
    return [*(rest[place] for place in places.tolist()), *last]


def write_sheet(
    path: Path,
    dataset: Dataset,
    evaluation: Evaluation,
    *,
    card: ModelCard,
    network: Network,
    window: int | None = None,
    overlap: float | None = None,
) -> None:
    """Draw 12 images with truth and prediction over them, the last 4 the worst, and a legend; PNG."""
    chosen = pick_images(evaluation, 12, 4)
    columns = 2
    rows = ceil_div(len(chosen), columns)
    cell_width, cell_height = 3 * (_SIDE + 2) + 3 * _GAP, _SIDE + 3 * _TEXT
    legend = 2 * _TEXT * (ceil_div(len(card.classes), 4) + 1) + _TEXT
    canvas = Image.new("RGB", (columns * cell_width + _GAP, rows * cell_height + legend), _PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_TEXT)
    for index, image in enumerate(chosen):
        truth, pixels = read_pair(dataset, image.item)
        prediction, _ = predict_image(pixels, dataset.mpp, card=card, network=network, window=window, overlap=overlap)
        x, y = _GAP + index % columns * cell_width, index // columns * cell_height
        name = "" if image.item.label is None else f"{evaluation.names[image.item.label - 1]}: "
        note = " (one of the worst four)" if index >= len(chosen) - 4 else ""
        draw.text((x, y + _TEXT // 2), f"{name}{image.accuracy:.0%} of pixels right{note}", fill=_INK, font=font)
        for place, drawn in enumerate((pixels, overlay(pixels, truth, card), overlay(pixels, prediction, card))):
            small = Image.fromarray(drawn).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            canvas.paste(small, (x + place * (_SIDE + 2), y + 2 * _TEXT))
    _draw_legend(draw, card, font, rows * cell_height + _TEXT)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(path, format="PNG", optimize=True)


def _draw_legend(
    draw: ImageDraw.ImageDraw, card: ModelCard, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, top: int
) -> None:
    text = "each: image, truth, prediction"
    draw.text((_GAP, top), text, fill=_INK, font=font)
    for index, entry in enumerate(card.classes):
        x, y = _GAP + index % 4 * 300, top + 2 * _TEXT * (1 + index // 4)
        draw.rectangle((x, y, x + _TEXT, y + _TEXT), fill=entry.color, outline=_INK)
        draw.text((x + 2 * _TEXT, y), entry.name, fill=_INK, font=font)
