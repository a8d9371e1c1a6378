"""What `train` does, from settings to a finished run: prepare, loop, measure, publish, diagnose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch

from rnnctl.config import RunConfig
from rnnctl.errors import Interrupted, RnnctlError, word
from rnnctl.results.base import Warning_
from rnnctl.results.training import TrainResult
from rnnctl.runs import Run
from rnnctl.runs.run import CONFIG_NAME, check_free, config_bytes
from rnnctl.tasks.loading import parameter_count
from rnnctl.training import events
from rnnctl.training.checkpoint import publish, restore, save_checkpoint, unpublish, use_best
from rnnctl.training.loop import (
    NOT_BETTER,
    Alone,
    Loop,
    TrainingInterrupted,
    advice,
    beats_trivial,
)
from rnnctl.training.optimizer import make_optimizer
from rnnctl.training.parallel import Together
from rnnctl.training.schedule import Plan, Replay
from rnnctl.training.state import TrainingState
from rnnctl.workflow.final import FinalInterrupted, measure_splits
from rnnctl.workflow.interruption import StopRequest, stop_requests
from rnnctl.workflow.outcome import train_result
from rnnctl.workflow.parallel import crowded, team
from rnnctl.workflow.preparation import Prepared, prepare, run_files
from rnnctl.workflow.progress import Event, Finished, Preparing, Started
from rnnctl.workflow.recording import (
    SCHEDULE_NAME,
    log_record,
    read_schedule,
    write_schedule,
)

REPORT_NAME = "train"
NO_VALIDATION = (
    "no text is left to validate with: nothing says how good the model is on new text, and the "
    "last weights count as the best"
)


# Called with the prepared training now and then; yields Sample and GradientShare events.
Probe = Callable[[Prepared, int], Iterator[Event]]


@dataclass(frozen=True, slots=True)
class Options:
    """How to train, beside the settings that are saved; `given` are those somebody asked for."""

    overwrite: bool = False
    resume: bool = False
    replay: Replay | None = None
    reschedule: bool = False  # a resumed run no longer follows the schedule that it repeats
    stdin: BinaryIO | None = None
    given: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    probe: Probe | None = None
    headline: Callable[[Path], dict[str, Any] | None] | None = None
    notes: tuple[Warning_, ...] = field(default=())


def train(config: RunConfig, path: str | Path, options: Options | None = None) -> Iterator[Event]:
    """Train a run at `path`; the last event is `Finished`.

    Raises Interrupted (130 or 143) when a signal arrived and everything is saved, DivergenceError,
    DataError, RunError, StorageError; after each of them the run can be resumed if it was begun.
    """
    options = options or Options()
    path = Path(path)
    if not options.resume:
        check_free(path, overwrite=options.overwrite)
    yield Preparing("reading the corpus")
    old = Run.open(path) if options.resume else None
    prepared = prepare(config, run=old, stdin=options.stdin, given=options.given)
    run = old or _create(path, prepared, options)
    with run.lock():
        yield from _Training(run, prepared, options).events()


def _create(path: Path, prepared: Prepared, options: Options) -> Run:
    files = dict(run_files(prepared))
    files |= write_schedule(options.replay)
    return Run.create(path, prepared.config, files=files, overwrite=options.overwrite)


class _Training:
    """One session of training a run that is locked."""

    def __init__(self, run: Run, prepared: Prepared, options: Options) -> None:
        self.run = run
        self.prepared = prepared
        self.options = options
        settings = prepared.config.training
        optimizer = make_optimizer(prepared.model, settings)
        self.state = TrainingState.begin(prepared.task, optimizer, settings)
        self.team: Together | Alone = Alone()
        task = prepared.task
        replay = None if options.reschedule else read_schedule(run)
        self.plan = Plan(settings, task.units_per_epoch, task.counts_documents, replay)
        self.warnings = [*options.notes, *prepared.corpus.warnings]
        self.validated = len(prepared.store.split("valid").ids) > 0
        if not self.validated:
            self._warn("no_validation", NO_VALIDATION)
        if prepared.arithmetic.note:
            self._warn("other_precision", prepared.arithmetic.note)
        if crowd := crowded(prepared):
            self._warn("more_workers_than_cores", crowd)

    def events(self) -> Iterator[Event]:
        with stop_requests() as stop:
            self.run.refresh()
            self._restore()
            yield self._started()
            try:
                yield from self._train(stop)
                yield Preparing("measuring the best weights")
                result = self._finish(stop)
            except (TrainingInterrupted, FinalInterrupted):
                raise self._interrupted(stop) from None
        yield Finished(self._diagnosed(result))

    def _restore(self) -> None:
        if not self.options.resume:
            return
        if self.run.config != self.prepared.config:
            self.run.put_file(CONFIG_NAME, config_bytes(self.prepared.config))
        if self.options.reschedule:
            self.run.put_file(SCHEDULE_NAME, None)
        restored = restore(self.run, self.state)
        if restored is not None and restored.warning:
            self._warn("damaged_checkpoint", restored.warning)
        self._go_on_if_there_is_more()
        unpublish(self.run)

    def _go_on_if_there_is_more(self) -> None:
        """A training that had reached its end goes on if the settings now ask for more."""
        counters = self.state.counters
        changed = self.run.config.training.patience != self.prepared.config.training.patience
        if counters.stop_reason == "patience" and not changed:
            return
        if not self.plan.over(counters, counters.elapsed_s):
            counters.stop_reason = ""

    def _warn(self, code: str, text: str) -> None:
        self.warnings.append(Warning_(code=code, text=text))

    def _started(self) -> Started:
        prepared = self.prepared
        return Started(
            run=self.run.path,
            config=prepared.config,
            corpus=prepared.corpus.description,
            train_tokens=len(prepared.store.split("train").ids),
            parameters=parameter_count(prepared.model),
            vocab_size=prepared.tokenizer.vocab_size,
            device=str(prepared.arithmetic.device),
            dtype=prepared.arithmetic.dtype,
            threads=prepared.threads,
            step=self.state.counters.step,
            ended=bool(self.state.counters.stop_reason),
            trivial_nats=prepared.task.trivial_nats,
            cut_share=prepared.store.cut_share,
            labels=prepared.store.label_names if prepared.config.model.task != "lm" else (),
            validated=self.validated,
            warnings=tuple(self.warnings),
            notes=prepared.corpus.notes,
        )

    def _train(self, stop: StopRequest) -> Iterator[Event]:
        """The loop, with as many processes as asked for, up to the last checkpoint."""
        with team(self.prepared, self.plan.replay) as self.team:
            if isinstance(self.team, Together):
                self.team.share(self.state)
            try:
                yield from self._loop(stop)
            except TrainingInterrupted:
                self._save(self.state)
                raise
            self._save(self.state)

    def _loop(self, stop: StopRequest) -> Iterator[Event]:
        for event in Loop(self.state, self.plan, self._save, stop, self.team).run():
            record = log_record(event)
            if record is not None:
                self.run.append_log(record)
            if isinstance(event, events.Advice):
                self._warn(event.code, event.text)
            yield event
            if isinstance(event, events.Evaluated) and self.options.probe is not None:
                yield from self._probe(event.step)

    def _probe(self, step: int) -> Iterator[Event]:
        assert self.options.probe is not None
        self.prepared.model.eval()
        with torch.random.fork_rng(devices=[]):
            yield from self.options.probe(self.prepared, step)
        self.prepared.model.train()

    def _save(self, state: TrainingState) -> str:
        if isinstance(self.team, Together):
            self.team.gather(state)
        return save_checkpoint(self.run, state)

    def _interrupted(self, stop: StopRequest) -> Interrupted:
        step = self.state.counters.step
        return Interrupted(
            f"stopped after step {step}; the best weights and a checkpoint are in {self.run.path}",
            hint=f"`rnnctl train --resume {word(self.run.path)}` goes on from here",
            exit_code=stop.exit_code,
        )

    def _finish(self, stop: StopRequest) -> TrainResult:
        use_best(self.state)
        measured = list(measure_splits(self.prepared, stop))
        result = train_result(
            self.run.path, self.prepared, self.state.counters, measured, self._final_warnings()
        )
        self.run.drop_outdated_results()
        self.run.write_result(REPORT_NAME, result)
        publish(self.run, self.state)
        return result

    def _final_warnings(self) -> tuple[Warning_, ...]:
        """What was warned of, as it is in the end: a model may have learnt after the advice.

        By the counters, so that a resumed training reports what an uninterrupted one does.
        """
        task, counters = self.prepared.task, self.state.counters
        kept = [warning for warning in self.warnings if warning.code != NOT_BETTER]
        best = counters.best_value
        if counters.advised and best is not None and not beats_trivial(task, best):
            what = "validation" if self.validated else "training"
            text = advice(task, f"the best {what} loss {best:.3f}")
            kept.append(Warning_(code=NOT_BETTER, text=text))
        return tuple(kept)

    def _diagnosed(self, result: TrainResult) -> TrainResult:
        """The result with the headline of the quick diagnosis, kept in the run as well."""
        if self.options.headline is None:
            return result
        try:
            headline = self.options.headline(self.run.path)
        except RnnctlError as error:
            warning = Warning_(code="not_diagnosed", text=f"not diagnosed: {error.message}")
            result = result.model_copy(update={"warnings": (*result.warnings, warning)})
        else:
            result = result.model_copy(update={"diagnosis": headline})
        self.run.write_result(REPORT_NAME, result)
        return result
