"""The acceptance runs A1 to A7 of the diagnostics: fresh trainings with known outcomes.

    python tests/benchmarks/acceptance.py [A1 A2 …] [--seeds N] [-o FILE]

prints what is expected beside what was measured, and the same as JSON. "Expected" is what other
people's runs, or earlier ones of ours in numpy, have shown ([C] computed, [S] a source, [E] an
estimate); a row that is outside is reported and not hidden. Minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnctl.data.bench_tasks import chance, task_documents
from rnnctl.diagnostics import reach, reach_curves, use
from rnnctl.diagnostics.model_subject import LanguageModelSubject
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.traceable import TracedModel
from rnnctl.nn.models import LanguageModel
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


# A1: gradient half-lives of untrained cells


class Untrained:
    """A fresh layer over one-hot tokens, read out by a random vector, as a `TracedModel`."""

    def __init__(self, recurrent: Recurrent, vocabulary: int) -> None:
        self.recurrent, self.vocabulary = recurrent.double(), vocabulary
        self.cell = recurrent.cell.name
        self.readout = torch.randn(recurrent.hidden_size, dtype=torch.float64)

    def trace(self, ids: Tensor, state: Any = None) -> Any:
        """See `TracedModel`."""
        return self.recurrent.trace(torch.eye(self.vocabulary, dtype=torch.float64)[ids], state)

    def readout_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `TracedModel`."""
        return self.readout.expand_as(outputs)


HALF_LIVES = {
    ("rnn", "torch"): (1.24, 1.54),
    ("gru", "torch"): (1.50, 1.59),
    ("lstm", "torch"): (1.47, 1.55),
    ("lstm", "torch, bias 1"): (4.3, 4.9),
    ("gru", "torch, bias 1"): (2.9, 3.2),
    ("rnn", "torch, orthogonal"): (10.0, 13.0),
    ("lstm", "torch, chrono"): (26.0, 29.0),
    ("gru", "torch, chrono"): (26.0, 29.0),
    ("rnn", "good"): None,
    ("lstm", "good"): None,
    ("gru", "good"): None,
    ("lstm", "chrono"): None,
    ("gru", "chrono"): None,
}


def a1(seeds: int) -> Iterator[Row]:
    """Half-life by the tail slope, unscaled state gradient, H = 32; ranges [C] ± 15 %."""
    for (cell, init), band in HALF_LIVES.items():
        found = [half_life(Untrained(layer(cell, 16, 32, init), 16), seed) for seed in each(seeds)]
        low, high = (0.85 * band[0], 1.15 * band[1]) if band else (0.0, math.inf)
        inside = all(low <= value <= high for value in found) if band else None
        expected = f"{band[0]:g} to {band[1]:g} ±15 %" if band else "(not stated)"
        yield Row("A1", f"half-life, {cell}, {init}", expected, spread(found), inside)


def each(seeds: int) -> Iterator[int]:
    """Seeds, with torch's generator set to each."""
    for seed in range(seeds):
        torch.manual_seed(seed)
        yield seed


def half_life(model: TracedModel, seed: int) -> float:
    """tail τ · ln 2 of the whole state's gradient, not scaled by the state's spread."""
    ids = torch.from_numpy(np.random.default_rng(seed).integers(16, size=(161, 32)))
    windows = reach.Windows(ids, torch.zeros(32, dtype=torch.int64), np.arange(32))
    norms = reach.gradient_norms(model, windows, lags=120, scaled=False)
    parts = [norms.blocks[name] for name in ("h", "c") if name in norms.blocks]
    state = np.sqrt(sum(np.square(part) for part in parts))
    curve = reach_curves.lag_curve(state[1:], norms.groups, 2, 0)
    return -math.log(2) / reach_curves.tail_slope(curve.estimate)


# A2, A3: delayed recall


def recall(lag: int, count: int) -> Draw:
    """One of 8 symbols, then `lag` of 8 other symbols at random."""

    def draw(rng: np.random.Generator) -> Batch:
        symbol = rng.integers(8, size=count)
        noise = rng.integers(8, 16, size=(count, lag))
        return one_hot(np.column_stack([symbol, noise]), 16), torch.from_numpy(symbol)

    return draw


def recalls(cell: str, init: str, lag: int, seed: int, steps: int) -> tuple[float, int]:
    """Accuracy on 512 fresh sequences, and the steps until 95 % on a batch."""
    model = Reader(layer(cell, 16, 32, init), 8)
    taken = fit(
        model, recall(lag, 64), nn.functional.cross_entropy, steps=steps, lr=3e-3, seed=seed,
        done=lambda found, wanted: accuracy(found, wanted) >= 0.95,
    )  # fmt: skip
    inputs, wanted = recall(lag, 512)(np.random.default_rng((seed, 2)))
    with torch.no_grad():
        return accuracy(model(inputs), wanted), taken


