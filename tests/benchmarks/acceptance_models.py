"""What the acceptance runs share: small models on one task each, and their sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnctl.nn.recurrent import Recurrent

Batch = tuple[Tensor, Tensor]
Draw = Callable[[np.random.Generator], Batch]


@dataclass(frozen=True)
class Row:
    """One line of the table. `ok` None: nothing to hold it to."""

    run: str
    what: str
    expected: str
    measured: str
    ok: bool | None


def layer(cell: str, inputs: int, hidden: int, init: str, horizon: int = 60) -> Recurrent:
    """A recurrent layer with rnnctl's own initialisation (torch, good, chrono), or with one thing
    changed in PyTorch's: "torch, bias 1" (of forget or keep), "torch, orthogonal" (U, and no
    biases), "torch, chrono" (the gates' biases).
    """
    name, _, change = init.partition(", ")
    made = Recurrent(cell, inputs, hidden, init=name, horizon=horizon)
    weights = made.weights("_l0")
    rows = slice(hidden, 2 * hidden)  # forget or keep, in either cell
    with torch.no_grad():
        if change == "bias 1":
            weights.b_ih[rows], weights.b_hh[rows] = 1.0, 0.0
        elif change == "orthogonal":
            nn.init.orthogonal_(weights.w_hh)
            weights.b_ih.zero_()
            weights.b_hh.zero_()
        elif change == "chrono":
            keep = torch.empty(hidden).uniform_(1, horizon - 1).log()
            weights.b_ih[rows], weights.b_hh[rows] = keep, 0.0
            if cell == "lstm":
                weights.b_ih[:hidden], weights.b_hh[:hidden] = -keep, 0.0
    return made


class Reader(nn.Module):
    """One-hot or real inputs -> recurrent layer -> linear readout of the last, or every, state."""

    def __init__(self, recurrent: Recurrent, outputs: int, *, every_step: bool = False) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.readout = nn.Linear(recurrent.hidden_size, outputs)
        self.every_step = every_step

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs (T, B, E) -> (B, C), or (T, B, C)."""
        outputs, _ = self.recurrent(inputs)
        return self.readout(outputs if self.every_step else outputs[-1])


def one_hot(ids: np.ndarray[Any, Any], size: int) -> Tensor:
    """ids (B, T) -> (T, B, size)."""
    return torch.eye(size)[torch.from_numpy(np.ascontiguousarray(ids.T))]


def fit(
    model: Reader,
    draw: Draw,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int,
    lr: float,
    seed: int,
    done: Callable[[Tensor, Tensor], bool] = lambda found, wanted: False,
    clip: float = 1.0,
) -> int:
    """Adam; stops when `done` on a fresh training batch. Returns the steps taken."""
    rng = np.random.default_rng((seed, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for step in range(1, steps + 1):
        inputs, wanted = draw(rng)
        found = model(inputs)
        if step % 10 == 0 and done(found.detach(), wanted):
            return step
        value = loss(found, wanted)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    return steps


def accuracy(found: Tensor, wanted: Tensor) -> float:
    """Share of right answers."""
    return float((found.argmax(-1) == wanted).float().mean())


def spread(values: list[float]) -> str:
    """Smallest to largest."""
    return f"{min(values):.3g} to {max(values):.3g}"


def numbers(values: list[int]) -> str:
    """All of them."""
    return ", ".join(map(str, values))


def each(seeds: int) -> Iterator[int]:
    """Seeds, with torch's generator set to each."""
    for seed in range(seeds):
        torch.manual_seed(seed)
        yield seed


def recall(lag: int, count: int) -> Draw:
    """One of 8 symbols, then `lag` of 8 other symbols at random."""

    def draw(rng: np.random.Generator) -> Batch:
        symbol = rng.integers(8, size=count)
        noise = rng.integers(8, 16, size=(count, lag))
        return one_hot(np.column_stack([symbol, noise]), 16), torch.from_numpy(symbol)

    return draw


def adding(length: int, count: int) -> Draw:
    """Numbers from U[−1, 1]; the answer is the sum of the two that are marked, one per half."""

    def draw(rng: np.random.Generator) -> Batch:
        values, marks = rng.uniform(-1, 1, (length, count)), np.zeros((length, count))
        columns = np.arange(count)
        for low, high in ((0, length // 2), (length // 2, length)):
            marks[rng.integers(low, high, count), columns] = 1
        answer = (values * marks).sum(axis=0)
        inputs = torch.from_numpy(np.stack([values, marks], axis=-1)).float()
        return inputs, torch.from_numpy(answer[:, None]).float()

    return draw


def order(length: int, count: int) -> Draw:
    """The sequences of `task:temporal-order`, drawn afresh."""
    tenth = length // 10

    def draw(rng: np.random.Generator) -> Batch:
        ids = rng.integers(4, size=(count, length))
        marks = rng.integers(2, size=(count, 2))
        rows = np.arange(count)
        ids[rows, rng.integers(tenth, 2 * tenth, count)] = 4 + marks[:, 0]
        ids[rows, rng.integers(5 * tenth, 6 * tenth, count)] = 4 + marks[:, 1]
        return one_hot(ids, 6), torch.from_numpy(marks[:, 0] * 2 + marks[:, 1])

    return draw


def copying(lag: int, count: int) -> Draw:
    """Ten of 8 symbols, blanks, a sign, ten blanks; the answer is blanks, then the ten symbols."""

    def draw(rng: np.random.Generator) -> Batch:
        symbols = rng.integers(8, size=(count, 10))
        ids, answer = (np.full((count, lag + 20), 8) for _ in range(2))
        ids[:, :10], ids[:, lag + 9], answer[:, -10:] = symbols, 9, symbols
        return one_hot(ids, 10), torch.from_numpy(np.ascontiguousarray(answer.T))

    return draw


def flat_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy over all steps."""
    return nn.functional.cross_entropy(found.flatten(0, 1), wanted.flatten())


def throughput(numbers: int, wait: int, count: int) -> Draw:
    """Collins et al. 2017: a random vector of `numbers`, then nothing; the answer is the vector."""

    def draw(rng: np.random.Generator) -> Batch:
        vector = torch.from_numpy(rng.uniform(-1, 1, (count, numbers))).float()
        inputs = torch.zeros(wait + 1, count, numbers)
        inputs[0] = vector
        return inputs, vector

    return draw
