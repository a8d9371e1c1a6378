"""Small models with known memory that the checks of the selftest do not have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.subject import State

WORDS = tuple(f"{a}{b}c".encode() for a in "abcdefgh" for b in "abcdefgh")  # 64 three-letter ones
SPACE = len(WORDS)


class CountingModel:
    """Scores are counts of the tokens read, each weighted by rate ** its age; order counts only
    through the rate, so that 1.0 is a bag of words. The last id is the boundary, not counted.
    """

    def __init__(self, vocab_size: int, rate: float = 1.0, scale: float = 1.0) -> None:
        self.vocab_size = vocab_size
        self.boundary_id = vocab_size - 1
        self.rate, self.scale = rate, scale

    def initial_state(self, batch: int) -> State:
        return (torch.zeros(1, batch, self.vocab_size, dtype=torch.float64),)

    def advance(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        counts, rows = state[0][0], []
        for row in ids:
            read = one_hot(row, self.vocab_size).double()
            read[:, self.boundary_id] = 0
            counts = self.rate * counts + read
            rows.append(counts)
        return torch.stack(rows), (counts[None],)

    def read(self, ids: Tensor, state: State) -> State:
        return self.advance(ids, state)[1]

    def scores(self, features: Tensor, tokens: Tensor) -> Tensor:
        return self.scale * features.gather(1, tokens)

    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        logits = self.scale * features
        return torch.logsumexp(logits, 1) - logits.gather(1, targets[:, None])[:, 0]

    def vector(self, state: State, *, hidden_only: bool = False) -> Tensor:
        return state[0][0]


@pytest.fixture
def counting() -> Callable[..., CountingModel]:
    return CountingModel


@pytest.fixture
def spelled_text() -> Sample:
    """Documents of three-letter words of one token, each followed by a space of one token."""
    draw = np.random.default_rng(0)
    ids = []
    for _ in range(24):
        text = np.full(800, SPACE)
        text[0::2] = draw.integers(0, len(WORDS), 400)
        ids.append(text)
    shown = [*WORDS, b" ", b"\n"]
    return Sample(ids=tuple(ids), words_per_token=0.5, token_bytes=lambda i: shown[i], spelled=True)
