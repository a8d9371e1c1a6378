"""The loop: take a step, validate when due, save when due, tell what happened."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from rnnctl.errors import DivergenceError
from rnnctl.tasks.base import StepLoss
from rnnctl.training import events
from rnnctl.training.optimizer import clip, set_rate
from rnnctl.training.schedule import Plan
from rnnctl.training.state import TrainingState, snapshot

MAX_RETRIES = 5
RETRY_RATE = 0.3  # factor on the learning rate at each return to the last good weights
ADVICE_PROGRESS = 0.3  # from here on a model should beat the one that looks at no context


class TrainingInterrupted(Exception):  # noqa: N818 - an outcome, not a defect
    """Raised by the loop between two steps when it was asked to stop; the state is consistent."""


def nothing_to_reduce(loss: StepLoss) -> float:
    """Mean loss when there is one process only."""
    return float(loss.total.detach()) / loss.units


@dataclass(slots=True)
class Loop:
    """One training. `run()` yields events until the plan is fulfilled or patience is used up.

    `interrupted` is asked between steps and inside validations. `save` writes a checkpoint and
    returns its name. `reduce` adds up gradients over workers after the backward pass and returns
    the mean loss of the whole batch. `agree` makes all workers take the first one's decision.
    """

    state: TrainingState
    plan: Plan
    save: Callable[[TrainingState], str]
    interrupted: Callable[[], bool] = lambda: False
    reduce: Callable[[StepLoss], float] = nothing_to_reduce
    agree: Callable[[float], float] = lambda value: value
    clock: Callable[[], float] = time.monotonic
    _started: float = 0.0
    _saved_at: float = 0.0

    def run(self) -> Iterator[events.LoopEvent]:
        """Train. TrainingInterrupted between steps when asked to stop; DivergenceError."""
        counters = self.state.counters
        self._started = self.clock() - counters.elapsed_s
        self._saved_at = self.clock()
        self.state.task.model.train()
        while True:
            if counters.evaluation_due:
                yield from self._evaluate()
            if counters.stop_reason:
                break
            if self._asked_to_stop():
                raise TrainingInterrupted
            yield from self._step()
            yield from self._save_when_due()
        yield events.Stopped(counters.step, counters.stop_reason, self._elapsed())

    def _elapsed(self) -> float:
        """Seconds since the first step, earlier sessions included."""
        elapsed = self.agree(self.clock() - self._started)
        self.state.counters.elapsed_s = elapsed
        return elapsed

    def _asked_to_stop(self) -> bool:
        return self.agree(float(self.interrupted())) > 0

    def _step(self) -> Iterator[events.LoopEvent]:
        state, counters = self.state, self.state.counters
        progress = self.plan.progress(counters, self._elapsed())
        lr = self.plan.rate(progress, counters)
        set_rate(state.optimizer, lr)
        state.optimizer.zero_grad(set_to_none=True)
        loss = state.task.loss(state.task.next_batch(), state.carry)
        (loss.total / loss.units).backward()  # type: ignore[no-untyped-call]
        mean = self.reduce(loss)
        norm = clip(state.task.model.parameters(), self.plan.settings.clip)
        counters.step += 1
        if not (math.isfinite(mean) and math.isfinite(norm)):
            yield self._step_back(mean, norm, lr)
        else:
            state.optimizer.step()
            state.carry = loss.carry
            yield self._count(loss, mean, norm, lr, progress)
        self._decide()

    def _count(
        self, loss: StepLoss, mean: float, norm: float, lr: float, progress: float
    ) -> events.Step:
        counters = self.state.counters
        clipped = norm > self.plan.settings.clip
        counters.clipped += clipped
        counters.tokens += loss.tokens
        counters.documents += loss.documents
        counters.loss_sum += mean * loss.units
        counters.loss_tokens += loss.units
        units = counters.documents if self.plan.counts_documents else counters.tokens
        return events.Step(
            step=counters.step,
            progress=progress,
            lr=lr,
            loss_nats=mean,
            gradient_norm=norm,
            clipped=clipped,
            tokens=counters.tokens,
            epoch=units / self.plan.units_per_epoch,
            elapsed_s=self._elapsed(),
        )

    def _decide(self) -> None:
        """After a step: is the training over, is a validation due?"""
        counters = self.state.counters
        elapsed = self._elapsed()
        progress = self.plan.progress(counters, elapsed)
        if progress >= 1:
            settings = self.plan.settings
            steps = settings.steps is not None
            counters.stop_reason = (
                "steps" if steps else "epochs" if settings.epochs is not None else "budget"
            )
        counters.evaluation_due = bool(counters.stop_reason) or self.plan.evaluation_due(
            counters, progress, elapsed
        )

    def _step_back(self, loss: float, norm: float, lr: float) -> events.SteppedBack:
        counters = self.state.counters
        counters.retries += 1
        if counters.retries > MAX_RETRIES:
            raise DivergenceError(
                f"the loss is not finite at step {counters.step} (loss {loss}, gradient norm "
                f"{norm}, learning rate {lr:.3g}), and {MAX_RETRIES} returns to the last good "
                "weights at lower rates did not help",
                hint=f"try a lower --lr (this was {self.plan.settings.lr:g}), a smaller --clip, "
                "or --precision fp32",
            )
        counters.lr_scale *= RETRY_RATE
        self.state.step_back()
        return events.SteppedBack(
            counters.step, counters.best_step, loss, norm, lr, counters.lr_scale
        )

    def _evaluate(self) -> Iterator[events.LoopEvent]:
        state, counters = self.state, self.state.counters
        before = self.clock()
        validation = state.task.validate(self.interrupted)
        if self._asked_to_stop():
            raise TrainingInterrupted
        counters.evaluation_due = False
        counters.evaluations += 1
        counters.evaluated_step = counters.step
        counters.evaluation_s = self.agree(self.clock() - before)
        elapsed = self._elapsed()
        counters.evaluated_at_s = elapsed
        train = counters.loss_sum / counters.loss_tokens if counters.loss_tokens else None
        counters.loss_sum, counters.loss_tokens = 0.0, 0
        value = validation.value if validation is not None else train
        if value is None or not math.isfinite(value):
            return
        best = validation is None or counters.best_value is None or value < counters.best_value
        self._remember(value, best)
        accuracy = validation.accuracy if validation is not None else None
        yield events.Evaluated(counters.step, value, train, best, accuracy, elapsed)
        yield from self._advise(value)

    def _remember(self, value: float, best: bool) -> None:
        counters = self.state.counters
        counters.history.append((counters.step, value))
        if best:
            counters.best_value, counters.best_step = value, counters.step
            counters.without_progress = 0
            self.state.best = snapshot(self.state.task.model)
            return
        counters.without_progress += 1
        patience = self.plan.settings.patience
        if patience is not None and counters.without_progress >= patience:
            counters.stop_reason = counters.stop_reason or "patience"

    def _advise(self, value: float) -> Iterator[events.Advice]:
        counters = self.state.counters
        trivial = self.state.task.trivial_nats
        late = self.plan.progress(counters, counters.elapsed_s) >= ADVICE_PROGRESS
        if late and not counters.advised and value > 0.99 * trivial:
            counters.advised = True
            yield events.Advice(
                counters.step,
                "not_better_than_unigram",
                f"validation loss {value:.3f} does not beat {trivial:.3f}, what a model reaches "
                "that looks at no context; try another --lr, more steps or a larger --hidden-size",
            )

    def _save_when_due(self) -> Iterator[events.Saved]:
        due = self.clock() - self._saved_at >= self.plan.settings.checkpoint_every_s
        if self.agree(float(due)) > 0 and not self.state.counters.stop_reason:
            yield events.Saved(self.state.counters.step, self.save(self.state))
            self._saved_at = self.clock()


def seed_everything(seed: int) -> None:
    """Start torch's random generators (weights, dropout)."""
    torch.manual_seed(seed)
