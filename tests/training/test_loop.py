"""The loop on a task whose answer is known: a line through points, by gradient descent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from rnnctl.config import TrainingConfig
from rnnctl.errors import CorruptRunError, DivergenceError
from rnnctl.tasks.base import Carry, StepLoss, Validation
from rnnctl.training.events import (
    Advice,
    Evaluated,
    LoopEvent,
    NotFinite,
    SlowStep,
    Step,
    SteppedBack,
    Stopped,
    log_record,
)
from rnnctl.training.loop import Loop, TrainingInterrupted
from rnnctl.training.optimizer import AdamW, Group, clip, make_optimizer
from rnnctl.training.schedule import Replay, Schedule, replay_of
from rnnctl.training.state import TrainingState, snapshot


class Points:
    """Batches without end: their own number."""

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.at += 1
        return self.at

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]


class Line:
    """Find w with w * 1 = 3. `bad(step)` steps have a loss that is not a number."""

    counts_documents = False
    units_per_epoch = 10
    trivial_nats = 1.0
    spelling_nats = 0.0

    def __init__(self, bad: Callable[[int], bool] = lambda step: False) -> None:
        self.model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.model.weight)
        self.batches = Points()
        self.bad = bad
        self.validations: list[Any] | None = None  # losses, or whole validations
        self.most: list[int] = []  # that each validation was allowed to read

    def initial_carry(self, streams: int) -> tuple[torch.Tensor, ...]:
        return (torch.zeros(streams),)

    def next_batch(self) -> int:
        return next(self.batches)

    def loss(self, batch: int, carry: Carry) -> StepLoss:
        total = (self.model(torch.ones(1, 1)) - 3).square().sum()
        if self.bad(batch):
            total = total * math.nan
        return StepLoss(total, 1, tokens=1, documents=0, carry=None)

    def validate(self, interrupted: Callable[[], bool], most: int = 0) -> Validation | None:
        self.most.append(most)
        if interrupted():
            return None
        if self.validations is not None:
            found = self.validations.pop(0)
            return found if isinstance(found, Validation) else Validation(found)
        with torch.no_grad():
            return Validation(float((self.model(torch.ones(1, 1)) - 3).square()))


class Clock:
    """Every look at it takes a second of its time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def run(
    task: Line, replay: Replay | None = None, clock: Callable[[], float] | None = None, **given: Any
) -> tuple[list[LoopEvent], TrainingState]:
    settings = TrainingConfig(**{"lr": 0.3, "weight_decay": 0.0, **given})
    state = TrainingState.begin(task, settings)
    plan = Schedule(settings, task.units_per_epoch, replay=replay)
    loop = Loop(state, plan, save=lambda state: "", clock=clock or Clock())
    return list(loop.run()), state


def steps_of(events: list[LoopEvent]) -> list[Step]:
    return [event for event in events if isinstance(event, Step)]


def test_it_learns_and_keeps_the_best_weights() -> None:
    events, state = run(Line(), steps=80)
    assert len(steps_of(events)) == 80
    assert float(state.best["weight"]) == pytest.approx(3.0, abs=0.05)
    assert events[-1] == Stopped(80, "steps", state.counters.elapsed_s)


def test_rates_rise_fall_and_follow_the_progress() -> None:
    steps = steps_of(run(Line(), steps=100, warmup=0.1)[0])
    rates = [step.lr for step in steps]
    assert rates[10] == max(rates) == pytest.approx(0.3)
    assert rates[5] == pytest.approx(0.15) and rates[55] == pytest.approx(0.15)
    assert [step.progress for step in steps] == pytest.approx([i / 100 for i in range(100)])


def test_epochs_end_where_they_should() -> None:
    events, _ = run(Line(), epochs=2.5)
    assert steps_of(events)[-1].epoch == 2.5


def test_a_budget_holds_the_last_validation() -> None:
    """With a clock that moves a second a look: the end of the last validation is in time."""
    events, state = run(Line(), budget_s=100.0, clock=Clock())
    last = events[-2]
    assert isinstance(last, Evaluated)
    assert 90 <= last.elapsed_s <= 100
    assert state.counters.stop_reason == "budget"


