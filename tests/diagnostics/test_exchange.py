"""Exchanging `c` against `h` in LSTMs that are built so that one of them carries everything."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnnctl.diagnostics.exchange import (
    LAG,
    WINDOW,
    classifier_pairs,
    exchange_classifier,
    exchange_language,
    exchanged,
    language_pairs,
)
from rnnctl.nn.models import Classifier, LanguageModel

HIDDEN = 6


def _gates(model: LanguageModel | Classifier) -> dict[str, slice]:
    order = ("input", "forget", "candidate", "output")
    return {name: slice(k * HIDDEN, (k + 1) * HIDDEN) for k, name in enumerate(order)}


@torch.no_grad()
def _carried_by(model: LanguageModel | Classifier, part: str) -> None:
    """Set the weights so that only `c` ("c") or only `h` ("h") reaches the next step.

    With U = 0 no gate sees h, and c' = f c + i g keeps what it has; with the forget gate shut
    c' = i g, and the past comes in through U h alone.
    """
    gates, layer = _gates(model), model.recurrent
    torch.manual_seed(1)
    for name, weight in layer.named_parameters():
        strong = part == "h" and name.startswith("weight_hh")
        torch.nn.init.normal_(weight, 0.0, 3.0 if strong else 0.8)
        if part == "c" and name.startswith("weight_hh"):
            weight.zero_()
        if name.startswith("bias"):
            weight.zero_()
            weight[gates["forget"]] = 2.0 if part == "c" else -50.0
        if part == "h" and name.startswith(("weight_ih", "weight_hh")):
            weight[gates["forget"]] = 0.0


def _language_model(part: str) -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(
        vocab_size=12, embedding_size=5, cell="lstm", hidden_size=HIDDEN, num_layers=1,
        engine="torch",
    )  # fmt: skip
    _carried_by(model, part)
    torch.nn.init.normal_(model.decoder.weight, 0.0, 2.0)
    return model.eval()


def _documents(count: int = 60, size: int = 80) -> list[np.ndarray]:
    draw = np.random.default_rng(3)
    return [draw.integers(0, 12, size) for _ in range(count)]


def _sampled(model: LanguageModel, count: int = 400, size: int = 60) -> list[np.ndarray]:
    """Texts that the model writes itself, so that its own state is worth something to it."""
    draw = torch.Generator().manual_seed(5)
    ids, state = torch.zeros((1, count), dtype=torch.int64), None
    rows = [ids]
    with torch.no_grad():
        for _ in range(size - 1):
            features, state = model.features(rows[-1], state)
            shares = torch.softmax(model.logits(features)[0], -1)
            rows.append(torch.multinomial(shares, 1, generator=draw).T)
    return list(torch.cat(rows).T.numpy())


@pytest.mark.parametrize(("part", "c", "h"), [("c", 1.0, 0.0), ("h", 0.0, 1.0)])
def test_a_language_model_that_carries_by_one_part_alone(part: str, c: float, h: float) -> None:
    model = _language_model(part)
    pairs = language_pairs(_sampled(model), lag=1)
    assert pairs is not None
    found = exchange_language(model, pairs, lag=1)
    assert found.full.status == "ok"
    assert found.full.estimate is not None
    assert found.full.estimate > 0
    assert found.c.estimate == pytest.approx(c, abs=1e-5)
    assert found.h.estimate == pytest.approx(h, abs=1e-5)
    assert found.lag == 1


def test_a_model_that_carries_nothing_has_no_shares() -> None:
    model = _language_model("h")
    with torch.no_grad():
        for name, weight in model.recurrent.named_parameters():
            if name.startswith("weight_hh"):
                weight.zero_()
    pairs = language_pairs(_documents())
    assert pairs is not None
    found = exchange_language(model, pairs)
    assert found.full.status == "undefined"
    assert (found.c.estimate, found.h.estimate) == (None, None)


@pytest.mark.parametrize(("part", "c", "h"), [("c", 1.0, 0.0), ("h", 0.0, 1.0)])
def test_a_classifier_that_carries_by_one_part_alone(part: str, c: float, h: float) -> None:
    torch.manual_seed(0)
    model = Classifier(
        vocab_size=12, num_classes=2, embedding_size=5, cell="lstm", hidden_size=HIDDEN,
        num_layers=1, engine="torch",
    )  # fmt: skip
    _carried_by(model, part)
    model.eval()
    documents = _documents(400, 12)
    with torch.no_grad():
        lengths = torch.full((len(documents),), 12)
        logits = model(torch.from_numpy(np.stack(documents, 1)), lengths)
    odds = logits[:, 1] - logits[:, 0]
    labels = (odds > odds.median()).long().tolist()  # the model's own, so its state is evidence
    found = classifier_pairs(documents, labels, lag=2)
    assert found is not None
    pairs, a, b = found
    assert (a != b).all()
    record = exchange_classifier(model, pairs, a, b)
    assert record is not None
    assert record.full.status == "ok"
    assert record.lag == 2
    assert record.c.estimate == pytest.approx(c, abs=1e-5)
    assert record.h.estimate == pytest.approx(h, abs=1e-5)


def test_other_readouts_reach_early_tokens_directly_and_are_left_out() -> None:
    model = Classifier(
        vocab_size=12, num_classes=2, embedding_size=5, cell="lstm", hidden_size=4,
        num_layers=1, pool="mean",
    )  # fmt: skip
    found = classifier_pairs(_documents(20, 10), [0, 1] * 10)
    assert found is not None
    assert exchange_classifier(model, *found) is None


def test_arms_take_the_parts_that_their_names_say() -> None:
    own = (torch.zeros(1), torch.ones(1))
    other = (torch.full((1,), 2.0), torch.full((1,), 3.0))
    found = {arm: [float(part) for part in exchanged(own, other, arm)] for arm in
             ("own", "c", "h", "both")}  # fmt: skip
    assert found == {"own": [0, 1], "c": [0, 3], "h": [2, 1], "both": [2, 3]}


def test_windows_of_a_pair_come_from_different_places_and_fit_their_documents() -> None:
    documents = [np.full(300, k) for k in range(10)]
    pairs = language_pairs(documents)
    assert pairs is not None
    assert pairs.a.shape == pairs.b.shape
    assert len(pairs.a) == pairs.at + LAG + WINDOW
    assert (pairs.a == pairs.a[0]).all()  # inside one document


def test_too_little_text_is_nothing_to_measure() -> None:
    assert language_pairs([]) is None
    assert language_pairs([np.arange(10)]) is None
    assert classifier_pairs([], []) is None
    assert classifier_pairs([np.arange(9), np.arange(9)], [1, 1]) is None
