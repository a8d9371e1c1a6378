"""FIRST→LAST on models whose answer is known: nothing, or all of the first word."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rnnctl.diagnostics import first_last
from rnnctl.diagnostics.known_answers.models import WindowModel
from rnnctl.diagnostics.sample import Sample, split_sentences
from rnnctl.diagnostics.settings import Settings

from .test_use import Latch, V, latched


def test_a_model_that_has_forgotten_has_exactly_nothing() -> None:
    """A window of 17 tokens: the first of eight-token sentences is long gone."""
    found = first_last.measure(WindowModel(17, V), latched(60, 0), Settings())
    for name in ("rise", "rise_percent", "rise_per_sentence"):
        assert found.scalars[name].estimate == 0
        assert found.scalars[name].ci95 == (0, 0)
    worse = found.scalars["worse"]
    assert worse.estimate == 0 and worse.ci95 == (0, pytest.approx(0.06, abs=0.001))


def test_a_latch_loses_what_its_last_word_rests_on() -> None:
    """Another first word turns a chance of 0.98 into one of 0.02 / 11, but for equal words."""
    sample = latched(400, 0)
    found = first_last.measure(Latch(), sample, Settings())
    # sentences of symbols are pieces of eight tokens; a cut of one token has no cue before it
    whole = math.log(0.98 / (0.02 / (V - 1)))
    expected = whole * (1 - 1 / (V - 2))
    rise, share = found.scalars["rise_per_sentence"], found.scalars["worse"]
    assert rise.estimate == pytest.approx(expected, rel=0.08)
    low, high = rise.ci95
    assert low is not None and high is not None and low < expected < high
    assert share.estimate == pytest.approx(1 - 1 / (V - 2), abs=0.05)
    mean_length = np.mean([(len(ids) - 1) % 8 + 1 for ids in sample.ids])
    per_token = found.scalars["rise"].estimate
    assert per_token == pytest.approx((rise.estimate or 0) / mean_length, rel=0.02)
    percent = found.scalars["rise_percent"].estimate
    assert percent == pytest.approx(100 * math.expm1(per_token or 0))


def test_the_share_of_returning_words_is_known() -> None:
    """Each document begins with a word of its own: a latch is always right, and else never."""
    draw = np.random.default_rng(3)
    ids = []
    for k in range(60):
        body = draw.integers(2, 12, 40)
        ids.append(np.concatenate([[20 + k], body, [1, 20 + k]]))
    sample = Sample(ids=tuple(ids))
    found = first_last.measure(Latch(), sample, Settings()).scalars
    assert found["returning"].estimate == 60
    # 60 of 60 do not prove that the next one is right as well: Wilson's interval
    assert found["right"].estimate == 1 and found["right"].ci95 == (
        pytest.approx(0.94, abs=0.001),
        1,
    )
    assert found["right_otherwise"].estimate == 0
    forgetful = first_last.measure(WindowModel(5, 90), sample, Settings()).scalars
    assert forgetful["right"].estimate == forgetful["right_otherwise"].estimate


def test_a_word_that_begins_a_text_returns_with_a_space_before_it() -> None:
    """The first word of a text is another token than the same word anywhere else."""
    draw = np.random.default_rng(4)
    shown = [b"", b" again", b".", *(f" w{k}".encode() for k in range(20))]
    shown += [f"k{k}".encode() for k in range(60)] + [f" k{k}".encode() for k in range(60)]
    ids = []
    for k in range(60):
        words = draw.integers(3, 23, 12)
        ids.append(np.concatenate([[23 + k], words[:2], [2], words[2:], [2, 3, 1, 83 + k]]))
    sample = Sample(ids=tuple(ids), token_bytes=lambda i: shown[i])
    found = first_last.measure(WindowModel(5, len(shown)), sample, Settings()).scalars
    assert found["returning"].estimate == 60


def test_a_closing_mark_belongs_to_the_sentence_that_it_ends() -> None:
    """Else the last sentence of a paragraph that ends in a quotation would be one mark."""
    tokens = [b"So", b".", b'"', b" Ada", b" said", b":", b' "', b"A", b" drum", b".", b'"']
    sample = Sample(ids=(np.arange(11),), token_bytes=lambda i: tokens[i])
    parts = split_sentences(sample.ids[0], sample)
    assert [len(part) for part in parts] == [3, 8]


def test_it_is_about_documents_of_sentences() -> None:
    running = Sample(ids=(np.zeros(500, dtype=np.int64),), running=True)
    assert first_last.measure(Latch(), running, Settings()).status == "not_applicable"
    short = Sample(ids=tuple(np.full(6, 3) for _ in range(30)))
    found = first_last.measure(Latch(), short, Settings())
    assert found.status == "insufficient_data" and "two sentences" in found.note
