"""Scores word by word: they add up to the text at every level, and each token has one word."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnctl.errors import DataError
from rnnctl.inference.score import Scorer
from rnnctl.inference.words import END, Plan, Word, WordScorer
from rnnctl.tasks.loading import load

MakeRun = Callable[..., Path]
TEXT = "The bell, they say, rang at noon; nobody came. Why? It's an odd day, isn't it?\n" * 3
LEVELS = ("char", "byte", "word", "bpe", "whitespace")


@pytest.fixture(scope="module")
def scorers(make_run: MakeRun) -> dict[str, Scorer]:
    texts = dict.fromkeys(LEVELS, TEXT)
    texts["whitespace"] = TEXT.replace("noon", "<unk>")  # the WikiText way
    return {
        level: Scorer(
            load(
                make_run(
                    text,
                    level="word" if level == "whitespace" else level,
                    vocab_size=280 if level == "bpe" else None,
                )
            )
        )
        for level, text in texts.items()
    }


USUAL = Plan()


def words_of(scorer: Scorer, text: str, plan: Plan = USUAL) -> list[Word]:
    (found,) = WordScorer(scorer, plan).score([text])
    assert not isinstance(found, DataError), found
    return found


ANY_TEXT = st.text(
    st.one_of(
        st.sampled_from(" \t\n\u00a0\u2003abTbell.,'n😀一"),
        st.characters(blacklist_categories=("Cs",)),
    ),
    max_size=40,
)


@pytest.mark.parametrize("level", LEVELS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=ANY_TEXT, space=st.sampled_from(["before", "after"]), end=st.booleans())
def test_words_add_up_to_the_text(
    level: str, text: str, space: str, end: bool, scorers: dict[str, Scorer]
) -> None:
    scorer = scorers[level]
    scorer.ends = end
    (found,) = WordScorer(scorer, Plan(space=space, end=end)).score([text])  # type: ignore[arg-type]
    (tally,) = scorer.tally_texts([text])
    scorer.ends = False
    if isinstance(found, DataError):
        reason = "no word" if not text.split() else "no token"
        assert reason in found.message
        return
    words = found[:-1] if end else found
    assert [word.text for word in words] == text.split()
    assert all(text[word.start : word.end] == word.text for word in words)
    assert sum(word.tokens for word in found) == tally.tokens
    assert sum(word.unknown for word in found) == tally.unknown
    nats = math.fsum(word.nats for word in found if word.nats is not None)
    assert nats == pytest.approx(tally.nats, rel=1e-6, abs=1e-6)
    assert all(word.nats is not None and word.nats > -1e-6 for word in found)
    assert all(0 <= word.entropy <= math.log(scorer.tokenizer.vocab_size) + 1e-6 for word in found)


@pytest.mark.parametrize("level", ["char", "byte", "bpe", "word"])
def test_the_space_moves_from_one_word_to_the_other(level: str, scorers: dict[str, Scorer]) -> None:
    """By hand: −ln of the probability of all tokens that begin with a space, at each beginning."""
    scorer, text = scorers[level], "The bell rang."
    before = words_of(scorer, text)
    after = words_of(scorer, text, Plan(space="after"))
    ids = scorer.tokenizer.encode(text)
    inputs = torch.tensor([scorer.tokenizer.boundary_id, *ids[:-1].tolist()]).unsqueeze(1)
    with torch.no_grad():
        features, _ = scorer.model.features(inputs)
        log = scorer.model.logits(features)[:, 0].double().log_softmax(-1)
    begins = [
        token for token in range(2 if level == "word" else 1, scorer.tokenizer.vocab_size)
        if scorer.tokenizer.token_bytes(token).decode("utf-8", "replace")[:1].isspace()
    ]  # fmt: skip
    if scorer.tokenizer.unknown_id is not None and level == "word":
        begins.append(scorer.tokenizer.unknown_id)
    spans = scorer.tokenizer.spans(text, ids)
    for number, place in ((1, 3), (2, 8)):  # the spaces' bytes
        at = int(np.flatnonzero((spans[:, 0] <= place) & (place < spans[:, 1]))[0])
        own = level in ("char", "byte")  # the space is a token of its own
        space = -float(log[at, ids[at]] if own else torch.logsumexp(log[at, begins], 0))
        gained = sum(w.nats or 0 for w in after[:number]) - sum(
            w.nats or 0 for w in before[:number]
        )
        assert gained == pytest.approx(space, rel=1e-4)


def test_entropy_and_likeliest_tokens(scorers: dict[str, Scorer]) -> None:
    """At the token with the word's first character: before it stand the space and all else."""
    scorer, text = scorers["char"], "The bell"
    words = words_of(scorer, text, Plan(top=3))
    ids = scorer.tokenizer.encode(text)
    inputs = torch.tensor([scorer.tokenizer.boundary_id, *ids[:-1].tolist()]).unsqueeze(1)
    with torch.no_grad():
        features, _ = scorer.model.features(inputs)
        chances = scorer.model.logits(features)[:, 0].double().softmax(-1)
    for word, at in zip(words, (0, 4), strict=True):
        assert word.entropy == pytest.approx(
            float(-(chances[at] * chances[at].log()).sum()), rel=1e-5
        )
        best = chances[at].topk(3)
        assert [name for name, _ in word.top] == [
            scorer.tokenizer.token_text(i) for i in best.indices.tolist()
        ]
        assert [chance for _, chance in word.top] == pytest.approx(best.values.tolist(), rel=1e-4)


def test_the_first_word_and_the_end(scorers: dict[str, Scorer]) -> None:
    scorer = scorers["bpe"]
    usual = words_of(scorer, "The bell rang.")
    without = words_of(scorer, "The bell rang.", Plan(first=False))
    assert without[0].nats is None and without[1:] == usual[1:]
    ended = words_of(scorer, "The bell rang.", Plan(end=True))
    assert [w.nats for w in ended[:-1]] == pytest.approx([w.nats for w in usual], rel=1e-6)
    assert ended[-1].text == END and ended[-1].tokens == 1


@pytest.mark.parametrize("level", LEVELS)
def test_neighbours_and_length_change_nothing(level: str, scorers: dict[str, Scorer]) -> None:
    """A text alone, among others, and long enough to be read in pieces."""
    scorer = scorers[level]
    long = TEXT * 400
    scored = WordScorer(scorer, Plan()).score(["The bell", " ", TEXT, long, "rang"])
    assert isinstance(scored[1], DataError)
    assert not isinstance(scored[2], DataError) and not isinstance(scored[3], DataError)
    alone = words_of(scorer, TEXT)
    assert [w.nats for w in scored[2]] == pytest.approx([w.nats for w in alone], rel=1e-5)
    size = len(alone) - 2
    assert [w.nats for w in scored[3][:size]] == pytest.approx(
        [w.nats for w in alone[:size]], rel=1e-5
    )


def test_without_compiled_passes(make_run: MakeRun) -> None:
    path = make_run(TEXT, level="word")
    usual = words_of(Scorer(load(path)), TEXT)
    plain = words_of(Scorer(load(path, engine="closed")), TEXT)
    assert [w.nats for w in plain] == pytest.approx([w.nats for w in usual], rel=1e-5)
    assert [w.entropy for w in plain] == pytest.approx([w.entropy for w in usual], rel=1e-5)
