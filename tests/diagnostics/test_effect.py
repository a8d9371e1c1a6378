"""EFFECT on spelled words and on classifiers, beyond what the selftest checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnctl.diagnostics import effect, hold, position, spelling
from rnnctl.diagnostics.effect import rises
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.results.base import Curve, Estimate

Make = Callable[..., Any]


@pytest.mark.parametrize("rate", [0.9, 0.97])
def test_spelled_words_find_the_rate_of_a_leaky_model(
    counting: Make, spelled_text: Sample, rate: float
) -> None:
    """One word and its space are two tokens: B(d) / B(0) = rate ** 2d."""
    settings = Settings(swaps=64, distance_words=32)
    found = effect.measure(counting(66, rate), spelled_text, settings)
    b = found.curves["b"]
    for d, value in zip(b.x, b.y, strict=True):
        assert value is not None and b.y[0] is not None
        assert value / b.y[0] == pytest.approx(rate ** (2 * d), abs=1e-9)
    half = found.scalars["half_distance"].estimate
    assert half == pytest.approx(np.log(2) / -np.log(rate) / 2, rel=0.01)


def test_words_of_several_tokens(counting: Make) -> None:
    """Letters as tokens: with equal letters in both words of a pair Δ is 0, else it decays."""
    letters = [bytes([c]) for c in b"abcdefghij"] + [b" ", b"\n"]
    draw = np.random.default_rng(1)
    vocabulary = [draw.integers(0, 10, 3) for _ in range(60)]
    ids = []
    for _ in range(16):
        words = [vocabulary[int(k)] for k in draw.integers(0, 60, 150)]
        ids.append(np.concatenate([np.append(word, 10) for word in words]))
    sample = Sample(
        ids=tuple(ids), words_per_token=0.25, token_bytes=lambda i: letters[i], spelled=True
    )
    found = effect.measure(counting(12, 0.98, 0.3), sample, Settings(swaps=200, distance_words=24))
    b = found.curves["b"].y
    assert found.status == "ok" and b[0] is not None and b[-1] is not None
    assert b[0] > b[-1] > 0


def test_words_are_found_at_every_level() -> None:
    chars = [c.encode() for c in "ab, \n"]
    ids = np.array([0, 1, 3, 1, 2, 3, 4, 0])  # "ab b, \na"
    words = spelling.find_words(ids, chars)
    assert words.starts.tolist() == [0, 3, 7] and words.ends.tolist() == [2, 4, 8]
    pieces = [b"The", b" hou", b"se", b".", b" A"]
    words = spelling.find_words(np.arange(5), pieces)
    assert words.starts.tolist() == [0, 1, 4] and words.ends.tolist() == [1, 3, 5]


@pytest.mark.parametrize("running", [False, True])
def test_too_short_a_text_says_so(counting: Make, running: bool) -> None:
    """How long documents would have to be, and how long they are."""
    count, length = (1, 40) if running else (6, 5)
    ids = np.arange(count * length).reshape(count, length)
    sample = Sample(ids=tuple(ids), running=running)
    found = effect.measure(counting(50), sample, Settings(swaps=16))
    held = hold.measure(counting(50), sample, Settings(planted=32))
    for record in (found, held):
        assert record.status == "insufficient_data"
        assert record.note.startswith("not measurable: ") and f"longest has {length}" in record.note


class FirstWord:
    """A model that keeps the first word of a document, and expects it for ever."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size, self.boundary_id = vocab_size, vocab_size - 1

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        return (torch.zeros(1, batch, self.vocab_size, dtype=torch.float64),)

    def advance(self, ids: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        current, rows = state[0][0], []
        for row in ids:
            begun = current[:, self.boundary_id] == 1
            first = torch.nn.functional.one_hot(row, self.vocab_size).double()
            boundary = (row == self.boundary_id)[:, None]
            current = torch.where(begun[:, None] | boundary, first, current)
            rows.append(current)
        return torch.stack(rows), (current[None],)

    def scores(self, features: Tensor, tokens: Tensor) -> Tensor:
        return features.gather(1, tokens)


@pytest.mark.parametrize("length", [15, 40])
def test_the_first_word_of_a_document_is_swapped_as_often_as_any_other(length: int) -> None:
    """Only there has a swap an effect, of one nat, and up to the document's last word."""
    draw = np.random.default_rng(0)
    sample = Sample(ids=tuple(draw.integers(0, 40, length) for _ in range(60)))
    found = effect.measure(FirstWord(41), sample, Settings(swaps=2000))
    near = found.scalars["b_near"].estimate
    assert near == pytest.approx(1 / (length - 9), rel=0.15)
    b = found.curves["b"]
    assert b.x[-1] >= 10
    for d, value in zip(b.x, b.y, strict=True):
        places = length - max(9, d + 1)  # that so many words and one more follow
        assert value == pytest.approx(1 / places, rel=0.6)
    r = found.curves["r"]
    assert all(
        value == pytest.approx(1, abs=1e-9) for value in r.y
    )  # the same swaps above and below


class Window:
    """A classifier that adds up the values of its last `width` tokens."""

    def __init__(self, width: int) -> None:
        self.vocab_size, self.boundary_id, self.labels = 40, 39, ("bad", "good")
        self.width = width
        self.value = torch.zeros(40, dtype=torch.float64)
        self.value[:8], self.value[8:16] = 0.5, -0.5
        self.seen: list[list[int]] = []

    def logits(self, ids: Tensor, lengths: Tensor) -> Tensor:
        age = lengths - 1 - torch.arange(len(ids))[:, None]
        inside = (age >= 0) & (age < self.width)
        self.seen += [sorted(c[:n].tolist()) for c, n in zip(ids.T, lengths, strict=True)]
        margin = (self.value[ids] * inside).sum(0)
        return torch.stack([-margin / 2, margin / 2], 1)


@pytest.fixture
def labelled() -> Sample:
    draw = np.random.default_rng(0)
    ids, labels = [], []
    for k in range(80):
        document = draw.integers(16, 39, 120)
        told = draw.random(120) < 0.15
        document[told] = draw.integers(0, 8, told.sum()) + (0 if k % 2 else 8)
        ids.append(document)
        labels.append(k % 2)
    return Sample(ids=tuple(ids), labels=np.array(labels))


@pytest.fixture
def planted() -> effect.Evidence:
    draw = np.random.default_rng(1)
    pairs = [(draw.integers(0, 8, 5), draw.integers(8, 16, 5)) for _ in range(10)]
    fillers = {name: [draw.integers(16, 39, 9) for _ in range(12)] for name in ("one", "two")}
    return effect.Evidence((1, 0), pairs, fillers, "by hand")


def test_filler_is_the_same_wherever_the_evidence_stands(
    labelled: Sample, planted: effect.Evidence
) -> None:
    model = Window(1000)
    found = effect.measure_evidence(model, labelled, Settings(evidence=3), planted)
    points = len(found.curves["b"].x)
    texts = np.array(model.seen).reshape(2, 2, 3, points, -1)  # filler, arm, item, distance, token
    assert found.fillers == ("one", "two")
    assert (texts == texts[:, :, :, :1]).all()
    assert found.pair == ("good", "bad")


class Coloured(Window):
    """Evidence counts more or less depending on which words of filler come after it."""

    def logits(self, ids: Tensor, lengths: Tensor) -> Tensor:
        known = torch.arange(len(ids))[:, None] < lengths
        gain = ((ids % 7 - 3) / 200.0) * (ids >= 16) * known
        after = gain.flip(0).cumsum(0).flip(0) - gain
        margin = (self.value[ids] * known * after.exp()).sum(0)
        return torch.stack([-margin / 2, margin / 2], 1)


def test_intervals_know_that_other_texts_have_other_neutral_sentences(
    labelled: Sample, planted: effect.Evidence
) -> None:
    found: list[Estimate] = []
    for seed in range(40):
        draw = np.random.default_rng(seed)
        sentences = [np.repeat(draw.integers(16, 39, 1), 9) for _ in range(80)]
        evidence = replace(planted, fillers={"own": sentences})
        settings = Settings(seed=seed, evidence=40, resamples=200)
        record = effect.measure_evidence(Coloured(0), labelled, settings, evidence)
        found.append(record.scalars["retention_100"])
    values = [one.estimate for one in found if one.estimate is not None]
    assert len(values) == 40
    truth = float(np.mean(values))
    ends = [one.ci95 for one in found]
    held = [low <= truth <= high for low, high in ends if low is not None and high is not None]
    assert sum(held) >= 34  # of 40; where each filler was a unit of its own, far fewer


def test_a_window_cuts_evidence_off(labelled: Sample, planted: effect.Evidence) -> None:
    found = effect.measure_evidence(Window(40), labelled, Settings(evidence=8), planted)
    r = dict(zip(found.curves["r"].x, found.curves["r"].y, strict=True))
    assert r[32] == 1 and r[45] == 0
    assert found.scalars["retention_start"].estimate == 0
    half = found.scalars["half_distance"].estimate
    assert half is not None and 32 < half < 45


def test_position_of_a_window(labelled: Sample, planted: effect.Evidence) -> None:
    found = position.measure(
        Window(30), labelled, Settings(reviews=60), planted.fillers["one"], Window(1000)
    )
    assert found.scalars["first_over_last"].estimate == 0
    assert found.scalars["reference_first_over_last"].estimate == pytest.approx(1, abs=1e-9)
    assert found.scalars["first_opposite_flips"].estimate == 0
    flips = found.scalars["last_opposite_flips"].estimate
    assert flips is not None and flips > 0.5


def test_one_label_only(labelled: Sample, planted: effect.Evidence) -> None:
    ones = [int(k) for k in np.flatnonzero(labelled.labels == 1)]
    same = replace(labelled, ids=tuple(labelled.ids[k] for k in ones), labels=labelled.labels[ones])
    found = position.measure(Window(30), same, Settings(), planted.fillers["one"])
    assert found.status == "insufficient_data" and "two labels" in found.note
    none = effect.measure_evidence(Window(30), labelled, Settings(), None)
    assert none.status == "insufficient_data" and none.note


def test_a_small_effect_has_no_ratio(labelled: Sample, planted: effect.Evidence) -> None:
    model = Window(1000)
    model.value *= 0.01
    found = effect.measure_evidence(model, labelled, Settings(evidence=8), planted)
    assert found.status == "undefined" and "r" not in found.curves
    assert found.scalars["half_distance"].estimate is None


def test_a_rise_is_noticed() -> None:
    def curve(lo: tuple[float, ...], hi: tuple[float, ...]) -> Curve:
        return Curve(x_unit="words", y_unit="ratio", x=(0, 10, 99), y=lo, lo=lo, hi=hi)

    assert rises(curve((0.9, 0.2, 1.0), (1.1, 0.4, 1.4))) == (10, 99)
    assert rises(curve((0.9, 0.2, 0.3), (1.1, 0.4, 0.6))) is None
