"""What the borders of windows do to a mask, by overlap.

A real slide is segmented twice, the second time with all windows shifted by half a stride. Where both masks
disagree, the place of a window's border decided the class. The share is given for pixels near a border of the
first lattice and elsewhere, beside the number of windows, which is the cost.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from synthetic import SLIDES
from wsi_segment.inference.engine.networks.onnx_network import OnnxNetwork
from wsi_segment.inference.engine.tissue import find_tissue
from wsi_segment.inference.evaluation.model_scores import predict_image
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.grid.lattice import Lattice, stride_of
from wsi_segment.inference.slides.frame import mask_frame
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.model.card import DEFAULT_MODEL, find_model

NEAR = 8
"""Mask pixels on each side of a window's border."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", nargs="*", type=Path, default=[SLIDES / "CMU-1-Small-Region.svs"])
    parser.add_argument("--mpp", type=float, default=0.5)
    args = parser.parse_args()
    model = find_model(DEFAULT_MODEL)
    network, card = OnnxNetwork(model), model.card
    print("slide                              overlap  windows  disagree near borders  elsewhere     all")
    for path in args.slides:
        slide = open_slide(path)
        frame = mask_frame(slide, args.mpp, card.mpp)
        pixels = PixelSource(slide, frame).read(frame.box)
        tissue = find_tissue(slide, frame, mask_mpp=card.mpp, method="otsu", step=lambda done, total: None).pixels(
            frame.box
        )
        slide.close()
        for overlap in (0.0, 0.25, 0.5, 0.75):
            stride = stride_of(overlap, card.window, card.output_stride)
            shift = stride // 2 // card.output_stride * card.output_stride
            whole, _ = predict_image(pixels, card.mpp, card=card, network=network, overlap=overlap)
            second, _ = predict_image(pixels[shift:, shift:], card.mpp, card=card, network=network, overlap=overlap)
            first = whole[shift:, shift:]
            inner = Box(128, 128, first.shape[1] - 128, first.shape[0] - 128)  # the slide's own edge is no seam
            cut = np.s_[inner.y0 : inner.y1, inner.x0 : inner.x1]
            differ, counted = (first != second)[cut], tissue[shift:, shift:][cut]
            near = np.zeros(pixels.shape[:2], bool)
            for start in range(0, max(near.shape), stride):
                for border in (start, start + card.window):
                    near[max(0, border - NEAR) : border + NEAR] = True
                    near[:, max(0, border - NEAR) : border + NEAR] = True
            near = near[shift:, shift:][cut]
            lattice = Lattice(pixels.shape[1], pixels.shape[0], card.window, stride)
            at, away = differ[counted & near].mean(), differ[counted & ~near]
            elsewhere = f"{away.mean():9.2%}" if away.size else "        -"
            print(
                f"{path.name:34} {overlap:7}  {lattice.rows * lattice.columns:7}  {at:21.2%}  {elsewhere}  "
                f"{differ[counted].mean():6.2%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
