from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_segment.inference.evaluation.annotating.choose import choose, mean_entropy


def test_entropy_is_of_what_was_analysed() -> None:
    shares = np.zeros((4, 10))
    assert mean_entropy(shares) == 0
    shares[:, 0] = 0.25
    assert mean_entropy(shares) == pytest.approx(1)
    shares[0, 1] = 1
    assert mean_entropy(shares) == pytest.approx(0.5)


def test_no_motif_is_chosen_twice_while_others_are_left() -> None:
    """Ten fields of one motif, very uncertain, and two each of three others, less so."""
    motifs = np.repeat(np.eye(4), [10, 2, 2, 2], axis=0)
    features = motifs + np.random.default_rng(0).normal(0, 0.01, motifs.shape)
    uncertainty = [0.9] * 10 + [0.4] * 6
    chosen = choose(uncertainty, features, 4)
    assert sorted(motifs[chosen].argmax(axis=1).tolist()) == [0, 1, 2, 3]
    assert chosen[0] < 10  # the most uncertain first


def test_what_is_certain_is_left_for_the_end() -> None:
    features = np.random.default_rng(1).random((8, 3))
    uncertainty = [0.5, 0.5, 0.0, 0.5, 0.5, 0.0, 0.5, 0.5]
    assert set(choose(uncertainty, features, 6)) == {0, 1, 3, 4, 6, 7}


def test_what_is_annotated_already_is_not_suggested_nor_its_like() -> None:
    features = np.array([[0.0], [0.01], [5.0], [5.01], [9.0]])
    assert choose([0.5] * 5, features, 2, known=[0, 2])[0] == 4
    assert not {0, 2} & set(choose([0.5] * 5, features, 5, known=[0, 2]))


@given(st.integers(1, 20), st.integers(1, 30), st.integers(0, 999))
def test_each_field_is_chosen_once_at_most_and_the_order_is_kept(count: int, fields: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features, uncertainty = rng.random((fields, 4)), rng.random(fields).tolist()
    chosen = choose(uncertainty, features, count)
    assert len(chosen) == len(set(chosen)) == min(count, fields)
    assert choose(uncertainty, features, max(1, count - 1)) == chosen[: max(1, min(count - 1, fields))]
