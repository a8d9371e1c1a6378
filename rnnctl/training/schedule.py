"""How far a training is, and what learning rate that means. Plain numbers, no torch.

Steps, epochs and the clock are turned into one number, the progress in [0, 1], and the rate is a
function of the progress alone. A replayed training takes the recorded progress of each step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rnnctl import integrity
from rnnctl.config import TrainingConfig
from rnnctl.errors import CorruptRunError
from rnnctl.runs import Run
from rnnctl.tasks.recipes import VALIDATIONS_PER_EPOCH

LOWEST_RATE = 0.01  # share of the peak at the first and last step, so that no step is wasted
SLANTED_RATIO = 32  # of the peak to the first and last rate of a slanted triangle
SLOW_STEP = 0.05  # of a budget: a step that takes longer is told
SLOW_STEP_S = 0.5  # and as long as this: shorter ones end no budget late
EVALUATIONS = 10  # validations over a training, unless the settings say otherwise
EVALUATION_SHARE = 0.04  # of a budget may go into validations while it trains
PACE_EVALUATION_SHARE = 0.2  # and of any stretch of time, when epochs limit the training too
ONE_EVALUATION_SHARE = 0.01  # of a budget may go into one of them
READING_SPEED = 2.0  # validating is at least so many times as fast as training
FEWEST_VALIDATED = {False: 4096, True: 128}  # tokens, or documents


@dataclass(frozen=True, slots=True)
class Replay:
    """What a finished budget run did: the progress of each step, and where it validated.

    `validation_units`: tokens or documents that each validation read at most, 0 for all.
    """

    progress: tuple[float, ...]
    evaluations: frozenset[int]
    validation_units: int = 0


@dataclass(slots=True)
class Counters:
    """Everything countable that the loop carries from step to step."""

    step: int = 0
    tokens: int = 0
    documents: int = 0
    elapsed_s: float = 0.0
    clipped: int = 0
    loss_sum: float = 0.0  # nats, since the last validation
    loss_tokens: int = 0
    evaluation_due: bool = False
    evaluations: int = 0
    evaluated_at_s: float = 0.0
    evaluated_progress: float = 0.0
    evaluation_s: float = 0.0  # that the last validation took
    evaluations_s: float = 0.0  # that all of them took
    validation_units: int = 0  # tokens or documents that each reads at most, 0 for all
    step_s: float = 0.0  # that the last step took
    best_value: float | None = None
    best_choice: float | None = None  # see `Validation.chosen_by`; None in older checkpoints
    best_step: int = 0
    without_progress: int = 0
    lr_scale: float = 1.0
    retries: int = 0
    advised: bool = False
    stop_reason: str = ""
    history: list[tuple[int, float]] = field(default_factory=list)  # (step, validation value)
    accuracies: list[float | None] = field(default_factory=list)  # of the last of them


@dataclass(frozen=True, slots=True)
class Schedule:
    """The settings of a training, resolved; what `loop` follows."""

    settings: TrainingConfig
    units_per_epoch: int  # tokens (language models) or documents (classifiers)
    counts_documents: bool = False
    replay: Replay | None = None

    def progress(self, counters: Counters) -> float:
        """Share of the training that is done before the coming step, in [0, 1]."""
        if self.replay is not None:
            done = counters.step >= len(self.replay.progress)
            return 1.0 if done else self.replay.progress[counters.step]
        return min(1.0, max(self._shares(counters, counters.elapsed_s).values()))

    def over(self, counters: Counters) -> bool:
        """Whether the training has reached its end.

        A repeated one takes every step of the first, also one that began when its time was up: a
        validation before it may have taken longer than was left for it. By the clock it ends where
        another step would end further after the budget than this one before it.
        """
        if self.replay is not None:
            return counters.step >= len(self.replay.progress)
        shares = self._shares(counters, counters.elapsed_s + counters.step_s / 2)
        return max(shares.values()) >= 1

    def _shares(self, counters: Counters, elapsed_s: float) -> dict[str, float]:
        """How much of each limit is used up."""
        found = {}
        settings = self.settings
        if settings.steps is not None:
            found["steps"] = counters.step / settings.steps
        if settings.epochs is not None:
            units = counters.documents if self.counts_documents else counters.tokens
            found["epochs"] = units / (settings.epochs * self.units_per_epoch)
        if settings.budget_s is not None:
            room = self.training_seconds(counters)
            found["budget"] = elapsed_s / room if room > 0 else 1.0
        return found

    def reason(self, counters: Counters) -> str:
        """Which limit ended the training."""
        shares = self._shares(counters, counters.elapsed_s)
        return max(shares, key=lambda name: shares[name])

    def training_seconds(self, counters: Counters) -> float:
        """Seconds of the budget that steps may use: all but what the last validation takes."""
        budget = self.settings.budget_s
        assert budget is not None
        return budget - 1.1 * (counters.evaluation_s or ONE_EVALUATION_SHARE * budget)

    def validation_units(self, counters: Counters) -> int:
        """Tokens or documents that each validation reads at most, decided at the first; 0 for all.

        By a budget as many as take a small share of it, at the speed of the training so far.
        """
        if self.replay is not None:
            return self.replay.validation_units
        if self.settings.budget_s is None or counters.elapsed_s <= 0:
            return 0
        done = counters.documents if self.counts_documents else counters.tokens
        seconds = ONE_EVALUATION_SHARE * self.settings.budget_s
        wanted = int(READING_SPEED * seconds * done / counters.elapsed_s)
        return max(FEWEST_VALIDATED[self.counts_documents], wanted)

    def is_slow(self, step_s: float) -> bool:
        """Whether a step takes so much of the budget that it should be told."""
        budget = self.settings.budget_s
        return budget is not None and step_s > max(SLOW_STEP * budget, SLOW_STEP_S)

    def rate(self, progress: float, counters: Counters) -> float:
        """Learning rate at a progress in [0, 1]; lowered after a divergence."""
        share = schedule_share(progress, self.settings.warmup, self.settings.decay)
        return self.settings.lr * share * counters.lr_scale

    def layers(self, progress: float) -> int | None:
        """How many layers learn at a progress in [0, 1], from the output on; None for all."""
        if not self.settings.unfreeze:
            return None
        return 1 + math.floor(progress / self.settings.unfreeze + 1e-9)

    def evaluation_due(self, counters: Counters) -> bool:
        """Whether to validate now, after a step. The end of the training always does."""
        if self.replay is not None:
            return counters.step in self.replay.evaluations
        since_s = counters.elapsed_s - counters.evaluated_at_s
        every, every_s = self.settings.evaluate_every, self.settings.evaluate_every_s
        if every is not None:
            return counters.step % every == 0
        if every_s is not None:
            return since_s >= every_s
        if self.settings.budget_s is not None and not self.settings.epochs:
            even = self.settings.budget_s / EVALUATIONS
            # Validations may take only a small share of the budget, however slow they are.
            return since_s >= max(even, counters.evaluation_s / EVALUATION_SHARE)
        if self.settings.budget_s is not None:
            spent = counters.evaluations_s + counters.evaluation_s  # this one included
            pause = counters.evaluation_s / PACE_EVALUATION_SHARE
            if spent > EVALUATION_SHARE * self.settings.budget_s or since_s < pause:
                return False
        wanted = self.settings.epochs or 1.0
        total = max(EVALUATIONS, math.ceil(VALIDATIONS_PER_EPOCH * wanted))
        return int(self.progress(counters) * total) > int(counters.evaluated_progress * total)


def schedule_share(progress: float, warmup: float, decay: str) -> float:
    """Share of the peak rate at `progress`: linear warm-up over `warmup`, then the decay.

    "slanted" is the slanted triangle of Howard & Ruder (2018), whose cut_frac is `warmup`.
    """
    if decay == "slanted":
        rising = progress / warmup if progress < warmup else 1.0
        height = rising if rising < 1 else 1 - (progress - warmup) / (1 - warmup)
        return (1 + height * (SLANTED_RATIO - 1)) / SLANTED_RATIO
    if progress < warmup:
        return max(LOWEST_RATE, progress / warmup)
    done = (progress - warmup) / (1 - warmup)
    if decay == "constant":
        return 1.0
    if decay == "cosine":
        return max(LOWEST_RATE, 0.5 * (1 + math.cos(math.pi * done)))
    return max(LOWEST_RATE, 1 - done)


def replay_of(events: Sequence[dict[str, object]]) -> Replay:
    """The replay that a log of steps and validations describes.

    A step that went back to earlier weights was one too; older logs have no progress of it, and it
    gets that of the step before.
    """
    progress: list[float] = []
    for event in events:
        if event.get("event") == "step":
            progress.append(float(str(event["progress"])))
        elif event.get("event") == "stepped_back":
            known = progress[-1] if progress else 0.0
            progress.append(float(str(event.get("progress", known))))
    validations = ("evaluated", "not_finite")
    evaluations = {int(str(e["step"])) for e in events if e.get("event") in validations}
    units = [
        int(str(e.get("validation_units", 0))) for e in events if e.get("event") == "evaluated"
    ]
    return Replay(tuple(progress), frozenset(evaluations), max(units, default=0))


# -- the schedule that a replay follows, in its run ----------------------------------------------

SCHEDULE_NAME = "schedule.json"


def write_schedule(replay: Replay | None) -> dict[str, bytes]:
    """The file that makes a replayed run resumable; nothing for ordinary runs."""
    if replay is None:
        return {}
    content = {
        "progress": replay.progress,
        "evaluations": sorted(replay.evaluations),
        "validation_units": replay.validation_units,
    }
    return {SCHEDULE_NAME: json.dumps(content).encode("ascii")}


def read_schedule(run: Run) -> Replay | None:
    """The schedule that a run follows instead of the clock, if it does."""
    if SCHEDULE_NAME not in run.current.files:
        return None
    path = run.file(SCHEDULE_NAME)
    content = integrity.read_json(path, limit=integrity.MAX_RESULT)
    try:
        progress = [_share(value) for value in content["progress"]]
        evaluations = frozenset(int(step) for step in content["evaluations"])
        return Replay(tuple(progress), evaluations, int(content.get("validation_units", 0)))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CorruptRunError(f"{path} is not a schedule: {error}") from error


def _share(value: Any) -> float:
    """A progress in [0, 1]."""
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError(f"a progress of {share}")
    return share
