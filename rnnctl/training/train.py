"""What `train` does, from settings to a finished run: prepare, loop, measure, publish, diagnose."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch

from rnnctl.config import RunConfig
from rnnctl.data.ids import SplitIds
from rnnctl.data.tokenizers import Tokenizer
from rnnctl.errors import Interrupted, RnnctlError, word
from rnnctl.nn import engines
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.reports.numbers import percent
from rnnctl.results.base import Warning_
from rnnctl.results.training import TrainResult
from rnnctl.runs import Run
from rnnctl.runs.run import CONFIG_NAME, check_free, config_bytes, entry_of
from rnnctl.tasks.evaluation import FinalInterrupted, SplitName
from rnnctl.tasks.loading import parameter_count
from rnnctl.tasks.quality import CALIBRATION_NAME
from rnnctl.training import events
from rnnctl.training.checkpoint import (
    Keeper,
    check_reached,
    publish,
    restore,
    save_checkpoint,
    unpublish,
    use_best,
)
from rnnctl.training.events import Event, Finished, Preparing, Started, log_record
from rnnctl.training.loop import (
    NOT_BETTER,
    Alone,
    Loop,
    StopRequest,
    TrainingInterrupted,
    advice,
    beats_trivial,
    stop_requests,
)
from rnnctl.training.prepare import (
    COMPUTED_NAME,
    Prepared,
    computed_bytes,
    prepare,
    reads_single_words,
    run_files,
)
from rnnctl.training.pretraining import is_wanted, pretrained, record_of
from rnnctl.training.result import train_result
from rnnctl.training.schedule import SCHEDULE_NAME, Replay, Schedule, read_schedule, write_schedule
from rnnctl.training.state import TrainingState
from rnnctl.training.workers import Together, crowded, team

REPORT_NAME = "train"
SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")
NO_VALIDATION = (
    "no text is left for validation: the quality on new text is unknown, and the last weights are "
    "kept as the best"
)


_LAST = {
    False: "measuring the best weights",
    True: "measuring the best weights, and a bag of words for comparison",
}
_PARTS = {"train": "training", "valid": "validation", "test": "test"}
_LONG = 200_000  # tokens of a split from which on it is said that it is measured now


# Called after each validation with the model in eval mode, its tokenizer, the validation text and
# the step; yields Sample and GradientShare events.
Probe = Callable[[LanguageModel | Classifier, Tokenizer, SplitIds, int], Iterator[Event]]


@dataclass(frozen=True, slots=True)
class Options:
    """How to train, beside the settings that are saved; `given` are those somebody asked for."""

    overwrite: bool = False
    resume: bool = False
    replay: Replay | None = None
    reschedule: bool = False  # a resumed run no longer follows the schedule that it repeats
    size_is_open: bool = False  # take the hidden size that the budget buys on this machine
    level_is_open: bool = False  # read letters where a classifier's texts are single words
    beside: Path | None = None  # the folder of the run that is repeated
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
    if is_wanted(config):
        config, options = yield from pretrained(config, path, options, train)
    if not options.resume:
        # Before the corpus is read, which may take minutes.
        check_free(path, overwrite=options.overwrite)
    old = Run.open(path) if options.resume else None
    prepared = yield from begin(config, options, old)
    run = old or Run.create(
        path,
        prepared.config,
        files={**run_files(prepared), **write_schedule(options.replay)},
        overwrite=options.overwrite,
    )
    with run.lock():
        training = _Training(run, prepared, options)
        with stop_requests() as stop:
            if options.resume:
                training.restore()
            yield training.started()
            try:
                yield from training.steps(stop)
                result = yield from training.finish(stop)
            except (TrainingInterrupted, FinalInterrupted):
                raise Interrupted(
                    f"stopped after step {training.state.counters.step}; the best weights and a "
                    f"checkpoint are in {run.path}",
                    hint=f"`rnnctl train --resume {word(run.path)}` continues from here",
                    exit_code=stop.exit_code,
                ) from None
        if options.headline is not None:
            result = _with_headline(run, result, options.headline)
        yield Finished(result)


def begin(
    config: RunConfig,
    options: Options,
    run: Run | None = None,
    tokenizer: Tokenizer | None = None,
) -> Generator[Preparing, None, Prepared]:
    """Everything up to the first step; `run`: the one that is resumed; `tokenizer`: one that is
    known. Writes nothing.

    Raises what `prepare` does, and UsageError for snapshots that the training does not reach.
    """
    prepared = yield from prepare(
        config,
        run=run,
        stdin=options.stdin,
        given=options.given,
        size_is_open=options.size_is_open,
        level_is_open=options.level_is_open,
        beside=options.beside,
        tokenizer=tokenizer,
    )
    counts_tokens = not prepared.task.counts_documents
    epoch = prepared.task.units_per_epoch if counts_tokens else None
    check_reached(prepared.config.training, epoch)
    return prepared


def warnings_before(prepared: Prepared, options: Options) -> list[Warning_]:
    """What there is to warn of before the first step."""
    said = {
        "other_precision": prepared.arithmetic.note,
        "nothing_compiled": _nothing_compiled(prepared),
        "single_words": _single_words(prepared),
        "no_validation": "" if _is_validated(prepared) else NO_VALIDATION,
        "more_workers_than_cores": crowded(
            prepared.config.training.workers, prepared.threads, prepared.arithmetic.device
        ),
    }
    found = [Warning_(code=code, text=text) for code, text in said.items() if text]
    return [*options.notes, *prepared.corpus.warnings, *found]


def _is_validated(prepared: Prepared) -> bool:
    """Whether any text is left for validation."""
    return len(prepared.store.split("valid").ids) > 0


def _nothing_compiled(prepared: Prepared) -> str:
    """What to say where an installed numba does not work; "" where it does, or is not needed."""
    asked = prepared.config.training.engine in ("auto", "fused")
    if not asked or prepared.arithmetic.device.type != "cpu" or not engines.numba_installed():
        return ""
    if not engines.compiler_problem():
        return ""
    return (
        f"numba cannot compile here ({engines.compiler_problem()}): the layers are computed by "
        f"the engine `{prepared.model.recurrent.engine}`, which may be slower"
    )


def _single_words(prepared: Prepared) -> str:
    """What to say where a classifier of words reads single words, many of which it cannot know."""
    if not isinstance(prepared.model, Classifier) or prepared.config.tokenizer.level != "word":
        return ""
    if not reads_single_words(prepared.store, prepared.tokenizer):
        return ""
    return (
        "most texts are a single word, and many words occur only once: `--level char` reads them "
        "letter by letter"
    )


class _Training:
    """One session of training a run that is locked: the state, what is planned, the warnings."""

    def __init__(self, run: Run, prepared: Prepared, options: Options) -> None:
        run.refresh()
        self.run = run
        self.prepared = prepared
        self.options = options
        settings, task = prepared.config.training, prepared.task
        self.state = TrainingState.begin(task, settings)
        self.team: Together | Alone = Alone()
        self.keeper = Keeper(run, settings)
        replay = None if options.reschedule else read_schedule(run)
        self.plan = Schedule(settings, task.units_per_epoch, task.counts_documents, replay)
        self.warnings = warnings_before(prepared, options)
        self.validated = _is_validated(prepared)

    def _warn(self, code: str, text: str) -> None:
        self.warnings.append(Warning_(code=code, text=text))

    def restore(self) -> None:
        """Go back to the newest checkpoint of the run, with the settings as they are now."""
        if self.run.config != self.prepared.config:
            self.run.put_file(CONFIG_NAME, config_bytes(self.prepared.config))
        if self.options.reschedule:
            self.run.put_file(SCHEDULE_NAME, None)
        computed = computed_bytes(self.prepared)
        if self.run.current.files.get(COMPUTED_NAME) != entry_of(computed):
            self.run.put_file(COMPUTED_NAME, computed)
        if damaged := restore(self.run, self.state):
            self._warn("damaged_checkpoint", damaged)
        # A training that had reached its end goes on if the settings now ask for more.
        counters = self.state.counters
        changed = self.run.config.training.patience != self.prepared.config.training.patience
        ended_by_patience = counters.stop_reason == "patience" and not changed
        if not ended_by_patience and not self.plan.over(counters):
            counters.stop_reason = ""
        if CALIBRATION_NAME in self.run.current.files:  # it is of the weights as they were
            self.run.put_file(CALIBRATION_NAME, None)
        # While it trains on it is unfinished: nobody may take its old result for that of its new
        # weights.
        unpublish(self.run)

    def started(self) -> Started:
        """What is trained on what, for whoever watches."""
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
            resumed=self.options.resume,
            ended=bool(self.state.counters.stop_reason),
            trivial_nats=prepared.task.trivial_nats,
            cut_share=prepared.store.cut_share,
            labels=prepared.store.label_names,
            validated=self.validated,
            warnings=tuple(self.warnings),
            notes=prepared.corpus.notes,
            why_this_size=prepared.why_this_size,
            vectors=prepared.vectors,
        )

    def steps(self, stop: StopRequest) -> Iterator[Event]:
        """The loop, with as many processes as asked for, up to the last checkpoint."""
        with team(self.prepared, self.plan.replay) as self.team:
            if isinstance(self.team, Together):
                self.team.share(self.state)
            self.keeper.begin(self.state)
            try:
                for event in Loop(self.state, self.plan, self._save, stop, self.team).run():
                    record = log_record(event)
                    if record is not None:
                        self.run.append_log(record)
                    if isinstance(event, events.Step):
                        self.keeper.after_step(self.state)
                    if isinstance(event, events.Advice):
                        self._warn(event.code, event.text)
                    yield event
                    if isinstance(event, events.Evaluated) and self.options.probe is not None:
                        yield from self._probe(self.options.probe, event.step)
            except TrainingInterrupted:
                self._save(self.state)
                raise
            if missed := self.keeper.end(self.state):
                self._warn("snapshots_not_reached", missed)
            self._save(self.state)

    def _probe(self, probe: Probe, step: int) -> Iterator[Event]:
        model, valid = self.prepared.model, self.prepared.store.split("valid")
        model.eval()
        # Looking on must not change what is looked at: without this the sample line would move
        # dropout's masks, and a training with a display would not be the one without.
        with torch.random.fork_rng(devices=[]):
            yield from probe(model, self.prepared.tokenizer, valid, step)
        model.train()

    def _save(self, state: TrainingState) -> str:
        if isinstance(self.team, Together):
            self.team.gather(state)
        return save_checkpoint(self.run, state)

    def finish(self, stop: StopRequest) -> Generator[Preparing, None, TrainResult]:
        """Measure the best weights on every split, write the result, publish the run.

        Says what is measured, and of long texts which. FinalInterrupted when asked to stop.
        """
        yield Preparing(_LAST[self.prepared.task.counts_documents])
        use_best(self.state)
        task, store = self.prepared.task, self.prepared.store
        task.model.eval()
        splits = {name: store.split(name) for name in SPLITS}
        filled = {name: split for name, split in splits.items() if len(split.ids)}
        measured = []
        for number, (part, split) in enumerate(filled.items(), 1):
            if len(split.ids) > _LONG:
                yield Preparing(f"measuring the {_PARTS[part]} text ({number} of {len(filled)})")
            measured.append(task.measure(part, split, stop))
        end = task.conclude(measured, self.prepared.config, self.prepared.corpus)
        for name, data in end.files.items():
            self.run.put_file(name, data)
        counters, warnings = self.state.counters, (*self._final_warnings(), *end.warnings)
        result = train_result(self.run.path, self.prepared, counters, end.measured, warnings)
        # Diagnoses and evaluations of the weights before: they are of another model now.
        self.run.drop_outdated_results()
        self.run.write_result(REPORT_NAME, result)
        # Last of all: from here on the run counts as finished.
        publish(self.run, self.state)
        return result

    def _final_warnings(self) -> tuple[Warning_, ...]:
        """What was warned of, as it is in the end: a model may have learnt after the advice.

        By the counters, so that a resumed training reports what an uninterrupted one does.
        """
        task, counters = self.prepared.task, self.state.counters
        kept = [warning for warning in self.warnings if warning.code != NOT_BETTER]
        best = counters.best_value
        # A short training is not advised on its way, but its end may be worse than no training.
        poor = best is not None and (best > task.trivial_nats or counters.advised)
        if best is not None and poor and not beats_trivial(task, best):
            what = "validation" if self.validated else "training"
            text = advice(task, f"the best {what} loss {best:.3f}")
            kept.append(Warning_(code=NOT_BETTER, text=text))
        first = record_of(self.prepared.config)
        if first is not None and first.epochs < 1:
            text = (
                f"the language model had read {percent(first.epochs, 0)} of its text before the "
                "classifier began, too little to help: give --pretrain more time, or leave it out"
            )
            kept.append(Warning_(code="short_pretraining", text=text))
        return tuple(kept)


def _with_headline(
    run: Run, result: TrainResult, headline: Callable[[Path], dict[str, Any] | None]
) -> TrainResult:
    """The result with the headline of the quick diagnosis, kept in the run as well."""
    try:
        found = headline(run.path)
    except (KeyboardInterrupt, SystemExit) as ending:  # Ctrl-C, or SIGTERM: the work is done
        raise Interrupted(
            f"the closing diagnosis was stopped; the training is finished and is in {run.path}",
            hint=f"`rnnctl diagnose {word(run.path)}` measures the memory horizon",
            exit_code=130 if isinstance(ending, KeyboardInterrupt) else int(str(ending.code)),
        ) from None
    except RnnctlError as error:
        why = "; ".join(filter(None, (error.message, error.hint)))
        warning = Warning_(code="not_diagnosed", text=f"not diagnosed: {why}")
        result = result.model_copy(update={"warnings": (*result.warnings, warning)})
    else:
        result = result.model_copy(update={"diagnosis": found})
    run.write_result(REPORT_NAME, result)
    return result