@pytest.mark.parametrize("epochs", [None, 1e4])
def test_validations_take_a_small_share_of_a_budget(epochs: float | None) -> None:
    """Those before the last one, whether epochs limit the training as well or not."""
    clock = Clock()

    class Slow(Line):
        def validate(self, interrupted: Callable[[], bool], most: int = 0) -> Validation | None:
            clock.now += 40.0
            return super().validate(interrupted, most)

    events, state = run(Slow(), budget_s=4000.0, epochs=epochs, clock=clock)
    validated = [event.step for event in events if isinstance(event, Evaluated)]
    assert 3 <= len(validated) <= 1 + 0.05 * 4000 / 41
    assert min(b - a for a, b in itertools.pairwise(validated)) >= 5
    assert state.counters.elapsed_s <= 4000


def test_a_validation_reads_as_much_as_a_hundredth_of_the_budget_allows() -> None:
    """At twice the speed of the training: here 5,000 tokens a second, as the clock goes."""

    class Fast(Line):
        def loss(self, batch: int, carry: Carry) -> StepLoss:
            return replace(super().loss(batch, carry), tokens=5_000)

    task = Fast()
    events, state = run(task, budget_s=100.0, evaluate_every=5, steps=10)
    assert task.most == [state.counters.validation_units] * 2
    assert task.most[0] == pytest.approx(10_000, rel=0.2)
    validated = [e.validation_units for e in events if isinstance(e, Evaluated)]
    assert validated == task.most


def test_without_a_budget_a_validation_reads_all() -> None:
    task = Line()
    run(task, steps=20)
    assert set(task.most) == {0}


def test_a_replay_validates_on_as_much_as_the_recorded_training() -> None:
    events, _ = run(Line(), budget_s=50.0, clock=Clock())
    replay = replay_of([record for event in events if (record := log_record(event)) is not None])
    task = Line()
    run(task, budget_s=50.0, replay=replay, clock=lambda: 0.0)
    assert set(task.most) == {replay.validation_units} and replay.validation_units > 0


def test_a_budget_does_not_begin_a_step_that_would_end_long_after_it() -> None:
    clock = Clock()

    class Slow(Line):
        def loss(self, batch: int, carry: Carry) -> StepLoss:
            clock.now += 30.0
            return super().loss(batch, carry)

    events, state = run(Slow(), budget_s=100.0, clock=clock)
    assert len(steps_of(events)) == 3
    assert state.counters.elapsed_s <= 100


def test_a_step_that_uses_up_much_of_the_budget_is_told_once() -> None:
    clock = Clock()

    class Slow(Line):
        def loss(self, batch: int, carry: Carry) -> StepLoss:
            clock.now += 6.0 if batch in (5, 8) else 0.0
            return super().loss(batch, carry)

    (told,) = [e for e in run(Slow(), budget_s=100.0, clock=clock)[0] if isinstance(e, SlowStep)]
    assert (told.step, told.budget_s) == (5, 100.0) and told.seconds >= 6.0
    events, _ = run(Slow(), steps=20, clock=clock)
    assert not [event for event in events if isinstance(event, SlowStep)]


def test_a_replay_takes_the_recorded_steps_and_rates() -> None:
    events, _ = run(Line(), budget_s=50.0, clock=Clock())
    done = steps_of(events)
    validated = frozenset(e.step for e in events if isinstance(e, Evaluated))
    replay = Replay(tuple(step.progress for step in done), validated)
    again, _ = run(Line(), budget_s=50.0, replay=replay, clock=lambda: 0.0)
    assert [step.lr for step in steps_of(again)] == [step.lr for step in done]
    assert [s.loss_nats for s in steps_of(again)] == [s.loss_nats for s in done]
    assert {e.step for e in again if isinstance(e, Evaluated)} == validated


