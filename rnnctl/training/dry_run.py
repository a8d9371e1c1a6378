"""What a training would be, and about how long it would take: for ``train --dry-run``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rnnctl.config import RunConfig
from rnnctl.results.training import TrainingPlan
from rnnctl.runs.run import check_free
from rnnctl.tasks.loading import parameter_count
from rnnctl.tasks.recipes import language_model_first
from rnnctl.tasks.sizes import BESIDE_STEPS
from rnnctl.training import events
from rnnctl.training.folds import check_folds, with_fold
from rnnctl.training.loop import Loop
from rnnctl.training.prepare import Prepared
from rnnctl.training.pretraining import is_wanted, language_model_path
from rnnctl.training.result import environment
from rnnctl.training.schedule import Schedule
from rnnctl.training.state import TrainingState
from rnnctl.training.train import Options, begin, warnings_before

TRIAL_S = 1.5
"""Seconds of trial steps, unless a few steps take longer."""
FEWEST, MOST = 4, 50
SLOW_S = 10.0
"""Seconds after which the trial ends whatever was timed."""


@dataclass(frozen=True, slots=True)
class DryRunFinished:
    """The end of a dry run."""

    result: TrainingPlan


@dataclass(frozen=True, slots=True)
class Pace:
    """What a step takes and reads: means over a few of them."""

    seconds: float
    tokens: float
    epochs: float


def dry_run(
    config: RunConfig, path: Path | None, options: Options, folds: int | None = None
) -> Iterator[events.Event | DryRunFinished]:
    """Do everything up to the first step, time a few steps, and end with `DryRunFinished`.

    Writes no run: the weights of the trial steps are thrown away. `path`: where the run would be
    saved, if somebody named a place. Raises what `train` raises before its first step.
    """
    if folds is not None:
        check_folds(config)
    if path is not None and folds is None:  # what is there of folds is finished, or goes on
        check_free(path, overwrite=options.overwrite)
        if is_wanted(config):
            check_free(language_model_path(path), overwrite=options.overwrite)
    one = config if folds is None else with_fold(config, 1, folds)
    tokenizer = None
    if is_wanted(one):  # the classifier takes the tokens of its language model
        first = yield from begin(language_model_first(one), Options(stdin=options.stdin))
        tokenizer = first.tokenizer
    prepared = yield from begin(one, options, tokenizer=tokenizer)
    yield events.Preparing("timing a few steps, which are not kept")
    yield DryRunFinished(_plan(prepared, path, options, folds or 1))


def _plan(prepared: Prepared, path: Path | None, options: Options, folds: int) -> TrainingPlan:
    config, train = prepared.config, prepared.store.split("train")
    model, training = config.model, config.training
    task = prepared.task
    plan = Schedule(training, task.units_per_epoch, task.counts_documents, options.replay)
    warnings = tuple(warnings_before(prepared, options))  # before the trial changes the weights
    pace = _pace(prepared, plan)
    step_s = BESIDE_STEPS * pace.seconds
    steps = _expected_steps(plan, pace, step_s)
    training_s = steps * step_s
    if training.budget_s is not None and options.replay is None:
        training_s = min(training_s, training.budget_s)
    return TrainingPlan(
        environment=environment(prepared),
        seed=training.seed,
        corpus_fingerprint=prepared.corpus.fingerprint,
        warnings=warnings,
        run="" if path is None else str(path),
        task=model.task,
        level=config.tokenizer.level,
        cell=model.cell,
        hidden_size=model.hidden_size,
        num_layers=model.num_layers,
        parameters=parameter_count(prepared.model),
        recurrent_parameters=parameter_count(prepared.model.recurrent),
        why_this_size=prepared.why_this_size,
        vocab_size=prepared.tokenizer.vocab_size,
        corpus=prepared.corpus.description,
        labels=prepared.store.label_names,
        train_documents=None if train.running else train.count,
        train_tokens=len(train.ids),
        cut_share=prepared.store.cut_share,
        lr=training.lr,
        batch_size=training.batch_size,
        steps=training.steps,
        epochs=training.epochs,
        budget_s=training.budget_s,
        patience=training.patience,
        pretrain_s=training.pretrain_s if is_wanted(config) else None,
        folds=folds,
        tokens_per_s=round(pace.tokens / step_s, 1),
        expected_steps=steps,
        expected_epochs=steps * pace.epochs,
        expected_s=round(folds * (training_s + (training.pretrain_s or 0.0)), 1),
        notes=prepared.corpus.notes,
    )


def _pace(prepared: Prepared, plan: Schedule) -> Pace:
    """The pace of the training's own loop, without the first step, which also sets things up."""
    settings = prepared.config.training
    state = TrainingState.begin(prepared.task, settings)
    spent: list[float] = []
    for event in Loop(state, plan, lambda _: "").run():
        if isinstance(event, events.Step):
            spent.append(state.counters.step_s)
        counters = state.counters
        over = counters.evaluation_due or counters.elapsed_s > SLOW_S or len(spent) >= MOST
        if over or (counters.elapsed_s > TRIAL_S and len(spent) >= FEWEST):
            break
    timed, step = spent[1:] or spent or [state.counters.elapsed_s], max(1, state.counters.step)
    tokens = state.counters.tokens / step
    per_epoch = plan.units_per_epoch / tokens
    if plan.counts_documents:  # the last batch of a pass holds what is left
        per_epoch = math.ceil(plan.units_per_epoch / settings.batch_size)
    return Pace(max(1e-6, sum(timed) / len(timed)), tokens, 1 / per_epoch)


def _expected_steps(plan: Schedule, pace: Pace, step_s: float) -> int:
    """Steps until the first limit of the training."""
    if plan.replay is not None:
        return len(plan.replay.progress)
    settings, limits = plan.settings, []
    if settings.steps is not None:
        limits.append(settings.steps)
    if settings.epochs is not None and pace.epochs > 0:
        limits.append(math.ceil(round(settings.epochs / pace.epochs, 6)))
    if settings.budget_s is not None:
        limits.append(math.ceil(settings.budget_s / step_s))
    return max(1, min(limits))
