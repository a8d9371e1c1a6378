"""HOLD on spelled text: which words are planted, and where."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnctl.diagnostics import curves, hold, spelling
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings

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
def test_whole_words_are_replaced(table: list[bytes]) -> None:
    sample = spelled(table, table is SUBWORDS)
    seen: list[Tensor] = []

    class Reader:
        vocab_size = len(table)

        def initial_state(self, batch: int) -> tuple[Tensor, ...]:
            return (torch.zeros(1, batch, 1),)

        def read(self, ids: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            seen.append(ids)
            return state

        def vector(self, state: tuple[Tensor, ...], *, hidden_only: bool = False) -> Tensor:
            return torch.randn(state[0].shape[1], 3, generator=torch.Generator().manual_seed(1))

    found = hold.measure(Reader(), sample, Settings(planted=200, hold_lag=16))
    assert found.choices == 16 and found.sampling is not None and found.sampling.n == 24
    bits = found.curves["state"]
    assert all(y is not None and abs(y) < 0.05 for y in bits.y)  # of states that know nothing
    columns = torch.cat(seen[: len(bits.x)]).T.numpy()
    known = set(re.findall(r"\w+", " ".join(text_of(ids, table) for ids in sample.ids)))
    for ids in columns:
        inside = re.findall(r"\w+", text_of(ids, table))[1:-1]  # the window cuts the outer ones
        assert set(inside) <= known
        assert "  " not in text_of(ids, table)


def test_words_of_one_kind_are_swapped() -> None:
    """With the space before them or without, but never one for the other."""
    sample = spelled(SUBWORDS, True)
    words = [spelling.find_words(ids, SUBWORDS) for ids in sample.ids]
    assert spelling.brings_space(words)
    pairs = spelling.word_pairs(sample, words, np.random.default_rng(0))
    assert pairs and all(text_of(word, SUBWORDS)[0] == " " for pair in pairs for word in pair)


@pytest.mark.parametrize("rest", [0.02, 1e-9, 0.0, -0.02])
def test_half_does_not_hang_on_what_noise_leaves_of_nothing(rest: float) -> None:
    """4 bits at once and none one step later: whether none is +0 or −0 changes little."""
    sums = curves.Sums.empty(12, 3, seed=0, resamples=200)
    for point, bits in enumerate((4.0, rest, -0.03)):
        sums.add(np.arange(12), point, np.full(12, bits))
    found = hold.summaries(np.arange(3.0), sums, 16, Sample(ids=()))["hold_half"]
    assert found.estimate == pytest.approx(0.15, abs=0.02)
