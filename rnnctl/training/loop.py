"""The loop: take a step, validate when due, save when due, tell what happened."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

from torch import nn

from rnnctl import machine
from rnnctl.errors import DivergenceError
from rnnctl.machine import MemoryBound
from rnnctl.tasks.base import Interrupted, StepLoss, Task, Validation
from rnnctl.tasks.evaluation import never
from rnnctl.training import events
from rnnctl.training.optimizer import clip
from rnnctl.training.schedule import Schedule
from rnnctl.training.state import TrainingState, snapshot
from rnnctl.wording import plural

# Rates fall to a quarter of a per cent: what still diverges there does so for another reason.
MAX_RETRIES = 5
RETRY_RATE = 0.3  # factor on the learning rate at each return to the last good weights
ADVICE_STEPS = 100
NOT_BETTER = "not_better_than_unigram"
ADVICE_PROGRESS = 0.3  # from here on a model should beat the one that looks at no context


class TrainingInterrupted(Exception):  # noqa: N818 - an outcome, not a defect
    """Raised by the loop between two steps when it was asked to stop; the state is consistent."""


class Team(Protocol):
    """The processes that train together; `Alone` when there is one."""

    def reduce(self, model: nn.Module, loss: StepLoss) -> float:
        """Add up gradients over the processes; return the mean loss of the whole batch."""
        ...

    def agree(self, values: list[float]) -> list[float]:
        """The first process's values, in all of them."""
        ...

    def validate(self, task: Task, interrupted: Interrupted, most: int) -> Validation | None:
        """Validate once, for all, on at most that many tokens or documents (0: all)."""
        ...


class Alone:
    """One process."""

    def reduce(self, model: nn.Module, loss: StepLoss) -> float:
        return float(loss.total.detach()) / loss.units

    def agree(self, values: list[float]) -> list[float]:
        return values

    def validate(self, task: Task, interrupted: Interrupted, most: int) -> Validation | None:
        return task.validate(interrupted, most)


