"""Grids of made-up members whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from rnnctl import results
from rnnctl.compare.pairs import by_attractors
from rnnctl.compare.plan import matched_hidden_size
from rnnctl.nn.cells import find_cell
from rnnctl.results.base import Curve, Estimate
from rnnctl.results.comparison import ExchangeRecord, Member, SpeedRecord
from rnnctl.results.inference import PairGroup, PairsRecord
from rnnctl.statistics import wilson

HORIZONS = {
    ("rnn", "torch"): 6.0, ("rnn", "good"): 14.0, ("lstm", "torch"): 20.0,
    ("lstm", "good"): 60.0, ("gru", "torch"): 18.0, ("gru", "good"): 40.0,
}  # fmt: skip
QUALITY = {"rnn": 2.45, "lstm": 2.20, "gru": 2.205}
HALF = {"rnn": 2.0, "lstm": 12.0, "gru": 9.0}
RECALL = {
    ("rnn", "torch"): 0.13, ("rnn", "good"): 0.97, ("lstm", "torch"): 0.16,
    ("lstm", "good"): 0.99, ("gru", "torch"): 0.2, ("gru", "good"): 0.98,
}  # fmt: skip
SIZES = {
    cell: matched_hidden_size(cell, find_cell("lstm").parameters(64, 128), 64)
    for cell in ("rnn", "gru", "lstm")
}


def _curve(x: Sequence[float], y: Sequence[float], x_unit: str, y_unit: str) -> Curve:
    return Curve(x_unit=x_unit, y_unit=y_unit, x=tuple(x), y=tuple(y))


def _around(middle: float, draw: np.random.Generator) -> tuple[float, ...]:
    return tuple(float(value) for value in middle * np.exp(0.02 * draw.normal(size=5)))


def _text_member(cell: str, init: str, seed: int, draw: np.random.Generator) -> Member:
    horizon = HORIZONS[cell, init] * math.exp(0.2 * draw.normal())
    bits = QUALITY[cell] + (0.03 if init == "torch" else 0) + 0.004 * draw.normal()
    half = HALF[cell] * math.exp(0.1 * draw.normal())
    lags = [1, 2, 3, 5, 8, 12, 17, 25, 35, 50, 70, 100]
    words = [1, 2, 4, 8, 16, 32, 64, 128]
    tokens = [20_000 * k for k in range(1, 21)]
    size = SIZES[cell]
    return Member(
        path=f"runs/{cell}-{init}-{seed}", cell=cell, init=init, seed=seed, task="lm",
        level="char", corpus="paragraphs", fingerprint="f" * 64, split="test", unit="words",
        hidden_size=size, embedding_size=64, layers=1, parameters=110_000,
        recurrent_parameters=find_cell(cell).parameters(64, size),
        macs_per_token=find_cell(cell).macs_per_token(64, size), lr=0.004, tokens_seen=400_000,
        train_seconds=14.0 + draw.normal(),
        values={
            "bits_per_byte": Estimate(estimate=bits),
            "perplexity": Estimate(estimate=2**bits),
            "horizon": Estimate(estimate=horizon, unit="words"),
            "gradient_half_life": Estimate(estimate=half, unit="tokens"),
            "reach_1pct": Estimate(estimate=6.6 * half, unit="tokens"),
            "hold_half": Estimate(estimate=2 * half, unit="words"),
        },
        curves={
            "learning": _curve(tokens, [1.4 + bits / 8 + 1.2 * math.exp(-t / 9e4) for t in tokens],
                               "tokens trained on", "validation nats per token"),
            "use": _curve(words, [math.exp(-2 * w / horizon) / 2 for w in words], "words", "nats"),
            "gradient": _curve(lags, [0.5 ** ((k - 1) / half) for k in lags], "tokens", "ratio"),
            "effect": _curve(words, [math.exp(-w / horizon) for w in words], "words", "ratio"),
        },
        explodes=False,
        speed=SpeedRecord(
            session="one", threads=2,
            train_tokens_per_s=_around(60_000 if cell == "lstm" else 50_000, draw),
            generate_ms_per_token=_around(0.2, draw),
            hidden_size=size, batch_size=32, chunk=64,
            same_size_hidden=128 if cell == "gru" else None,
            same_size_train_tokens_per_s=_around(55_000, draw) if cell == "gru" else (),
            same_size_generate_ms_per_token=(0.2, 0.21, 0.2, 0.2, 0.21) if cell == "gru" else (),
        ),
        exchange=ExchangeRecord(
            measure="loss", lag=16, c=Estimate(estimate=0.8 + 0.03 * draw.normal()),
            h=Estimate(estimate=0.1 + 0.03 * draw.normal()), full=Estimate(estimate=0.4),
        ) if cell == "lstm" else None,
    )  # fmt: skip


def _recall_member(cell: str, init: str, seed: int, draw: np.random.Generator) -> Member:
    accuracy = float(np.clip(RECALL[cell, init] + 0.015 * draw.normal(), 0, 1))
    return Member(
        path=f"runs/recall-{cell}-{init}-{seed}", cell=cell, init=init, seed=seed,
        task="classify", level="char", corpus="task:recall:lag=40", fingerprint="r" * 64,
        split="test", unit="words", bench="task:recall:lag=40", lag=40, chance=0.125,
        hidden_size=32, embedding_size=32, layers=1, parameters=9000, recurrent_parameters=8448,
        macs_per_token=8192, lr=0.004, tokens_seen=1_000_000, train_seconds=4.0,
        values={"accuracy": Estimate(estimate=accuracy)},
    )  # fmt: skip


SHARES = {"rnn": 0.61, "lstm": 0.72, "gru": 0.70}
"""Of minimal pairs that are right."""


def _pairs(name: str, share: float, baseline: float | None = None, n: int = 1000) -> PairGroup:
    ends = wilson(share * n, n)

    def estimate(value: float) -> Estimate:
        return Estimate(estimate=value, ci95=(ends.lo, ends.hi), n=n)

    return PairGroup(
        name=name, n=n, ties=0, accuracy=estimate(share), difference=estimate(0.4),
        baseline_accuracy=None if baseline is None else estimate(baseline),
    )  # fmt: skip


def _with_pairs(member: Member, share: float, kinds: Sequence[str], baseline: str) -> Member:
    """The member with its answers to 1,000 pairs of each kind."""
    beside = 0.6 if baseline else None
    record = PairsRecord(
        digest="d" * 64, sources=("pairs.jsonl",), what="sentence",
        total=_pairs("all", share, beside, n=len(kinds) * 1000),
        phenomena=tuple(
            _pairs(kind, share - 0.05 * k / len(kinds), beside) for k, kind in enumerate(kinds)
        ),
        attractors=tuple(_pairs(str(k), share - 0.1 * k) for k in range(3)),
        baseline=baseline,
    )  # fmt: skip
    curve = by_attractors(record.attractors)
    assert curve is not None
    values = {**member.values, "pairs": record.total.accuracy}
    more = {"pairs": record, "values": values, "curves": {**member.curves, "attractors": curve}}
    return member.model_copy(update=more)


@pytest.fixture(scope="session")
def grid() -> Callable[..., list[Member]]:
    """Members of three cells and two initialisations, on a text and on recall.

    pairs: kinds of minimal pairs that all on the text have answered, and a 5-gram beside the first.
    """

    def make(
        seeds: int = 5, recall_seeds: int = 5, seed: int = 0, pairs: Sequence[str] = ()
    ) -> list[Member]:
        draw = np.random.default_rng(seed)
        cells = list(HORIZONS)
        text = [_text_member(c, i, s, draw) for s in range(seeds) for c, i in cells]
        if pairs:
            apart, ngram = np.random.default_rng(seed + 1), "Kneser-Ney 5-gram, 9 tokens"
            text = [
                _with_pairs(one, SHARES[one.cell] + 0.005 * apart.normal(), pairs, ngram * (not k))
                for k, one in enumerate(text)
            ]
        return text + [_recall_member(c, i, s, draw) for s in range(recall_seeds) for c, i in cells]

    return make


@pytest.fixture
def any_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of a run may be stand-ins that hold only what the test needs."""
    monkeypatch.setattr(results, "KEPT", {})
