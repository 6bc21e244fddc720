"""The networks that a worker process keeps between runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthetic import write_model
from wsi_segment.inference.engine.cluster import worker_models
from wsi_segment.inference.engine.cluster.facts import settle_for_all
from wsi_segment.inference.engine.cluster.worker_models import facts_of_this_process, network_for
from wsi_segment.inference.engine.networks.network import LoadedNetwork, load_network
from wsi_segment.model.card import InputFormat

pytest.importorskip("distributed")


def test_models_of_one_file_whose_cards_differ_are_computed_each_by_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_models, "_find", lambda model, file: model.folder)
    monkeypatch.setattr(worker_models, "_networks", {})
    model = write_model(tmp_path / "model", InputFormat(dtype="float32"))
    windows = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
    for card in (
        model.card,
        model.card.model_copy(update={"input": InputFormat(dtype="float32", std=(0.2, 1.0, 5.0))}),
        model.card.model_copy(update={"input": InputFormat(dtype="float32", colours="BGR")}),
    ):
        one = replace(model, card=card)
        choice = settle_for_all(card, "cpu", "auto", {"tcp://here": facts_of_this_process("cpu")})
        kept = network_for(one, choice, 16)
        assert np.array_equal(kept.network(windows), load_network(one, "cpu")(windows))
        prose = one.card.model_copy(update={"description": "of the same pixels"})
        assert network_for(replace(one, card=prose), choice, 16) is kept


def test_facts_are_had_while_a_network_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask asks for them on the thread by which a worker says that it is alive."""
    monkeypatch.setattr(worker_models, "_find", lambda model, file: model.folder)
    monkeypatch.setattr(worker_models, "_networks", {})
    model = write_model(tmp_path / "model", InputFormat(dtype="float32"))
    choice = settle_for_all(model.card, "cpu", "auto", {"tcp://here": facts_of_this_process("cpu")})

    def load(*arguments: Any) -> LoadedNetwork:
        meanwhile = ThreadPoolExecutor(1)
        asked = meanwhile.submit(facts_of_this_process, "cpu")
        meanwhile.shutdown(wait=False)  # or a lock that both need would hold this test for ever
        assert asked.result(20)
        return load_network(*arguments)

    monkeypatch.setattr(worker_models, "load_network", load)
    assert network_for(model, choice, 16).network.file == choice.settled.file
