"""Training steps a second on a GPU beside the CPU of the same machine, and what a step on the GPU waits for.

The recipe ``modern`` on made images; a step is one update by each kind, 32 patches in all. "Data" is reading and
augmenting alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from synthetic import write_dataset
from wsi_segment.model.data.loaders.manifest import read_dataset
from wsi_segment.model.training.recipe import make_recipe
from wsi_segment.model.training.train import _Trainer

CHANGES = {"segmentation_batch": 16, "classification_batch": 16, "stain": 0.15, "dice": 0.5}


def seconds_a_call(call: Callable[[int], object], calls: int, device: torch.device) -> float:
    """Mean over some calls after three that warm up."""
    for number in range(3 + calls):
        if number == 3:
            started = time.perf_counter()
        call(number)
        if device.type == "cuda":
            torch.cuda.synchronize()
    return (time.perf_counter() - started) / calls


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    recipe = make_recipe("modern", CHANGES)
    names = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    with tempfile.TemporaryDirectory() as scratch:
        dataset = read_dataset(write_dataset(Path(scratch)))
        print("device  steps/s  patches/s  data ms  step ms")
        for name in names:
            device = torch.device(name)
            torch.use_deterministic_algorithms(name == "cpu")  # as a training does
            trainer = _Trainer(dataset, recipe, seed=0, encoder_weights=None, setting=None, device=device)

            def data(step: int, trainer: _Trainer = trainer) -> None:
                for batch in trainer._sampler.batches(step):
                    trainer._augmented(batch, step)

            of_data = seconds_a_call(data, args.steps, device)
            of_step = seconds_a_call(trainer.train_step, args.steps, device)
            print(f"{name:6}  {1 / of_step:7.1f}  {32 / of_step:9.0f}  {1e3 * of_data:7.1f}  {1e3 * of_step:7.1f}")


if __name__ == "__main__":
    main()
