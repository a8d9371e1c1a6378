"""The bag of words: its features by hand, what it learns, and that it has no positions."""

from __future__ import annotations

import numpy as np
import pytest

from rnnctl.baselines.linear import NaiveBayesLinear

GOOD, BAD = "a good film", "a bad film"


def test_ratios_are_log_count_ratios() -> None:
    model = NaiveBayesLinear([GOOD, BAD], [1, 0], classes=2, pairs=False)
    words = model._words.vocabulary_
    ratios = model._ratios[1]
    # counts plus one: good (a 2, good 2, film 2, bad 1) of 7; bad the other way round
    assert ratios[words["good"]] == pytest.approx(np.log(2 / 7) - np.log(1 / 7))
    assert ratios[words["a"]] == pytest.approx(0)


def test_learns_and_knows_no_position() -> None:
    model = NaiveBayesLinear([GOOD, BAD] * 10, [1, 0] * 10, classes=2, pairs=False)
    assert model.predict(["good", "bad"]).tolist() == [1, 0]
    filler = " a film" * 10
    early, late = model.logits(["good" + filler, filler + " good"])
    assert early == pytest.approx(late)


def test_pairs_see_what_words_do_not() -> None:
    texts = ["good not bad", "bad not good"] * 15
    labels = [1, 0] * 15
    with_pairs = NaiveBayesLinear(texts, labels, classes=2)
    assert (with_pairs.predict(texts) == labels).all()
    without = NaiveBayesLinear(texts, labels, classes=2, pairs=False)
    assert (without.predict(texts) == labels).mean() < 1


def test_more_than_two_labels() -> None:
    texts = ["red apple", "green pear", "blue plum"] * 5
    model = NaiveBayesLinear(texts, [0, 1, 2] * 5, classes=4)
    assert model.predict(["apple", "pear", "plum"]).tolist() == [0, 1, 2]
    assert (model.logits(["apple"])[:, 3] == -20).all()  # never seen


def test_one_label_only_is_refused() -> None:
    with pytest.raises(ValueError, match="one label"):
        NaiveBayesLinear([GOOD, GOOD], [1, 1], classes=2)