def test_a_replay_takes_a_step_that_began_when_the_time_was_up() -> None:
    """A validation took longer than the one before it, and left nothing of the budget."""
    replay = Replay((0.0, 0.5, 0.9, 1.0, 1.0), frozenset({3, 5}))
    again, state = run(Line(), budget_s=50.0, replay=replay, clock=lambda: 0.0)
    assert [step.progress for step in steps_of(again)] == [0.0, 0.5, 0.9, 1.0, 1.0]
    assert state.counters.stop_reason == "budget"


def test_a_replay_goes_back_where_the_recorded_training_did() -> None:
    def bad(step: int) -> bool:
        return step in (1, 12)

    usual: dict[str, Any] = {"budget_s": 50.0, "lr": 0.05}
    events, state = run(Line(bad), clock=Clock(), **usual)
    records = [record for event in events if (record := log_record(event)) is not None]
    again, repeated = run(Line(bad), replay=replay_of(records), clock=lambda: 0.0, **usual)
    assert [s.lr for s in steps_of(again)] == [s.lr for s in steps_of(events)]
    assert repeated.counters.step == state.counters.step
    for record in records:  # as older versions wrote them
        if record["event"] == "stepped_back":
            del record["progress"]
    assert len(replay_of(records).progress) == state.counters.step


def test_a_bad_step_goes_back_to_the_last_good_weights_at_a_lower_rate() -> None:
    events, state = run(Line(bad=lambda step: step == 30), steps=60, evaluate_every=10, lr=0.05)
    (back,) = (event for event in events if isinstance(event, SteppedBack))
    assert (back.step, back.to_step) == (30, 20)
    assert math.isnan(back.loss_nats) and back.lr > 0
    assert state.counters.lr_scale == pytest.approx(0.3)
    assert all(math.isfinite(step.loss_nats) for step in steps_of(events))


def test_any_task_can_carry_something_through_a_checkpoint() -> None:
    settings = TrainingConfig(steps=5, batch_size=4)
    states = []
    for _ in range(2):
        task = Line()
        states.append(TrainingState.begin(task, settings))
    states[0].carry = (torch.full((4,), 2.0),)
    weights = snapshot(states[0].task.model)
    states[1].load(weights, states[0].tensors(), states[0].values())
    assert states[1].carry is not None and torch.equal(states[1].carry[0], torch.full((4,), 2.0))
    wrong = {**states[0].tensors(), "carry.0": torch.zeros(7)}
    with pytest.raises(CorruptRunError, match="carry"):
        states[1].load(weights, wrong, states[0].values())


def test_it_gives_up_when_going_back_does_not_help() -> None:
    with pytest.raises(DivergenceError, match="step 15") as caught:
        run(Line(bad=lambda step: step >= 10), steps=60)
    assert "learning rate" in caught.value.message and "--lr" in caught.value.hint


def test_patience_ends_it() -> None:
    task = Line()
    task.validations = [3.0, 2.0, 2.5, 2.1, 2.2, 9.9]
    events, state = run(task, steps=100, evaluate_every=5, patience=3)
    assert state.counters.stop_reason == "patience"
    assert (state.counters.best_step, state.counters.best_value) == (10, 2.0)
    assert steps_of(events)[-1].step == 25


def test_a_validation_may_say_what_the_best_weights_are_chosen_by() -> None:
    task = Line()
    found = [(3.0, -0.2), (2.0, -0.3), (2.5, -0.6), (1.0, -0.5), (1.1, -0.4)]
    task.validations = [Validation(loss, None, choice) for loss, choice in found]
    events, state = run(task, steps=100, evaluate_every=5, patience=2)
    counters = state.counters
    assert (counters.best_step, counters.best_value, counters.best_choice) == (15, 2.5, -0.6)
    assert counters.stop_reason == "patience" and steps_of(events)[-1].step == 25


def test_a_validation_that_is_not_finite_counts_as_no_progress() -> None:
    task = Line()
    task.validations = [3.0, math.nan, 2.0, math.inf, math.nan]
    events, state = run(task, steps=100, evaluate_every=5, patience=2)
    assert [e.step for e in events if isinstance(e, NotFinite)] == [10, 20, 25]
    assert state.counters.stop_reason == "patience" and state.counters.best_step == 15


