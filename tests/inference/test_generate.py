"""Against `torch.nn` stepped greedily; streams, stops, seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnctl.inference.generate import Generator, Piece, Wish, _Speaker, _Texts
from rnnctl.inference.sampling import Sampling
from rnnctl.inference.score import Scorer
from rnnctl.inference.session import _in_turn
from rnnctl.tasks.loading import Loaded, load

TEXT = "the cat sat on the mat. «ça va?» the dog ate the hat, and naïve 猫 slept.\n\n" * 3
MODELS = [
    {"cell": "lstm", "level": "word"},
    {"cell": "gru", "num_layers": 2},
    {"cell": "rnn", "level": "byte"},
    {"cell": "lstm", "tied": True, "embedding_size": 6, "level": "bpe", "vocab_size": 280},
]
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def loaded(make_run: Make) -> Loaded:
    return load(make_run(TEXT))


@pytest.fixture(scope="module")
def generator(loaded: Loaded) -> Generator:
    return Generator(Scorer(loaded))


def said(generator: Generator, prompts: list[str], wish: Wish, first: int = 0) -> list[str]:
    starts = [generator.read(prompt) for prompt in prompts]
    return [one.text for one in generator.continuations(starts, wish, first=first)]


@pytest.mark.parametrize("settings_", MODELS)
def test_greedy_text_is_what_torch_would_say(
    make_run: Make, oracle_logits: Callable[..., torch.Tensor], settings_: dict[str, object]
) -> None:
    run = load(make_run(TEXT, **settings_))
    tokenizer = run.tokenizer
    ids = [tokenizer.boundary_id, *tokenizer.encode("the cat").tolist()]
    for _ in range(12):
        logits = oracle_logits(run.model, ids)[-1]
        if tokenizer.unknown_id is not None:
            logits[tokenizer.unknown_id] = -torch.inf
        ids.append(int(logits.argmax()))
    wish = Wish(length=12, sampling=Sampling(temperature=0))
    expected = tokenizer.decode(ids[len(ids) - 12 :])
    assert said(Generator(Scorer(run)), ["the cat", "the cat"], wish) == [expected, expected]


def test_the_same_seed_says_the_same_and_another_does_not(generator: Generator) -> None:
    wish = Wish(length=60, seed=3)
    assert said(generator, ["the"], wish) == said(generator, ["the"], wish)
    assert said(generator, ["the"], wish) != said(generator, ["the"], Wish(length=60, seed=4))


def test_a_stream_depends_on_its_number_not_its_neighbours(generator: Generator) -> None:
    wish = Wish(length=40, seed=1)
    many = said(generator, ["the"] * 5, wish)
    assert said(generator, ["the"] * 2, wish) == many[:2]
    assert said(generator, ["the"], wish, first=3) == many[3:4]
    assert len(set(many)) == 5


def test_the_penalty_counts_the_prompts_tokens_too(
    loaded: Loaded, oracle_logits: Callable[..., torch.Tensor]
) -> None:
    """As in Hugging Face: all that was read, as far back as 64 tokens, and in whatever pieces."""
    generator = Generator(Scorer(loaded))
    ids = [loaded.tokenizer.boundary_id, *loaded.tokenizer.encode(TEXT[:80]).tolist()]
    for _ in range(9):
        logits = oracle_logits(loaded.model, ids)[-1]
        logits[loaded.tokenizer.unknown_id] = -torch.inf
        said_before = torch.tensor(sorted(set(ids[1:][-64:])))
        values = logits[said_before]
        logits[said_before] = torch.where(values > 0, values / 3, values * 3)
        ids.append(int(logits.argmax()))
    expected = loaded.tokenizer.decode(ids[-9:])
    wish = Wish(length=9, sampling=Sampling(temperature=0, repetition_penalty=3.0))
    assert said(generator, [TEXT[:80]], wish) == [expected]
    parts = generator.read(TEXT[50:80], generator.read(TEXT[:50]))
    assert generator.continuations([parts], wish)[0].text == expected


@pytest.mark.parametrize("penalty", [1.0, 2.0])
def test_prompts_of_different_lengths_go_together(generator: Generator, penalty: float) -> None:
    wish = Wish(length=20, sampling=Sampling(temperature=0, repetition_penalty=penalty))
    prompts = ["", "the", TEXT, "a dog with Ж"]
    assert said(generator, prompts, wish) == [said(generator, [p], wish)[0] for p in prompts]


def test_unknown_is_never_said(make_run: Make) -> None:
    run = load(make_run(TEXT, level="word"))
    with torch.no_grad():
        run.model.decoder.bias[run.tokenizer.unknown_id] = 50.0
    assert "<unk>" not in said(Generator(Scorer(run)), ["the"], Wish(length=50))[0]


def test_an_end_ends_where_it_is_wanted(make_run: Make) -> None:
    run = load(make_run(TEXT))
    with torch.no_grad():
        run.model.decoder.bias[run.tokenizer.boundary_id] = 50.0
    generator = Generator(Scorer(run))
    start = [generator.read("the")]
    (ended,) = generator.continuations(start, Wish(length=5, end=True))
    assert (ended.text, ended.ended) == ("", "end")
    (going_on,) = generator.continuations(start, Wish(length=5))
    assert (going_on.text, going_on.ended) == ("\n" * 5, "length")


@settings(deadline=None, max_examples=30)
@given(st.text("the cat.", min_size=1, max_size=3), st.integers(0, 50))
def test_a_stop_text_ends_the_text_before_it(generator: Generator, stop: str, seed: int) -> None:
    start = [generator.read("the")]
    (free,) = generator.continuations(start, Wish(length=60, seed=seed))
    (stopped,) = generator.continuations(start, Wish(length=60, seed=seed, stop=(stop, "猫猫猫")))
    assert stopped.text == free.text.split(stop)[0]
    assert stopped.ended == ("stop" if stop in free.text else "length")


def test_broken_characters_and_stops_across_tokens(make_run: Make) -> None:
    tokenizer = load(make_run(TEXT, level="byte")).tokenizer
    ids = tokenizer.encode("añb猫c").tolist()
    speaker = _Speaker(_Texts(tokenizer), ("b猫",))
    pieces = [speaker.say(token) for token in ids[:7]]
    assert "".join(text for text, _ in pieces) == "añ"
    assert [stopped for _, stopped in pieces] == [False] * 6 + [True]
    alone = _Speaker(_Texts(tokenizer), ())
    assert "".join(alone.say(token)[0] for token in ids[:2]) + alone.rest() == "a\ufffd"


def test_nothing_is_said_of_length_nothing(generator: Generator) -> None:
    (none,) = generator.continuations([generator.read("a")], Wish(length=0))
    assert (none.text, none.ended) == ("", "length")
    assert list(generator.generate([], Wish())) == []


def test_streams_are_told_one_after_the_other() -> None:
    told = [(0, "a", ""), (1, "x", ""), (2, "p", "stop"), (0, "b", ""), (1, "y", "stop")]
    told += [(0, "c", "length"), (3, "z", "end")]
    pieces = [Piece(stream, text, ended) for stream, text, ended in told]  # type: ignore[arg-type]
    assert "".join(piece.text for piece in _in_turn(pieces, 0)) == "abcxypz"
    first_two = _in_turn(iter(pieces), 0)
    assert (next(first_two).text, next(first_two).text) == ("a", "b")  # as they are made
