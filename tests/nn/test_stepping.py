"""Steps against the whole sequence at once, for one stream and for several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rnnctl.nn.models import LanguageModel
from rnnctl.nn.stepping import TABLE_NUMBERS, Stepper, StepWeights

MODELS: dict[str, dict[str, Any]] = {
    "lstm": {"cell": "lstm", "num_layers": 2},
    "gru": {"cell": "gru", "num_layers": 2},
    "rnn": {"cell": "rnn"},
    "relu": {"cell": "rnn", "nonlinearity": "relu"},
    "tied": {"cell": "lstm", "tied": True, "dropout_output": 0.5},
    "many words": {"cell": "gru", "vocab_size": TABLE_NUMBERS // 24 + 1, "tied": True},
}


def build(name: str, **options: Any) -> LanguageModel:
    torch.manual_seed(0)
    sizes = {"vocab_size": 11, "embedding_size": 6, "hidden_size": 8, "num_layers": 1}
    return LanguageModel(**{**sizes, **MODELS[name], **options}).eval()


@torch.no_grad()
def expected(model: LanguageModel, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    features, _ = model.features(torch.from_numpy(ids))
    return model.logits(features).numpy()


@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize("streams", [1, 2, 5])
@pytest.mark.parametrize("name", MODELS)
def test_steps_are_the_whole(name: str, streams: int, engine: str) -> None:
    model = build(name, engine=engine)
    ids = np.random.default_rng(0).integers(11, size=(7, streams))
    whole = expected(model, ids)
    weights = StepWeights(model, streams)
    for source in (model, weights, weights):  # what was made ready serves again
        stepper = Stepper(source, model.recurrent.initial_state(streams))
        for now, wanted in zip(ids, whole, strict=True):
            np.testing.assert_allclose(stepper.step(now), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("streams", [1, 3])
def test_steps_are_the_whole_in_float64(streams: int) -> None:
    model = build("lstm").double()
    ids = np.random.default_rng(0).integers(11, size=(5, streams))
    stepper = Stepper(model, model.recurrent.initial_state(streams))
    for now, wanted in zip(ids, expected(model, ids), strict=True):
        np.testing.assert_allclose(stepper.step(now), wanted, rtol=1e-6)


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_streams_that_are_kept_go_on_as_they_would(engine: str) -> None:
    model = build("lstm", engine=engine)
    ids = np.random.default_rng(0).integers(11, size=(6, 4))
    whole = expected(model, ids)
    stepper = Stepper(model, model.recurrent.initial_state(4))
    for t in range(3):
        stepper.step(ids[t])
    for t, rows in ((3, [0, 1, 3]), (4, [1, 3]), (5, [3])):
        index = {(3): [0, 1, 3], (4): [1, 2], (5): [1]}[t]
        stepper.keep(np.array(index))
        np.testing.assert_allclose(stepper.step(ids[t, rows]), whole[t, rows], rtol=1e-4, atol=1e-5)


def test_a_step_changes_no_given_state() -> None:
    for streams, engine in ((1, "auto"), (2, "auto"), (2, "torch")):
        model = build("gru", engine=engine)
        state = model.recurrent.initial_state(streams)
        stepper = Stepper(model, state)
        stepper.step(np.ones(streams, np.int64))
        assert all(not part.any() for part in state)