@dataclass(slots=True)
class Loop:
    """One training. `run()` yields events until the plan is fulfilled or patience is used up.

    `interrupted` is asked between steps and inside validations. `save` writes a checkpoint and
    returns its name.
    """

    state: TrainingState
    plan: Schedule
    save: Callable[[TrainingState], str]
    interrupted: Interrupted = never
    team: Team = field(default_factory=Alone)
    clock: Callable[[], float] = time.monotonic
    _started: float = 0.0
    _saved_at: float = 0.0
    _stop: bool = False
    _save_due: bool = False
    _told_slow: bool = False
    _memory: MemoryBound = field(default_factory=MemoryBound)

    def run(self) -> Iterator[events.LoopEvent]:
        """Train. TrainingInterrupted between steps when asked to stop; DivergenceError."""
        counters = self.state.counters
        # A resumed training counts on from the seconds it had: a budget is one of training time.
        self._started = self.clock() - counters.elapsed_s
        self._saved_at = self.clock()
        self.state.task.model.train()
        while True:
            # First in the loop, so that a training that was resumed makes the validation that was
            # due.
            if counters.evaluation_due:
                yield from self._evaluate()
            if counters.stop_reason:
                break
            if self._stop:
                raise TrainingInterrupted
            yield from self._step()
            self._memory.after_step()
            yield from self._save_when_due()
        if counters.best_value is None:
            raise self._never_finite()
        yield events.Stopped(counters.step, counters.stop_reason, counters.elapsed_s)

    def _synchronise(self) -> None:
        """Read the clock and the wishes from outside, once, for all processes."""
        now = self.clock()
        due = now - self._saved_at >= self.plan.settings.checkpoint_every_s
        # Clocks and signals differ between processes, a training goes one way: the first one says.
        wishes = [now - self._started, float(self.interrupted()), float(due)]
        elapsed, stop, save = self.team.agree(wishes)
        self.state.counters.elapsed_s = elapsed
        self._stop, self._save_due = stop > 0, save > 0

    def _step(self) -> Iterator[events.LoopEvent]:
        state, counters = self.state, self.state.counters
        progress = self.plan.progress(counters)
        lr = self.plan.rate(progress, counters)
        state.optimizer.lr = lr
        state.optimizer.open_layers(self.plan.layers(progress))
        state.optimizer.zero_grad()
        # `carry` is the state after the last chunk, without its gradient: truncated BPTT.
        loss = state.task.loss(state.task.next_batch(), state.carry)
        (loss.total / loss.units).backward()  # type: ignore[no-untyped-call]
        mean = self.team.reduce(state.task.model, loss)
        # After the sum over workers, or each would clip a part of the gradient by a norm of its
        # own.
        norm = clip(state.task.model.parameters(), self.plan.settings.clip)
        counters.step += 1
        # Asked before the weights change: a step with NaN in it would leave nothing to go on from.
        good = math.isfinite(mean) and math.isfinite(norm)
        if good:
            state.optimizer.step()
            state.update_average()
            state.carry = loss.carry
        before = counters.elapsed_s
        self._synchronise()
        counters.step_s = counters.elapsed_s - before
        if good:
            yield self._count(loss, mean, norm, lr, progress)
        else:
            yield self._step_back(mean, norm, lr, progress)
        self._decide()
        if not self._told_slow and self.plan.is_slow(counters.step_s):
            self._told_slow = True
            yield self._slow_step()

    def _slow_step(self) -> events.SlowStep:
        counters, budget = self.state.counters, self.plan.settings.budget_s
        assert budget is not None
        load, cores = machine.load(), machine.available_cores()
        return events.SlowStep(counters.step, counters.step_s, budget, load, cores)

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
            elapsed_s=counters.elapsed_s,
        )

    def _decide(self) -> None:
        """After a step: is the training over, is a validation due?"""
        counters = self.state.counters
        if self.plan.over(counters):
            counters.stop_reason = self.plan.reason(counters)
        over = bool(counters.stop_reason)
        counters.evaluation_due = over or self.plan.evaluation_due(counters)

    def _step_back(
        self, loss: float, norm: float, lr: float, progress: float
    ) -> events.SteppedBack:
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
            counters.step, progress, counters.best_step, loss, norm, lr, counters.lr_scale
        )

    def _never_finite(self) -> DivergenceError:
        return DivergenceError(
            f"no validation was finite in {plural(self.state.counters.step, 'step')}: there are no "
            "weights worth keeping",
            hint=f"try a lower --lr (this was {self.plan.settings.lr:g}), a smaller --clip, "
            "--nonlinearity tanh, or --precision fp32",
        )

    def _evaluate(self) -> Iterator[events.LoopEvent]:
        state, counters = self.state, self.state.counters
        begun_s = counters.elapsed_s
        # Decided once: validations on different amounts of text would not be comparable.
        most = counters.validation_units = counters.validation_units or self.plan.validation_units(
            counters
        )
        with state.averaged():  # what is validated is what will be published
            validation = self.team.validate(state.task, self.interrupted, most)
        self._synchronise()
        if self._stop and validation is None:
            raise TrainingInterrupted
        elapsed = counters.elapsed_s
        counters.evaluation_due = False
        counters.evaluations += 1
        counters.evaluation_s = elapsed - begun_s
        counters.evaluations_s += elapsed - begun_s
        counters.evaluated_at_s = elapsed
        over = bool(counters.stop_reason)  # even if the budget has a little left
        counters.evaluated_progress = 1.0 if over else self.plan.progress(counters)
        train = counters.loss_sum / counters.loss_tokens if counters.loss_tokens else None
        counters.loss_sum, counters.loss_tokens = 0.0, 0
        # Without any validation text the loss of the training since the last time has to serve.
        value = validation.value if validation is not None else train
        if value is None:
            return
        if not math.isfinite(value):
            self._no_progress()
            yield events.NotFinite(counters.step, value, elapsed)
            return
        choice = value if validation is None else validation.chosen_by
        before = counters.best_value if counters.best_choice is None else counters.best_choice
        best = validation is None or before is None or choice < before
        accuracy = validation.accuracy if validation is not None else None
        self._remember(value, accuracy, choice if best else None)
        progress = counters.evaluated_progress
        yield events.Evaluated(counters.step, value, train, best, accuracy, elapsed, progress, most)
        yield from self._advise(value, "training" if validation is None else "validation")

    def _remember(self, value: float, accuracy: float | None, best_choice: float | None) -> None:
        """Note a validation; `best_choice`: what it is the best by so far, None where it is not."""
        counters = self.state.counters
        counters.history.append((counters.step, value))
        counters.accuracies.append(accuracy)
        if best_choice is not None:
            counters.best_value, counters.best_step = value, counters.step
            counters.best_choice = best_choice
            counters.without_progress = 0
            with self.state.averaged():
                self.state.best = snapshot(self.state.task.model)
        else:
            self._no_progress()

    def _no_progress(self) -> None:
        counters = self.state.counters
        counters.without_progress += 1
        patience = self.plan.settings.patience
        if patience is not None and counters.without_progress >= patience:
            counters.stop_reason = counters.stop_reason or "patience"

    def _advise(self, value: float, what: str) -> Iterator[events.Advice]:
        counters = self.state.counters
        # Early on every model is worse than a unigram, and to say so would help nobody.
        late = self.plan.progress(counters) >= ADVICE_PROGRESS
        trivial = not beats_trivial(self.state.task, value)
        if counters.step >= ADVICE_STEPS and late and not counters.advised and trivial:
            counters.advised = True
            text = advice(self.state.task, f"{what} loss {value:.3f}")
            yield events.Advice(counters.step, NOT_BETTER, text)

    def _save_when_due(self) -> Iterator[events.Saved]:
        if self._save_due and not self.state.counters.stop_reason:
            yield events.Saved(self.state.counters.step, self.save(self.state))
            self._saved_at = self.clock()
            self._save_due = False


def beats_trivial(task: Task, value: float) -> bool:
    """Whether a validation is clearly better than a model that looks at no context."""
    # The spelling of unknown words costs both the same; without it 1 % is 1 % of what is learnt.
    return value - task.spelling_nats <= 0.99 * (task.trivial_nats - task.spelling_nats)


def advice(task: Task, loss: str) -> str:
    """What to say where a loss, in words, does not beat that."""
    simple = "a unigram model, which uses no context"
    if task.counts_documents:
        simple = "guessing from the frequencies of the labels"
    return (
        f"{loss} is no better than {simple} "
        f"({task.trivial_nats:.3f}); try a lower --lr, more steps or a larger --hidden-size"
    )


# Signals that end a training: remembered, and acted upon between two steps.
#
# SIGINT (Ctrl-C) and SIGTERM; SIGHUP, which a terminal sends when it is closed; and SIGUSR1, by
# which batch systems announce the end of a job's time. SIGHUP is left alone where it is ignored, as
# under `nohup`.

STOPPING: list[signal.Signals] = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    if hasattr(signal, name)  # Windows has only the first two
]


class StopRequest:
    """Whether somebody asked the training to stop, and how."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells report it."""
        return 128 + (self.signal or signal.SIGINT)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """The signal handler. A second Ctrl-C means now."""
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Catch the signals in `STOPPING`; outside the main thread all stay as they are."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    caught = [n for n in STOPPING if not _is_left_alone(n)]
    before = {number: signal.signal(number, request.receive) for number in caught}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_left_alone(number: signal.Signals) -> bool:
    return number.name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN
