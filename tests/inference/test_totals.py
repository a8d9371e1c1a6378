"""Totals over 100 million tokens are what `math.fsum` of the tokens' values gives.

The full number: `python tests/benchmarks/trust.py totals`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rnnctl.inference.score import Reading
from rnnctl.inference.state import TextState
from rnnctl.machine import Arithmetic
from rnnctl.tasks.evaluation import cold_nats, document_nats, streaming_nats

CPU = Arithmetic(torch.device("cpu"), bf16=False)
KINDS = 50
VALUES = np.random.default_rng(1).exponential(2.0, KINDS).astype(np.float32)
FULL = pytest.param(100_000_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])
Ids = NDArray[np.uint8]


class Model:
    """A language model whose loss depends on the token alone: what a token costs is known."""

    recurrent = SimpleNamespace(initial_state=lambda batch: ())

    def token_losses(self, inputs: Any, targets: torch.Tensor, state: Any = ()) -> Any:
        costs = torch.from_numpy(VALUES)[targets.clamp_min(0)]
        return costs * (targets >= 0), state


class Scorer:
    """What `Reading` asks of a scorer, over `Model`."""

    model = Model()

    def chunk_nats(self, inputs: Any, targets: NDArray[np.int64], state: Any) -> Any:
        costs, state = self.model.token_losses(inputs, torch.from_numpy(targets))
        return costs.double().numpy(), state


def reading_nats(ids: Ids) -> float:
    """The total that `rnnctl score` gives."""
    tokenizer = SimpleNamespace(stream=lambda pending, **_: None)
    scorer: Any = SimpleNamespace(tokenizer=tokenizer, chunk_nats=Scorer().chunk_nats, memory=None)
    start = TextState(state=(), last_token=0)
    reading = Reading(scorer, start)
    for first in range(0, len(ids), 1 << 16):
        for _ in reading.score(ids[first : first + (1 << 16)]):  # type: ignore[arg-type]
            pass
    assert reading.tally.tokens == len(ids)
    return reading.tally.nats


def documents_nats(ids: Ids) -> float:
    """The total over documents, as the results of a training add it up."""
    offsets = np.append(np.arange(0, len(ids), 5000), len(ids))
    found = document_nats(Model(), ids, offsets, 0, CPU)  # type: ignore[arg-type]
    assert found is not None
    return float(found.sum())


def streaming(ids: Ids) -> float | None:
    return streaming_nats(Model(), ids, 0, CPU)  # type: ignore[arg-type]


def cold(ids: Ids) -> float | None:
    return cold_nats(Model(), ids, 0, CPU, window=64)  # type: ignore[arg-type]


def fsum(ids: Ids) -> float:
    """`math.fsum` of every token's value: the exact sum, rounded once."""
    counts = np.bincount(ids, minlength=KINDS).tolist()
    return float(sum(n * Fraction(v) for n, v in zip(counts, VALUES.tolist(), strict=True)))


def test_the_oracle_is_fsum() -> None:
    ids = np.random.default_rng(2).integers(0, KINDS, 10_000, dtype=np.uint8)
    assert fsum(ids) == math.fsum(VALUES[ids].tolist())


@pytest.mark.parametrize("total", [reading_nats, documents_nats, streaming, cold])
@pytest.mark.parametrize("tokens", [300_000, FULL])
def test_totals(tokens: int, total: Callable[[Ids], float | None]) -> None:
    block = np.random.default_rng(3).integers(0, KINDS, 100_000, dtype=np.uint8)
    ids = np.tile(block, tokens // len(block))
    found, wanted = total(ids), fsum(ids)
    assert found is not None
    print(f"{tokens:,} tokens: relative difference {abs(found - wanted) / wanted:.1e}")
    assert found == pytest.approx(wanted, rel=1e-9)
