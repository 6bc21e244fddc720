"""What the edges of images cost: scores by a pixel's distance from the edge, with and without its real surroundings.

python tests/benchmarks/image_edges.py DATA [--model NAME] [--split val]

Images of a dataset end where slides go on: the network sees mirrored pixels there, and annotators leave out lesions of
which too little is visible. Every image is analysed whole, and once more without its outer pixels; those near the new
edge then have the same truth, and mirrored surroundings in place of real ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.engine.networks.network import load_network
from wsi_segment.inference.evaluation.model_scores import predict_image, read_pair
from wsi_segment.inference.evaluation.slide_dataset import read_training_data
from wsi_segment.model.card import find_model
from wsi_segment.model.metrics import confusion_matrix, lesion_dice, score

BANDS = (0, 8, 16, 24, 48, 113)
"""Distances from the edge between which pixels are counted together."""
CUT = 32
"""Outer pixels that are left out the second time."""


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="colorectal-biopsy")
    parser.add_argument("--split", choices=("train", "val", "test"), default="val")
    args = parser.parse_args()
    model, dataset = find_model(args.model), read_training_data(args.data, {})
    card, network = model.card, load_network(model, "cpu", "auto")
    classes = len(card.classes)
    zero = np.zeros((classes, classes + 1), np.int64)
    whole, real, mirrored = ([zero.copy() for _ in BANDS[1:]] for _ in range(3))
    inside = slice(CUT, -CUT)
    for item in dataset.split(args.split):
        if item.mask is None:
            continue
        truth, pixels = read_pair(dataset, item)
        ids = predict_image(pixels, dataset.mpp, card=card, network=network)[0]
        cut = np.ascontiguousarray(pixels[inside, inside])
        ids_of_cut = predict_image(cut, dataset.mpp, card=card, network=network)[0]
        for band, (near, near_new) in enumerate(zip(bands_of(truth.shape), bands_of(ids_of_cut.shape), strict=True)):
            whole[band] += confusion_matrix(truth[near], ids[near], classes)
            there, here = truth[inside, inside][near_new], ids[inside, inside][near_new]
            real[band] += confusion_matrix(there, here, classes)
            mirrored[band] += confusion_matrix(there, ids_of_cut[near_new], classes)
    print("pixels from the edge   whole images: Dice, macro F1, lesion   beside a cut: Dice, real and mirrored")
    for band, (low, high) in enumerate(pairwise(BANDS)):
        lesion = whole[band][1:].sum() / whole[band].sum()
        print(
            f"{low:3} to {high:3}   {lesion_dice(whole[band]):.4f}  {score(whole[band]).macro_f1:.4f}  {lesion:.3f}"
            f"   {lesion_dice(real[band]):.4f}  {lesion_dice(mirrored[band]):.4f}"
        )
        inner = np.sum(whole[band:], axis=0)
        print(f"from {low:3} on   {lesion_dice(inner):.4f}  {score(inner).macro_f1:.4f}")


def bands_of(shape: tuple[int, ...]) -> Iterator[NDArray[np.bool_]]:
    """Yield where an image's pixels lie between two distances from its edge."""
    rows, columns = (np.minimum(np.arange(side), side - 1 - np.arange(side)) for side in shape)
    distance = np.minimum(rows[:, None], columns[None])
    for low, high in pairwise(BANDS):
        yield (distance >= low) & (distance < high)


if __name__ == "__main__":
    main()
