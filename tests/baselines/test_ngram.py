"""The n-gram model against a slow one that follows the paper word by word."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnctl.baselines.ngram import KneserNey

Slow = Callable[[tuple[int, ...], int], float]


def slow_model(documents: list[list[int]], order: int, size: int, boundary: int) -> Slow:
    """Interpolated modified Kneser–Ney with dictionaries (Chen & Goodman 1999)."""
    grams: list[list[tuple[int, ...]]] = [[] for _ in range(order)]
    for document in documents:
        text = [boundary] * (order - 1) + list(document)
        for k in range(1, order + 1):  # those that end in a token of the document
            grams[k - 1] += [tuple(text[i - k + 1 : i + 1]) for i in range(order - 1, len(text))]
    counts: list[dict[tuple[int, ...], float]] = []
    for k in range(order):
        found: dict[tuple[int, ...], float] = defaultdict(float)
        if k == order - 1:
            for gram in grams[k]:
                found[gram] += 1
        else:
            for longer in set(grams[k + 1]):
                found[longer[1:]] += 1
        counts.append(found)

    def discount(k: int, count: float) -> float:
        n = [sum(1 for c in counts[k].values() if c == j) for j in range(1, 5)]
        if n[0] == 0 or n[1] == 0:
            return 0.0 if count == 0 else 0.5
        y = n[0] / (n[0] + 2 * n[1])
        j = min(3, int(count))
        if j == 0:
            return 0.0
        value = j - (j + 1) * y * n[j] / n[j - 1] if n[j - 1] else 0.5 * j
        return min(max(value, 0.05), j)

    def chance(context: tuple[int, ...], token: int) -> float:
        k = len(context)
        lower = chance(context[1:], token) if k else 1 / size
        following = {gram[-1]: c for gram, c in counts[k].items() if gram[:-1] == context}
        if not following:
            return lower
        total = sum(following.values())
        free = sum(min(discount(k, c), c) for c in following.values())
        own = following.get(token, 0.0)
        return max(own - discount(k, own), 0) / total + free / total * lower

    return chance


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 4), max_size=25), min_size=1, max_size=4), st.integers(2, 4)
)
def test_agrees_with_the_slow_one(documents: list[list[int]], order: int) -> None:
    model = KneserNey(documents, order=order, vocab_size=5, boundary_id=4)
    slow = slow_model(documents, order, 5, 4)
    text = [0, 1, 2, 3, 0, 0, 1]
    padded = [4] * (order - 1) + text
    wanted = []
    for i in range(order - 1, len(padded)):
        context = tuple(padded[i - order + 1 : i])
        wanted.append(-math.log(slow(context, padded[i])))
    assert model.losses(text) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("order", [2, 3, 5])
def test_how_documents_begin_is_learnt(order: int, ended: bool) -> None:
    """Every document is token 1, then seven of eight equally likely ones, then its boundary."""
    draw = np.random.default_rng(0)
    documents = [np.concatenate([[1], draw.integers(2, 10, 7), [0] * ended]) for _ in range(2000)]
    model = KneserNey(documents, order=order, vocab_size=10, boundary_id=0)
    chances = model.probabilities([])
    assert chances[1] > 0.999 and chances[0] < 1e-3


@pytest.mark.parametrize("context", [[], [0], [5, 5, 5, 5], [1, 2], [6, 6, 6]])
def test_probabilities_sum_to_one(context: list[int]) -> None:
    draw = np.random.default_rng(0)
    documents = [draw.integers(0, 6, 30) for _ in range(10)]
    model = KneserNey(documents, order=4, vocab_size=7, boundary_id=6)
    chances = model.probabilities(context)
    assert chances.sum() == pytest.approx(1, abs=1e-12)
    assert (chances > 0).all()


def test_a_longer_context_helps_on_text(root: Path) -> None:
    text = (root / "data/paragraphs/train.txt").read_text(encoding="utf-8")[:200_000]
    held = (root / "data/paragraphs/valid.txt").read_text(encoding="utf-8")[:20_000]
    number = {c: i for i, c in enumerate(sorted(set(text + held)))}
    train, valid = ([number[c] for c in part] for part in (text, held))
    size = len(number) + 1
    losses = [
        KneserNey([train], order=k, vocab_size=size, boundary_id=size - 1).losses(valid).mean()
        for k in (1, 2, 3, 5)
    ]
    assert sorted(losses, reverse=True) == losses
    counts = np.bincount(train, minlength=size)
    unigram = -np.log((counts[valid] + 1e-9) / counts.sum()).mean()
    assert losses[0] == pytest.approx(unigram, rel=0.01)


@pytest.mark.slow
def test_penn_like_quality_on_wikitext(shared_data: Path) -> None:
    """A 5-gram of this kind has a perplexity of about 230 on WikiText-2."""
    train, valid = (
        (shared_data / f"wikitext2/{name}.txt").read_text(encoding="utf-8").replace("\n", " <eos> ")
        for name in ("train", "valid")
    )
    words = {word: i for i, word in enumerate(dict.fromkeys(train.split()))}
    ids = [[words.get(w, words["<unk>"]) for w in part.split()] for part in (train, valid)]
    model = KneserNey([ids[0]], order=5, vocab_size=len(words) + 1, boundary_id=len(words))
    assert 220 < math.exp(model.losses(ids[1]).mean()) < 245
