"""How many images a model calls unlike its training data: of `val` and `test`, and of pale or blurred copies of `val`.

python tests/benchmarks/false_alarms.py DATA [--model NAME]
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.evaluation.shifts import Shift
from wsi_segment.inference.evaluation.slide_dataset import read_training_data
from wsi_segment.model.card import find_model
from wsi_segment.model.likeness import describe, profile_of

SHIFTS = (Shift("density", 0.4), Shift("density", 0.55), Shift("blur", 1.5), Shift("blur", 2.0))


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="colorectal-biopsy")
    args = parser.parse_args()
    profile = profile_of(find_model(args.model).card.applicability)
    if profile is None:
        parser.error(f"the card of {args.model} has no profile of training images")
    seen, unlike = Counter[str](), Counter[str]()
    dataset = read_training_data(args.data, {})
    for item in dataset.items:
        if item.split == "train":
            continue
        pixels = dataset.read_image(item)
        copies: dict[str, NDArray[np.uint8]] = {item.split: pixels}
        if item.split == "val":
            truth = np.ones(pixels.shape[:2], np.uint8)
            copies |= {f"val, {shift.name} {shift.amount:g}": shift.apply(truth, pixels)[1] for shift in SHIFTS}
        for name, copy in copies.items():
            features = describe(copy)
            if features is not None:  # too little tissue to tell
                seen[name] += 1
                unlike[name] += profile.is_unlike(features)
    for name, count in seen.items():
        print(f"{name:20} {unlike[name]:5} of {count:5}  {100 * unlike[name] / count:5.1f} %")


if __name__ == "__main__":
    main()
