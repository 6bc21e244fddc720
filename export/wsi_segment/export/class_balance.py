"""Take back how much more often a network was taught some kinds of lesion than others.

A network that learns from what comes, calls a rare kind by the name of a common one where it doubts. Adding
``-strength * log(share of the class)`` to its logits takes that habit away (Menon et al. 2021, "Long-tail learning via
logit adjustment"): with strength 1 as if all kinds were equally frequent, with less for a network whose batches were
balanced in part. Kinds alone are adjusted, so that outlines stay as the network gave them as far as a constant can.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def kind_offsets(pixels: NDArray[np.int64], strength: float) -> NDArray[np.float64]:
    """Return what to add to the logits of each class (C,): 0 for the background, on average 0 over lesions.

    >>> kind_offsets(np.array([900, 80, 20]), 0.5).round(3).tolist()
    [0.0, -0.139, 0.555]

    Args:
        pixels: Of each class (C,), in the training images; the first is the background.
        strength: The power of the shares that is divided by.

    Raises:
        ValueError: a kind of lesion has no pixel.
    """
    kinds = pixels[1:].astype(np.float64)
    if not len(kinds) or not kinds.all():
        raise ValueError("a class without pixels has no share")
    shares = kinds / kinds.sum()
    wanted = -strength * np.log(shares)
    return np.concatenate(([0.0], wanted - (shares * wanted).sum()))