A2_CASES = (
    ("rnn", "torch", False), ("gru", "torch", False), ("lstm", "torch", False),
    ("gru", "torch, bias 1", False), ("lstm", "torch, bias 1", False),
    ("rnn", "torch, orthogonal", True), ("rnn", "good", True),
    ("lstm", "chrono", True), ("gru", "chrono", True),
)  # fmt: skip


def a2(seeds: int) -> Iterator[Row]:
    """Recall over 60 steps: the initialisation decides, not the cell [C]."""
    for cell, init, solves in A2_CASES:
        found = [recalls(cell, init, 60, seed, 600) for seed in each(seeds)]
        values = [value for value, _ in found]
        ok = all(value >= 0.9 for value in values) if solves else all(v <= 0.2 for v in values)
        steps = ", ".join(str(taken) for _, taken in found)
        expected = "≥ 0.9 within 600 its" if solves else "≤ 0.2 (chance 0.125)"
        yield Row("A2", f"recall 60, {cell}, {init}", expected,
                  f"{spread(values)} after {steps} its", ok)  # fmt: skip


def a3(seeds: int) -> Iterator[Row]:
    """Recall over 20 steps, PyTorch's initialisation, at most 700 iterations [C, one seed]."""
    for cell, expected in (("gru", "solved (350 its)"), ("rnn", "0.24"), ("lstm", "0.42")):
        found = [recalls(cell, "torch", 20, seed, 700) for seed in each(seeds)]
        values = [value for value, _ in found]
        ok = all(v >= 0.9 for v in values) if cell == "gru" else all(v < 0.9 for v in values)
        steps = ", ".join(str(taken) for _, taken in found)
        yield Row("A3", f"recall 20, {cell}, torch", expected,
                  f"{spread(values)} after {steps} its", ok)  # fmt: skip


# A4: adding


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


def a4(seeds: int) -> Iterator[Row]:
    """Adding, T = 100, H = 8, 8,000 batches of 32 at most [S cybertronai; the RNN's band E]."""
    for cell, expected, low, high in (
        ("lstm", "< 0.01", 0.0, 0.01),
        ("rnn", "0.03 to 0.15 (trivial 0.667)", 0.03, 0.15),
    ):
        found = []
        for seed in each(min(seeds, 2)):
            model = Reader(layer(cell, 2, 8, "torch"), 1)
            fit(model, adding(100, 32), nn.functional.mse_loss, steps=8000, lr=5e-3, seed=seed)
            inputs, wanted = adding(100, 2000)(np.random.default_rng((seed, 2)))
            with torch.no_grad():
                found.append(float(nn.functional.mse_loss(model(inputs), wanted)))
        ok = all(low <= value <= high for value in found)
        yield Row("A4", f"adding 100, {cell}, torch: MSE", expected, spread(found), ok)


# A5: temporal order


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


def a5(seeds: int) -> Iterator[Row]:
    """Temporal order, T = 50, H = 4 [S cybertronai], and the orthogonal RNN."""
    for cell, init, expected, test in (
        ("lstm", "torch", "≥ 0.99", lambda value: value >= 0.99),
        ("rnn", "small", "about 0.25", lambda value: value <= 0.35),
        ("rnn", "good", "(not stated)", None),
    ):
        found = []
        for seed in each(seeds):
            model = Reader(layer(cell, 6, 4, "torch" if init == "small" else init), 4)
            if init == "small":
                for weight in model.recurrent.parameters():
                    nn.init.normal_(weight, 0, 0.1)
            fit(
                model, order(50, 32), nn.functional.cross_entropy, steps=4000, lr=1e-2, seed=seed,
                done=lambda found, wanted: float(
                    nn.functional.cross_entropy(found, wanted)) < 0.01,
            )  # fmt: skip
            inputs, wanted = order(50, 2000)(np.random.default_rng((seed, 2)))
            with torch.no_grad():
                found.append(accuracy(model(inputs), wanted))
        ok = None if test is None else all(test(value) for value in found)
        yield Row("A5", f"temporal order 50, {cell}, {init}", expected, spread(found), ok)


# A6: copy


def copying(lag: int, count: int) -> Draw:
    """Ten of 8 symbols, blanks, a sign, ten blanks; the answer is blanks, then the ten symbols."""

    def draw(rng: np.random.Generator) -> Batch:
        symbols = rng.integers(8, size=(count, 10))
        ids, answer = (np.full((count, lag + 20), 8) for _ in range(2))
        ids[:, :10], ids[:, lag + 9], answer[:, -10:] = symbols, 9, symbols
        return one_hot(ids, 10), torch.from_numpy(np.ascontiguousarray(answer.T))

    return draw


