"""HOLD on spelled text: which words are planted, and where."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnctl.diagnostics import hold, spelling
from rnnctl.diagnostics.effect import word_pairs
from rnnctl.diagnostics.known_answers.models import WindowModel, random_text
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import PRESETS, Settings
from rnnctl.statistics import Bootstrapped

LETTERS = [bytes([c]) for c in b"abcdefghij .\n"]
SUBWORDS = [*LETTERS, *(b" " + a + b for a in LETTERS[:6] for b in LETTERS[:6])]


def text_of(ids: Any, table: list[bytes]) -> str:
    return b"".join(table[int(i)] for i in ids).decode()


def spelled(table: list[bytes], subwords: bool) -> Sample:
    """Sentences of 60 different words of three letters, and of words of other lengths."""
    draw = np.random.default_rng(3)
    number = {text: k for k, text in enumerate(table)}
    words = ["".join(draw.choice(list("abcdef"), 3 if k < 60 else 5)) for k in range(90)]
    documents = []
    for _ in range(24):
        ids: list[int] = []
        for k in range(60):
            word = words[int(draw.integers(0, 90))].encode()
            if subwords and k and k % 12:
                ids += [number[b" " + word[:2]], *(number[bytes([c])] for c in word[2:])]
            else:  # the first word of a line is spelled without its space
                lead = b"" if k == 0 else b"\n" if subwords else b" "
                ids += [number[bytes([c])] for c in lead + word]
            ids += [number[b"."]] if k % 12 == 11 else []
        documents.append(np.array(ids, dtype=np.int64))
    return Sample(
        ids=tuple(documents), words_per_token=0.25, token_bytes=lambda i: table[i], spelled=True
    )


@pytest.mark.parametrize("table", [LETTERS, SUBWORDS])
def test_whole_words_are_replaced(table: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    sample = spelled(table, table is SUBWORDS)
    seen: list[hold.Plants] = []
    original = hold.plant

    def spy(*args: Any, **named: Any) -> hold.Plants:
        seen.append(original(*args, **named))
        return seen[-1]

    monkeypatch.setattr(hold, "plant", spy)

    class Reader:
        vocab_size = len(table)

        def initial_state(self, batch: int) -> tuple[Tensor, ...]:
            return (torch.zeros(1, batch, 1),)

        def read(self, ids: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return state

        def vector(self, state: tuple[Tensor, ...], *, hidden_only: bool = False) -> Tensor:
            return torch.randn(state[0].shape[1], 3, generator=torch.Generator().manual_seed(1))

    found = hold.measure(Reader(), sample, Settings(planted=200, hold_lag=16))
    assert found.choices == 16 and found.sampling is not None and found.sampling.n == 24
    bits = found.curves["state"]
    assert all(y is not None and abs(y) < 0.05 for y in bits.y)  # of states that know nothing
    (plants,) = seen
    known = set(re.findall(r"\w+", " ".join(text_of(ids, table) for ids in sample.ids)))
    for k, column in enumerate(plants.ids.T):
        ids = column[: plants.ends[plants.window == k].max() + 16]
        inside = re.findall(r"\w+", text_of(ids, table))[1:-1]  # the window cuts the outer ones
        assert set(inside) <= known
        assert "  " not in text_of(ids, table)


def test_words_of_one_kind_are_swapped() -> None:
    """With the space before them or without, but never one for the other."""
    sample = spelled(SUBWORDS, True)
    words = [spelling.find_words(ids, SUBWORDS) for ids in sample.ids]
    assert spelling.brings_space(words)
    usual = spelling.usual_words(sample, words)
    pairs = word_pairs(usual, sample, np.random.default_rng(0))
    assert pairs and all(text_of(word, SUBWORDS)[0] == " " for pair in pairs for word in pair)


@pytest.mark.parametrize("rest", [0.02, 1e-9, 0.0, -0.02])
def test_half_does_not_hang_on_what_noise_leaves_of_nothing(rest: float) -> None:
    """4 bits at once and none one step later: whether none is +0 or −0 changes little."""
    bits = np.array([4.0, rest, -0.03])
    means = Bootstrapped(bits, bits, bits, np.tile(bits, (200, 1)))
    found = hold.summaries(np.arange(3.0), means, 16, 12, Sample(ids=()))["hold_half"]
    assert found.estimate == pytest.approx(0.15, abs=0.02)


def test_many_words_are_planted_in_one_text_and_their_states_are_theirs() -> None:
    """Each state is the one after the planted word and so many tokens."""
    counter = torch.arange(400)

    class Position:
        """A state that is the last token read."""

        vocab_size = 400

        def initial_state(self, batch: int) -> tuple[Tensor, ...]:
            return (torch.zeros(1, batch, 1),)

        def read(self, ids: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (ids[-1][None, :, None].float(),) if len(ids) else state

        def vector(self, state: tuple[Tensor, ...], *, hidden_only: bool = False) -> Tensor:
            return state[0][0]

    units = Sample(ids=tuple(counter.numpy() for _ in range(6)))
    words = np.array([[1000], [1001]])
    draw = np.random.default_rng(0)
    plants = hold.plant(units, words, 60, 32, draw)
    assert 60 <= len(plants) <= 66 and set(np.bincount(plants.groups)) <= {10, 11}
    rows = plants.at(32)
    states = hold.collect(Position(), plants, [0, 1, 32])["state"]
    np.testing.assert_array_equal(states[0][:, 0], 1000 + plants.choices[plants.at(0)])
    assert len(rows) == 60
    natural = states[32][:, 0] < 400
    assert natural.mean() > 0.5  # other words may have been planted there
    planted = np.flatnonzero(np.isin(rows, plants.at(1)) & natural)
    one_later = states[1][np.searchsorted(plants.at(1), rows[planted])]
    np.testing.assert_array_equal(states[32][planted] - one_later, 31)
    for window in range(plants.ids.shape[1]):
        starts = np.sort(plants.ends[plants.window == window])
        assert (np.diff(starts) >= hold.SPACING).all()


def test_a_text_that_gets_shorter_is_not_read_beyond_its_end() -> None:
    """Words of three letters take the places of longer ones, with other words after them."""
    ids = np.arange(200) + 10
    units = Sample(ids=(ids,))
    places = [np.array([[start, start + 9] for start in range(0, 180, 10)])]
    words = np.array([[1, 2, 3], [4, 5, 6]])
    plants = hold.plant(units, words, 18, 64, np.random.default_rng(0), places)
    for window in range(plants.ids.shape[1]):
        length = np.count_nonzero(plants.ids[:, window])  # padding is 0
        here = plants.window == window
        assert (plants.ends[here] + plants.room[here] <= length).all()


def test_a_document_can_be_read_from_its_first_word() -> None:
    """What stands at the beginning of a document is what memory is about."""
    units = Sample(ids=tuple(np.arange(40) for _ in range(8)))
    plants = hold.plant(units, np.array([[50], [51]]), 4000, 32, np.random.default_rng(1))
    begins = {int(plants.ends[k]) for k in plants.at(32)}
    assert min(begins) == 1 and max(begins) == 8


def test_every_place_that_enough_tokens_follow_is_as_likely_as_any_other() -> None:
    """In documents of different lengths, at every lag; the last word of a document at lag 0."""
    lengths = (6, 12, 30, 50, 50)
    units = Sample(ids=tuple(np.arange(n) for n in lengths))
    plants = hold.plant(units, np.array([[90], [91]]), 20_000, 40, np.random.default_rng(2))
    for lag in (0, 3, 8, 25, 40):
        rows = plants.at(lag)
        places = sum(max(0, n - lag) for n in lengths)
        assert 19_700 <= len(rows) <= 20_000
        assert plants.room[rows].min() == lag
        seen = np.stack([plants.groups[rows], plants.room[rows]])
        for document, n in enumerate(lengths):
            for room in range(lag, min(n, 40)):
                share = float(np.mean((seen[0] == document) & (seen[1] == room)))
                assert share == pytest.approx(1 / places, rel=0.35)


def test_texts_that_are_left_out_are_the_same_at_every_lag() -> None:
    lengths = np.random.default_rng(0).integers(10, 60, 200)
    units = Sample(ids=tuple(np.arange(n) for n in lengths))
    plants = hold.plant(units, np.array([[90], [91]]), 400, 40, np.random.default_rng(2))
    fold = plants.folds([0, 8, 40])
    for lag in (0, 8, 40):
        assert set(fold[plants.at(lag)]) == set(range(hold.GROUPS))
    for document in set(plants.groups):
        assert len(set(fold[plants.groups == document])) == 1


@pytest.mark.parametrize("begins", [None, 77])
def test_a_document_begins_as_the_model_knows_it(begins: int | None) -> None:
    units = Sample(ids=tuple(np.arange(20) for _ in range(8)))
    draw = np.random.default_rng(1)
    plants = hold.plant(units, np.array([[50], [51]]), 200, 4, draw, begins=begins)
    first = plants.ids[0]
    assert set(first) <= {0, 50, 51} if begins is None else set(first) == {77}


@pytest.mark.parametrize(("delay", "low", "high"), [(17, 16, 17), (19, 18, 19), (22, 21, 22)])
def test_delays_between_half_octaves_are_told_apart(delay: int, low: int, high: int) -> None:
    text = random_text(60, 160, vocabulary=16)
    found = hold.measure(WindowModel(delay, 16), text, Settings(planted=256, most_planted=256))
    half = found.scalars["hold_half"]
    assert half.estimate is not None and low <= half.estimate <= high
    assert half.ci95 == (low, high)


def test_small_and_large_states_get_equally_many_examples_a_number() -> None:
    class Sized:
        vocab_size = 4

        def __init__(self, size: int) -> None:
            self.size = size

        def initial_state(self, batch: int) -> tuple[Tensor, ...]:
            return (torch.zeros(1, batch, self.size),)

        def vector(self, state: tuple[Tensor, ...], *, hidden_only: bool = False) -> Tensor:
            return state[0][0]

    for settings in PRESETS.values():
        counts = [hold.examples(Sized(size), settings) / size for size in (256, 616, 1024)]  # type: ignore[arg-type]
        assert counts == [settings.plants_per_dimension] * 3


def test_what_more_examples_would_read_is_found_where_it_is_known() -> None:
    """Bits that miss their limit by a / n: three sizes give the limit back, with its error."""
    sizes = (128, 256, 384, 448)
    limit, error = hold.extrapolated({n: 3.0 - 40 / n for n in sizes})
    assert limit == pytest.approx(3.0) and error == pytest.approx(0.0, abs=1e-9)
    bent, error = hold.extrapolated({n: 3.0 - 40 / n - 4000 / n**2 for n in sizes})
    assert abs(bent - 3.0) < error


def test_bits_by_chance_are_no_memory() -> None:
    """Of 25 lags without a bit one looks better than 95 in 100; all together they do not."""
    draw = np.random.default_rng(0)
    x, wrong = np.arange(25.0), 0
    for _ in range(200):
        replicates = draw.standard_normal((400, 25)) * 0.01
        bits = draw.standard_normal(25) * 0.01
        means = Bootstrapped(bits, bits, bits, bits + replicates)
        last = hold._last(x, means, 10, Sample(ids=()))
        wrong += last.estimate != 0
    assert wrong <= 0.1 * 200
