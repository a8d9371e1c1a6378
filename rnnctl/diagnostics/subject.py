"""What a diagnostic needs of a model.

Axes: T time, B batch, F features, S state, V vocabulary, C classes. The known-answer models of
``rnnctl selftest`` implement the same protocols, so that the instrument is checked through the very
code that measures a user's model.

A *state* is a tuple of tensors (·, B, ·) whose second axis is the batch; only `select`, `merge` and
a subject's own `vector` look inside. What derivatives need is in `traceable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

State = tuple[Tensor, ...]


class StateSubject(Protocol):
    """A model with a state that can be looked at (HOLD)."""

    vocab_size: int
    boundary_id: int

    def initial_state(self, batch: int) -> State:
        """The zero state of `batch` sequences."""

    def read(self, ids: Tensor, state: State) -> State:
        """Read ids (T, B) int64 from `state`: the state after."""

    def vector(self, state: State, *, hidden_only: bool = False) -> Tensor:
        """The whole state as one row per sequence: (B, S)."""


class LanguageSubject(Protocol):
    """A model that predicts the next token."""

    vocab_size: int
    boundary_id: int

    def initial_state(self, batch: int) -> State:
        """The zero state of `batch` sequences."""

    def advance(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Read ids (T, B) int64 from `state`: features (T, B, F) after each token, state after."""

    def scores(self, features: Tensor, tokens: Tensor) -> Tensor:
        """Logits of chosen tokens: features (N, F), tokens (N, K) -> (N, K), no normaliser."""

    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """Nats of each target: features (N, F), targets (N,) -> (N,) float64."""


@runtime_checkable
class Guessing(Protocol):
    """A language model that can say which token it expects most; not every one can."""

    def likeliest(self, features: Tensor) -> Tensor:
        """The token that is expected most: features (N, F) -> (N,) int64."""


class ClassifierSubject(Protocol):
    """A model that reads a text and answers with one logit per label."""

    vocab_size: int
    boundary_id: int
    labels: tuple[str, ...]

    def logits(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """ids (T, B) int64, right-padded, lengths (B,) -> (B, C) float64. No boundary in `ids`."""


def select(state: State, index: Tensor | Sequence[int]) -> State:
    """The sequences `index` of a state, in that order."""
    wanted = torch.as_tensor(index, dtype=torch.long, device=state[0].device)
    return tuple(part.index_select(1, wanted) for part in state)


def merge(states: Sequence[State]) -> State:
    """Several states side by side, as one batch."""
    return tuple(torch.cat(parts, dim=1) for parts in zip(*states, strict=True))


def read_until(
    subject: LanguageSubject, ids: Tensor, stops: NDArray[np.int64], state: State
) -> tuple[Tensor, State]:
    """Read ids (T, B); what each sequence held after its own number of tokens `stops` (B,) >= 1.

    Returns features (B, F) and the state. What stands behind a sequence's stop is read and ignored.
    """
    rows: list[Tensor] = []
    states, order, at = [], [], 0
    for stop in np.unique(stops):
        features, state = subject.advance(ids[at : int(stop)], state)
        at = int(stop)
        here = torch.from_numpy(np.flatnonzero(stops == stop))
        rows.append(features[-1][here])
        states.append(select(state, here))
        order.append(here)
    back = torch.argsort(torch.cat(order))
    return torch.cat(rows)[back], select(merge(states), back)
