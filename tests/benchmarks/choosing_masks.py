"""Whether masks that `wsi-segment suggest` would choose teach more than masks drawn at random.

A small model that trains in a moment stands in for the network: ridge regression of a cell's class on the stain and
detail around it. Both ways begin with the same few masks; then one adds masks chosen by the model's own uncertainty and
the images' diversity, round after round, the other masks at random. Scores are of the cells of `val`.

    python tests/benchmarks/choosing_masks.py DATA [--seeds 20] [--json FILE] [--figure PNG]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.evaluation.annotating.choose import choose, mean_entropy
from wsi_segment.model.data.loaders.manifest import read_dataset
from wsi_segment.model.likeness import describe
from wsi_segment.model.metrics import confusion_matrix, score

Floats = NDArray[np.float64]
CELL, ROUNDS, EACH, RIDGE = 8, 10, 12, 30.0


def cell_features(pixels: NDArray[np.uint8]) -> Floats:
    """(cells, F): mean and spread of the optical densities of a cell and of those around it, and their products."""
    density = -np.log10((pixels.astype(np.float64) + 1) / 256)
    height, width = (side // CELL for side in density.shape[:2])
    cells = density[: height * CELL, : width * CELL].reshape(height, CELL, width, CELL, 3)
    maps = np.concatenate([cells.mean(axis=(1, 3)), cells.std(axis=(1, 3))], axis=2)
    wide = [maps]
    for reach in (1, 4):
        padded = np.pad(maps, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1,) * 2, axis=(0, 1))
        wide.append(windows.mean(axis=(3, 4)))
    flat = np.concatenate(wide, axis=2).reshape(height * width, -1)
    rows, columns = np.triu_indices(flat.shape[1])
    return np.concatenate([np.ones((len(flat), 1)), flat, flat[:, rows] * flat[:, columns]], axis=1)


def cell_classes(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The class id in the middle of each cell."""
    height, width = (side // CELL for side in mask.shape)
    return mask[CELL // 2 :: CELL, CELL // 2 :: CELL][:height, :width].ravel().astype(np.int64)


class Images:
    """Sums that a regression on any images of a split needs, and what predicts them."""

    def __init__(self, data: Path, split: Any, every: int = 1) -> None:
        dataset = read_dataset(data, {})
        self.classes = len(dataset.classes)
        self.inputs, self.truth, self.products, self.targets, looks = [], [], [], [], []
        for item in dataset.split(split)[::every]:
            mask = dataset.read_mask(item)
            assert mask is not None
            pixels = dataset.read_image(item)
            x, ids = cell_features(pixels), cell_classes(mask)
            y = (ids[:, None] == np.arange(1, self.classes + 1)).astype(np.float64)
            self.inputs.append(x.astype(np.float32))
            self.truth.append(ids)
            self.products.append((x.T @ x).astype(np.float32))
            self.targets.append(x.T @ y)
            found = describe(pixels)
            looks.append(np.zeros(8) if found is None else found)
        self.looks = np.stack(looks)

    def fit(self, chosen: list[int]) -> Floats:
        """Weights (F, C), classes balanced by the root of their frequency."""
        product: Floats = np.stack([self.products[i] for i in chosen]).sum(axis=0, dtype=np.float64)
        target: Floats = np.stack([self.targets[i] for i in chosen]).sum(axis=0)
        frequency = target[0] / target[0].sum()  # the first feature is 1
        weights = np.linalg.solve(product + RIDGE * np.diag(np.diag(product)) / len(product), target)
        balanced: Floats = weights / np.sqrt(np.maximum(frequency, 1e-3))
        return balanced

    def shares(self, index: int, weights: Floats) -> Floats:
        """Shares (C, cells) of the classes."""
        raw = np.maximum(self.inputs[index] @ weights, 1e-3).T
        shares: Floats = raw / raw.sum(axis=0)
        return shares


def macro_f1(images: Images, weights: Floats) -> float:
    total = np.zeros((images.classes, images.classes + 1), np.int64)
    for index, truth in enumerate(images.truth):
        said = images.shares(index, weights).argmax(axis=0) + 1
        total += confusion_matrix(truth.astype(np.uint8), said.astype(np.uint8), images.classes)
    return score(total).macro_f1


def curve(train: Images, val: Images, seed: int, *, suggested: bool) -> list[float]:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(train.truth)).tolist()
    chosen, scores = order[:EACH], []
    for turn in range(1, ROUNDS + 1):
        weights = train.fit(chosen)
        scores.append(macro_f1(val, weights))
        if not suggested:
            chosen = order[: EACH * (turn + 1)]
            continue
        shares = [train.shares(index, weights) for index in range(len(train.truth))]
        features = np.concatenate([np.stack([one.mean(axis=1) for one in shares]), train.looks], axis=1)
        chosen = chosen + choose([mean_entropy(one) for one in shares], features, EACH, known=chosen)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    train, val = Images(args.data, "train", every=2), Images(args.data, "val", every=2)
    curves = {
        name: np.array([curve(train, val, seed, suggested=name == "suggested") for seed in range(args.seeds)])
        for name in ("random", "suggested")
    }
    masks = [EACH * turn for turn in range(1, ROUNDS + 1)]
    ahead = curves["suggested"] - curves["random"]
    print("masks   random          suggested       ahead, of the seeds")
    for place, count in enumerate(masks):
        cells = [f"{curves[name][:, place].mean():.3f} ± {curves[name][:, place].std():.3f}" for name in curves]
        print(f"{count:5}   {cells[0]}   {cells[1]}   {(ahead[:, place] > 0).sum()} of {args.seeds}")
    if args.json is not None:
        rows = {name: values.round(4).tolist() for name, values in curves.items()}
        args.json.write_text(json.dumps({"masks": masks, "macro_f1": rows}) + "\n", encoding="utf-8")
    if args.figure is not None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        for (name, values), color in zip(curves.items(), ("#0072B2", "#D55E00"), strict=True):
            axes.errorbar(
                masks, values.mean(axis=0), yerr=values.std(axis=0), color=color, marker="o", capsize=3, label=name
            )
        axes.set(xlabel="masks", ylabel="macro F1 on val, cells of 8 px")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        figure.savefig(args.figure, dpi=110)


if __name__ == "__main__":
    main()
