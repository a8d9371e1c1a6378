"""Against `torch.nn`, one document at a time; neighbours, order, empty and overlong texts."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnctl.errors import RunError
from rnnctl.inference import classify as classify_module
from rnnctl.inference.classify import Predictor, answers
from rnnctl.inference.records import RecordReader, Wanted
from rnnctl.tasks.loading import load
from tests.conftest import FUSED

TEXT = "good film, bad film, a film so long that nobody knows how it ends: naïve 猫. " * 3
LABELS = ("bad", "good", "so so")
Make = Callable[..., Path]
MODELS = [
    {"cell": "lstm", "pool": "last"},
    {"cell": "lstm", "pool": "meanmax", "bidirectional": True},
    {"cell": "gru", "pool": "mean", "num_layers": 2, "bidirectional": True},
    {"cell": "gru", "pool": "last", "bidirectional": True},
    {"cell": "rnn", "pool": "max"},
]
TEXTS = ["good film", "", "bad", "a film so long that nobody knows", "Ж猫\x00\x85\u2028", TEXT]


@pytest.fixture(scope="module", params=["auto", FUSED])
def predictor(make_run: Make, request: pytest.FixtureRequest) -> Predictor:
    """At the start of a filter, and once it has read so much that it reads side by side."""
    run = make_run(TEXT, labels=LABELS, bidirectional=True, pool="meanmax")
    return Predictor(load(run, engine=request.param))


@pytest.mark.parametrize("engine", ["auto", FUSED])
@pytest.mark.parametrize("model", MODELS)
def test_probabilities_are_those_of_torch(
    make_run: Make,
    oracle_logits: Callable[..., torch.Tensor],
    model: dict[str, object],
    engine: str,
) -> None:
    loaded = load(make_run(TEXT, labels=LABELS, level="word", **model), engine=engine)
    found = Predictor(loaded).predict(TEXTS)
    for text, prediction in zip(TEXTS, found, strict=True):
        ids = loaded.tokenizer.encode_document(text).tolist()
        expected = torch.softmax(oracle_logits(loaded.model, ids), -1)
        np.testing.assert_allclose(prediction.probabilities, expected.numpy(), atol=1e-5)
        assert prediction.label == LABELS[int(expected.argmax())]
        assert prediction.probability == max(prediction.probabilities)
        assert prediction.tokens == len(ids)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.text("go dfilmЖ\x00", max_size=60), min_size=1, max_size=8), st.randoms())
def test_neighbours_and_order_change_nothing(
    predictor: Predictor, texts: list[str], random: object
) -> None:
    alone = [predictor.predict([text])[0].probabilities for text in texts]
    together = [p.probabilities for p in predictor.predict(texts)]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_text_is_cut_as_in_training_and_says_so(make_run: Make) -> None:
    predictor = Predictor(load(make_run(TEXT, labels=LABELS, max_tokens=10)))
    short, cut = predictor.predict([TEXT[:10], TEXT])
    assert (short.cut, cut.cut) == (False, True)
    assert cut.probabilities == pytest.approx(short.probabilities, abs=1e-6)
    assert cut.tokens == 11


@pytest.mark.parametrize("level", ["char", "byte", "word", "bpe", "whitespace"])
@pytest.mark.parametrize(
    "text", ["x" * 700 + " good film dull", "good film " * 200, "film  " * 100]
)
def test_a_long_text_is_shortened_to_no_fewer_tokens_than_training_read(
    make_run: Make, level: str, text: str
) -> None:
    """Words of the WikiText protocol may be of any length."""
    known = TEXT + " <unk>" if level == "whitespace" else TEXT
    level = "word" if level == "whitespace" else level
    loaded = load(make_run(known, labels=LABELS, max_tokens=10, level=level))
    found = Predictor(loaded).predict([text])[0]
    assert found.tokens == len(loaded.tokenizer.encode_document(text, 10, "head"))
    assert found.cut == (len(loaded.tokenizer.encode(text)) > 10)


def test_a_text_without_end_is_cut_before_it_costs_memory(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify_module, "LONGEST_READ", 20)
    found = predictor.predict(["film" * 500_000])[0]
    assert (found.cut, found.tokens) == (True, 21)


def test_unknown_tokens_are_counted(predictor: Predictor) -> None:
    assert [p.unknown for p in predictor.predict(["good", "ЖЖЖ good"])] == [0, 3]


def test_errors_stand_in_their_place(predictor: Predictor) -> None:
    reader = RecordReader(Wanted(max_line=5))
    (found,) = answers(predictor, reader.windows(io.BytesIO(b"good\n\xff\ntoo long\nbad\n")))
    assert [a.prediction is None for a in found] == [False, True, True, False]
    assert [a.record.line for a in found] == [1, 2, 3, 4]
    assert found[3].prediction is not None
    expected = predictor.predict(["bad"])[0].probability
    assert found[3].prediction.probability == pytest.approx(expected, abs=1e-5)


def test_a_language_model_classifies_nothing(make_run: Make) -> None:
    with pytest.raises(RunError, match="is a language model"):
        Predictor(load(make_run(TEXT)))
