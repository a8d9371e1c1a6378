"""How fast each model trains and generates, measured in a phase of its own.

One model at a time, nothing else running, in rounds: every round measures every model once, so
that whatever slows the machine down for a while slows them all, and ratios are taken within
rounds. What disturbs a computer makes it slower, never faster (and two threads that wait for each
other fifty times slower): so of the steps within a round the quartile of the fastest counts, and
of the rounds those where every model came nearest to its own best. Gated cells are measured a
second time at the LSTM's hidden size, because "the GRU is faster" is said of equal sizes, while
members are matched in parameters.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnctl import machine
from rnnctl.compare.plan import REFERENCE
from rnnctl.nn.cells import find_cell
from rnnctl.results.base import Environment
from rnnctl.results.comparison import SpeedResult
from rnnctl.runs import Run

if TYPE_CHECKING:
    from rnnctl.nn.models import Classifier, LanguageModel

ROUNDS = 5
MOST = 3  # times as many rounds on a machine that is busy
DISTURBED = 0.8  # of its best speed: a model that is slower in a round was disturbed
WARM_UP = 0.3  # seconds before the clock starts
SECONDS = 0.4  # of training steps in each round
GENERATED = 64  # tokens generated at a time
GENERATIONS = 8  # so often in each round
DOCUMENT = 128  # tokens per document when a classifier is measured

Model = Any


@dataclass
class _Bench:
    """One model with everything needed to take a training step and to generate."""

    run: Run
    model: LanguageModel | Classifier
    step: Callable[[], int]
    generate: Callable[[int], None]
    hidden_size: int
    batch_size: int
    chunk: int
    train: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)

    def round(self, seconds: float) -> None:
        """Measure both speeds once."""
        per_token: list[float] = []
        end = time.perf_counter() + seconds
        while not per_token or time.perf_counter() < end:
            began = time.perf_counter()
            tokens = self.step()
            per_token.append((time.perf_counter() - began) / tokens)
        self.train.append(1 / quartile(per_token))
        self.model.eval()  # dropout would be drawn for every token, and nobody generates with it
        took = []
        for _ in range(GENERATIONS):
            began = time.perf_counter()
            self.generate(GENERATED)
            took.append(time.perf_counter() - began)
        self.ms.append(1000 * quartile(took) / GENERATED)
        self.model.train()

    def keep(self, rounds: Sequence[int]) -> None:
        """Forget all but these rounds."""
        self.train = [self.train[k] for k in rounds]
        self.ms = [self.ms[k] for k in rounds]


def quartile(values: Sequence[float]) -> float:
    """The value that a quarter of `values` (at least one) are below."""
    return sorted(values)[len(values) // 4]


def measure(
    runs: Mapping[str, Path],
    *,
    threads: int,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    warm_up: float = WARM_UP,
) -> Iterator[str]:
    """Measure one run per row and write `speed.json` into it; says which row comes next.

    Rows are measured with random tokens at the batch size and chunk that they were trained with.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)  # members were trained on one each; here nothing else runs
    try:
        # All models are in memory before the clock starts: loading one would disturb the next.
        benches = {row: _from_run(path) for row, path in runs.items()}
        cells = {row: bench.run.config.model.cell for row, bench in benches.items()}
        lstms = (bench.hidden_size for row, bench in benches.items() if cells[row] == REFERENCE)
        size = next(lstms, None)
        twins = {
            row: _from_run(path, hidden_size=size)
            for row, path in runs.items()
            if size is not None and cells[row] != REFERENCE and find_cell(cells[row]).has_gates
        }
        everyone = [*benches.items(), *((f"{row}, size {size}", b) for row, b in twins.items())]
        done, steady = yield from _rounds(everyone, rounds, seconds, warm_up)
    finally:
        torch.set_num_threads(before)
    common = {
        "session": uuid.uuid4().hex, "threads": threads, "rounds": done, "steady": steady,
        "load_per_core": load_per_core(),
    }  # fmt: skip
    for row, bench in benches.items():
        _keep(bench, twins.get(row), common)


def load_per_core() -> float | None:
    """The machine's load average over the last minute, per core; None where there is no such.

    This program alone keeps each core busy once at most, so more comes from others.
    """
    if not hasattr(os, "getloadavg"):
        return None
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def _rounds(
    everyone: Sequence[tuple[str, _Bench]], rounds: int, seconds: float, warm_up: float
) -> Generator[str, None, tuple[int, bool]]:
    """Measure until `rounds` were undisturbed, and keep the best.

    Returns how many there were, and whether enough of them were undisturbed.
    """
    benches = [bench for _, bench in everyone]
    for bench in benches:
        bench.round(warm_up)
        # What is first run is compiled and finds its memory: no measure of speed.
        bench.keep([])
    for number in range(1, MOST * rounds + 1):
        for row, bench in everyone:
            yield f"speed, round {number}: {row}"
            bench.round(seconds)
        shares = undisturbed([bench.train for bench in benches])
        steady = sum(share >= DISTURBED for share in shares) >= rounds
        if steady:
            break
    best = sorted(range(number), key=shares.__getitem__, reverse=True)[:rounds]
    for bench in benches:
        bench.keep(sorted(best))
    return number, steady