def a6(seeds: int) -> Iterator[Row]:
    """Copy, T = 100: cross-entropy per step; without memory 10 ln 8 / 120 = 0.1733 [E]."""
    blind = 10 * math.log(8) / 120
    for cell, init, expected, low, high in (
        ("lstm", "torch", "near 0.1733", 0.8 * blind, 1.05 * blind),
        ("gru", "torch", "≤ 0.1733 + 5 %", 0.0, 1.05 * blind),
        ("rnn", "good", "≤ 0.1733 + 5 %", 0.0, 1.05 * blind),
        ("lstm", "chrono", "< 0.0866", 0.0, blind / 2),
    ):
        found = []
        for seed in each(1):
            model = Reader(layer(cell, 10, 64, init, 150), 9, every_step=True)
            fit(model, copying(100, 32), flat_loss, steps=1500, lr=3e-3, seed=seed)
            inputs, wanted = copying(100, 500)(np.random.default_rng((seed, 2)))
            with torch.no_grad():
                found.append(float(flat_loss(model(inputs), wanted)))
        ok = all(low <= value <= high for value in found)
        yield Row("A6", f"copy 100, {cell}, {init}: nats per step", expected, spread(found), ok)


def flat_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy over all steps."""
    return nn.functional.cross_entropy(found.flatten(0, 1), wanted.flatten())


# A7: USE of a trained LSTM on a source that copies


def a7(seeds: int) -> Iterator[Row]:
    """A fresh LSTM on the copy-lag-10 source: USE finds where its context ends [E]."""
    spec = "task:copy-lag:lag=10,symbols=20,q=0.9,train=400000,valid=60000,test=0"
    texts = {
        split: np.frombuffer(parts[0].text.encode(), dtype=np.uint8).astype(np.int64) - ord("a")
        for split, parts in task_documents(spec).items()
        if parts
    }
    known = chance(spec)
    step = known["loss_nats_memoryless"] - known["loss_nats_best"]
    for seed in each(min(seeds, 2)):
        model = LanguageModel(
            vocab_size=21, embedding_size=32, cell="lstm", hidden_size=128, num_layers=1
        )
        reached = learn(model, texts["train"], seed)
        settings = Settings(resamples=200, resets=3000, n_max=24, bins="each", per_bin=1)
        sample = Sample(ids=(texts["valid"],), running=True)
        found = use.measure(LanguageModelSubject(model, boundary_id=20), sample, settings)
        for arm in ("foreign", "zero"):
            horizon = found.scalars[f"n_eff_{arm}"]
            value = horizon.estimate
            ok = value is not None and abs(value - 10) <= 1
            yield Row("A7", f"n_eff, {arm}, seed {seed}", "10 ± 1", f"{value} {horizon.ci95}", ok)
        excess = found.curves["zero"].y[9] or 0.0
        yield Row("A7", f"δ(9), zero, seed {seed}", f"≥ 90 % of {step:.3f}",
                  f"{excess:.3f} (loss {reached:.3f})", excess >= 0.9 * step)  # fmt: skip


def learn(model: LanguageModel, ids: np.ndarray[Any, Any], seed: int, steps: int = 1500) -> float:
    """Adam on random windows of 64 tokens; the mean loss of the last 50 steps."""
    rng = np.random.default_rng((seed, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    losses = []
    for _ in range(steps):
        starts = rng.integers(len(ids) - 65, size=32)
        batch = torch.from_numpy(np.stack([ids[s : s + 65] for s in starts], axis=1))
        nats, _ = model.loss(batch[:-1], batch[1:])
        optimizer.zero_grad()
        (nats / batch[1:].numel()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(nats.item() / batch[1:].numel())
    model.eval()
    return float(np.mean(losses[-50:]))


RUNS: dict[str, Callable[[int], Iterator[Row]]] = {
    "A1": a1, "A2": a2, "A3": a3, "A4": a4, "A5": a5, "A6": a6, "A7": a7,
}  # fmt: skip


def main() -> int:
    """Run what was asked for, print the table as it comes and the JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", default=list(RUNS), choices=[*RUNS, []])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    rows, seconds = [], {}
    for name in arguments.runs:
        began = time.perf_counter()
        for row in RUNS[name](arguments.seeds):
            rows.append(row)
            mark = {True: "ok", False: "OUTSIDE", None: ""}[row.ok]
            print(f"{row.run}  {row.what:<34} {row.expected:<30} {row.measured:<36} {mark}")
            sys.stdout.flush()
        seconds[name] = round(time.perf_counter() - began, 1)
    report = {
        "machine": platform.platform(), "torch": torch.__version__,
        "threads": torch.get_num_threads(), "seconds": seconds,
        "rows": [asdict(row) for row in rows],
    }  # fmt: skip
    text = json.dumps(report, indent=2, ensure_ascii=False)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