def test_a_training_whose_every_validation_is_not_finite_fails() -> None:
    task = Line()
    task.validations = [math.nan] * 20
    with pytest.raises(DivergenceError, match="no validation was finite in 15 steps") as caught:
        run(task, steps=100, evaluate_every=5, patience=3)
    assert "--lr" in caught.value.hint


def test_a_model_that_learns_nothing_is_told_so_once() -> None:
    task = Line()
    task.validations = [1.5] * 100
    events, _ = run(task, steps=300, evaluate_every=20)
    (advice,) = (event for event in events if isinstance(event, Advice))
    assert advice.code == "not_better_than_unigram" and 90 <= advice.step <= 120


def test_spelling_that_no_model_can_lower_is_no_failure_to_learn() -> None:
    task = Line()
    task.trivial_nats, task.spelling_nats, task.validations = 101.0, 100.0, [100.5] * 100
    events, _ = run(task, steps=300, evaluate_every=20)
    assert not any(isinstance(event, Advice) for event in events)


def test_asked_to_stop_it_stops_between_steps() -> None:
    task = Line()
    settings = TrainingConfig(steps=50, evaluate_every=7)
    state = TrainingState.begin(task, settings)
    plan = Schedule(settings, 10)
    loop = Loop(state, plan, lambda state: "", interrupted=lambda: state.counters.step >= 6)
    with pytest.raises(TrainingInterrupted):
        list(loop.run())
    assert state.counters.step == 6
    loop = Loop(state, plan, lambda state: "", interrupted=lambda: state.counters.step >= 7)
    with pytest.raises(TrainingInterrupted):
        list(loop.run())
    assert state.counters.evaluation_due and state.counters.evaluations == 0


def test_clipping_scales_to_the_limit_and_returns_the_norm_before() -> None:
    values = [torch.zeros(3, requires_grad=True), torch.zeros(2, 2, requires_grad=True)]
    values[0].grad, values[1].grad = torch.full((3,), 2.0), torch.full((2, 2), -1.0)
    assert clip(values, 1.0) == pytest.approx(4.0)
    joint = torch.cat([value.grad.flatten() for value in values if value.grad is not None])
    assert float(joint.norm()) == pytest.approx(1.0)
    assert clip(values, 5.0) == pytest.approx(1.0)
    values[0].grad[0] = math.inf
    assert not math.isfinite(clip(values, 1.0))


def test_the_optimizer_gives_the_bits_of_torch() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 4)
    start = [value.detach().clone() for value in model.parameters()]
    inputs, sums = torch.randn(20, 3), []
    ours = AdamW([Group([model.weight], 0.1), Group([model.bias], 0.0)], 0.05, (0.8, 0.99))
    groups = [{"params": [model.weight], "weight_decay": 0.1}]
    groups += [{"params": [model.bias], "weight_decay": 0.0}]
    for optimizer in (ours, torch.optim.AdamW(groups, lr=0.05, betas=(0.8, 0.99), fused=True)):
        with torch.no_grad():
            for value, first in zip(model.parameters(), start, strict=True):
                value.copy_(first)
        for _ in range(10):
            optimizer.zero_grad()
            model(inputs).square().sum().backward()
            optimizer.step()
        sums.append([value.detach().clone() for value in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*sums, strict=True))


def test_weight_decay_spares_biases_and_embeddings() -> None:
    model = nn.ModuleDict({"e": nn.Embedding(5, 4), "r": nn.LSTM(4, 3), "d": nn.Linear(3, 5)})
    groups = make_optimizer(model, TrainingConfig(weight_decay=0.5)).groups
    decayed = {id(p) for group in groups if group.weight_decay for p in group.parameters}
    names = {name for name, p in model.named_parameters() if id(p) in decayed}
    assert names == {"r.weight_ih_l0", "r.weight_hh_l0", "d.weight"}
    assert {group.weight_decay for group in groups} == {0.5, 0.0}
