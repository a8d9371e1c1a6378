"""A8 and A11: language models on WikiText-2 and classifiers on IMDb. Half an hour together."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from acceptance_models import Row

from rnnctl.__main__ import main
from rnnctl.diagnostics.diagnose import diagnose
from rnnctl.results.base import Estimate
from rnnctl.results.diagnostics import DiagnosticsResult
from rnnctl.tasks.loading import load

WORDS = (
    "--level", "word", "--vocab-size", "10000", "--cell", "lstm", "--hidden-size", "200",
    "--embedding-size", "200", "--layers", "1", "--tied",
)  # fmt: skip
REVIEWS = (
    "--task", "classify", "--embedding-size", "128", "--layers", "1", "--init", "torch",
    "--no-bidirectional", "--dropout-embedding", "0", "--dropout-output", "0", "--lr", "2e-3",
    "--batch-size", "32", "--patience", "50", "--max-tokens", "400", "--keep", "tail",
)  # fmt: skip


@contextlib.contextmanager
def folder(keep: Path | None) -> Iterator[Path]:
    """Where runs go: a folder that stays, whose runs are taken as they are, or one that goes."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
    else:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)


def trained(path: Path, *arguments: str) -> Path:
    """Train a run at `path` unless it is there and finished."""
    if not (path / "results" / "train.json").exists():
        call = ["train", *arguments, "--run", str(path), "--no-diagnose", "--quiet", "--overwrite"]
        if main(call) != 0:
            raise SystemExit(f"training {path} failed")
    return path


def shown(found: Estimate) -> str:
    """Estimate and interval."""
    if found.estimate is None:
        return f"{found.status} (beyond {found.censored_at})"
    low, high = (f"{end:.3g}" if end is not None else "…" for end in found.ci95)
    return f"{found.estimate:.3g} [{low}, {high}]"


def at(result: DiagnosticsResult, arm: str, low: float, high: float) -> list[float]:
    """Excess loss of USE in nats per word, at distances from `low` to `high` words."""
    assert result.use is not None
    curve = result.use.curves[arm]
    return [y for x, y in zip(curve.x, curve.y, strict=True) if low <= x <= high and y is not None]


def a8(data: Path, keep: Path | None) -> Iterator[Row]:
    """Context curve of a small word LSTM on WikiText-2 [S shape; AWD-LSTM: 150/250 words]."""
    with folder(keep) as place:
        for bptt in (70, 10):
            run = trained(
                place / f"bptt{bptt}", str(data / "wikitext2"), *WORDS, "--bptt", str(bptt),
                "--budget", "500s",
            )  # fmt: skip
            arms = ("foreign", "zero", "shuffle")
            yield from context_rows(
                bptt, diagnose(load(run), names=["use"], preset="full", arms=arms)
            )


def context_rows(bptt: int, result: DiagnosticsResult) -> Iterator[Row]:
    """What A8 says about one model's context curve."""
    assert result.use is not None
    horizon = result.use.scalars["n_eff_foreign"]
    fine = horizon.estimate is not None and horizon.estimate < 250
    yield Row("A8", f"n_eff (1 %), bptt {bptt}", "< 250 words", shown(horizon), fine)
    near, far = at(result, "foreign", 1, 4)[-1], at(result, "foreign", 20, 28)[0]
    yield Row("A8", f"δ(4) and δ(20), bptt {bptt}", "steep below 20 words",
              f"{near:.3f}, {far:.3f}", far < near / 3)  # fmt: skip
    curve = at(result, "foreign", 1, 400)
    rises = max(b - a for a, b in pairwise(curve))
    yield Row("A8", f"largest rise of δ, bptt {bptt}", "monotone (≤ 0.01)",
              f"{rises:.4f}", rises <= 0.01)  # fmt: skip
    order = max(abs(y) for y in at(result, "shuffle", 50, 400))
    yield Row("A8", f"|δ|, order lost beyond 50, bptt {bptt}", "< 0.01 nats per word",
              f"{order:.4f}", order < 0.01)  # fmt: skip


def a11(data: Path, keep: Path | None) -> Iterator[Row]:
    """Evidence at the start of a review, by cell and readout [S direction; trial in part 3]."""
    cases = (
        ("rnn", "256", "last", "≪ 1 (trial 0.30)", 0.0, 0.6),
        ("gru", "128", "last", "larger (trial 0.34)", 0.0, 1.0),
        ("lstm", "128", "last", "larger (trial 0.47)", 0.0, 1.0),
        ("lstm", "128", "mean", "≈ 1", 0.8, 1.3),
    )
    with folder(keep) as place:
        for cell, hidden, pool, expected, low, high in cases:
            run = trained(
                place / f"{cell}-{pool}", str(data / "imdb"), *REVIEWS, "--cell", cell,
                "--hidden-size", hidden, "--pool", pool, "--budget", "90s",
            )  # fmt: skip
            result = diagnose(load(run), names=["effect"], preset="full")
            assert result.effect is not None
            scalars = result.effect.scalars
            missing = Estimate(estimate=None, status=result.effect.status)
            start = scalars.get("retention_start", missing)
            half = scalars.get("half_distance", missing)
            right = result.model.quality.get("accuracy")
            value = start.estimate
            ok = value is not None and low <= value <= high
            yield Row("A11", f"R(start), {cell} {hidden}, {pool}", expected,
                      f"{shown(start)}, half {shown(half)}, acc. {right}", ok)  # fmt: skip


RUNS: dict[str, Callable[[Path, Path | None], Iterator[Row]]] = {"A8": a8, "A11": a11}