def undisturbed(speeds: Sequence[Sequence[float]]) -> list[float]:
    """For each round the smallest share of its own best speed that a model reached.

    `speeds` has one sequence for each model, with its speed in each round.
    """
    shares = [[value / max(one) for value in one] for one in speeds]
    return [min(found) for found in zip(*shares, strict=True)]


def _keep(bench: _Bench, twin: _Bench | None, common: dict[str, Any]) -> None:
    record = SpeedResult(
        environment=Environment(threads=common["threads"], **machine.facts()),
        **common,
        train_tokens_per_s=tuple(bench.train),
        generate_ms_per_token=tuple(bench.ms),
        hidden_size=bench.hidden_size,
        batch_size=bench.batch_size,
        chunk=bench.chunk,
        same_size_hidden=twin.hidden_size if twin else None,
        same_size_train_tokens_per_s=tuple(twin.train) if twin else (),
        same_size_generate_ms_per_token=tuple(twin.ms) if twin else (),
    )
    bench.run.keep_result("speed", record)


def _from_run(path: Path, hidden_size: int | None = None) -> _Bench:
    """A fresh model like the run's: speed does not depend on what the weights are."""
    import torch

    from rnnctl.machine import find_arithmetic, keep_memory
    from rnnctl.nn.models import LanguageModel
    from rnnctl.nn.settling import settle
    from rnnctl.tasks.loading import build_model, load
    from rnnctl.training.optimizer import make_optimizer

    keep_memory()
    loaded = load(path)
    config = loaded.config.model
    if hidden_size is not None:
        config = config.model_copy(update={"hidden_size": hidden_size})
    model = build_model(
        config, vocab_size=loaded.tokenizer.vocab_size, num_classes=len(loaded.labels),
        engine=loaded.config.training.engine,
    )  # fmt: skip
    settings = loaded.config.training
    arithmetic = find_arithmetic("cpu", settings.precision, insist=False)
    optimizer = make_optimizer(model, settings)
    draw = torch.Generator().manual_seed(0)
    language = isinstance(model, LanguageModel)
    chunk, streams = (settings.bptt if language else DOCUMENT), settings.batch_size
    # As a training does: each cell runs on the engine that is fastest for it here.
    found = settle(model.recurrent, chunk, streams, bf16=arithmetic.bf16)
    model.recurrent.engine = found.engine
    ids = torch.randint(model.vocab_size, (chunk + 1, streams), generator=draw)
    step = (_language_step if language else _classifier_step)(model, ids, arithmetic.context)

    def train_step() -> int:
        optimizer.zero_grad()
        step().backward()
        optimizer.step()
        return chunk * streams

    generate = _generation(model) if language else _reading(model)
    model.train()
    return _Bench(loaded.run, model, train_step, generate, config.hidden_size, streams, chunk)


def _language_step(model: Model, ids: Any, context: Callable[[], Any]) -> Callable[[], Any]:
    def loss() -> Any:
        with context():
            return model.loss(ids[:-1], ids[1:])[0] / ids[1:].numel()

    return loss


def _classifier_step(model: Model, ids: Any, context: Callable[[], Any]) -> Callable[[], Any]:
    import torch

    lengths = torch.full((ids.shape[1],), ids.shape[0] - 1)
    labels = torch.arange(ids.shape[1]) % model.num_classes

    def loss() -> Any:
        with context():
            logits = model(ids[:-1], lengths)
        return torch.nn.functional.cross_entropy(logits.float(), labels)

    return loss


def _generation(model: Model) -> Callable[[int], None]:
    """One stream, one token at a time, through the same steps as ``rnnctl generate``."""
    import numpy as np

    from rnnctl.nn.stepping import Stepper

    def generate(tokens: int) -> None:
        stepper = Stepper(model, model.recurrent.initial_state(1))
        last = np.zeros(1, dtype=np.int64)
        for _ in range(tokens):
            # The likeliest token: drawing one costs the same for every cell, and is no part of the
            # question.
            last = stepper.step(last).argmax(-1)

    return generate


def _reading(model: Model) -> Callable[[int], None]:
    """A classifier reads one document of so many tokens."""
    import torch

    def read(tokens: int) -> None:
        with torch.inference_mode():
            model(torch.zeros((tokens, 1), dtype=torch.int64), torch.tensor([tokens]))

    return read
