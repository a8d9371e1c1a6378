"""One training for each of K parts of a corpus, each tested on the part that it did not see."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rnnctl.config import RunConfig
from rnnctl.errors import RunError, UsageError, word
from rnnctl.results.base import Classification, Warning_
from rnnctl.results.training import FoldMeasure, FoldsResult, TrainResult
from rnnctl.runs import Run
from rnnctl.statistics import over_folds
from rnnctl.tasks.base import find_task
from rnnctl.tasks.classification import advice
from rnnctl.tasks.recipes import by_letters
from rnnctl.training.events import Event, Finished, Preparing
from rnnctl.training.train import REPORT_NAME, Options, train


def fold_path(root: Path, number: int) -> Path:
    """Where the run of a fold stands, counted from 1."""
    return root / f"fold-{number}"


def with_fold(config: RunConfig, number: int, folds: int) -> RunConfig:
    """The settings of a fold, counted from 1."""
    corpus = config.corpus.model_copy(update={"fold": f"{number}/{folds}"})
    return config.model_copy(update={"corpus": corpus})


def check_folds(config: RunConfig) -> None:
    """UsageError for what cannot be trained in folds."""
    if not find_task(config.model.task).labelled:
        raise UsageError("--folds is for classifiers", hint="add --task classify")
    if "-" in config.corpus.sources:
        raise UsageError(
            "--folds reads its corpus several times, which standard input does not allow",
            hint="write it to a file first",
        )


def train_folds(
    config: RunConfig, root: Path, folds: int, options: Options
) -> Iterator[Event | FoldsResult]:
    """Train K runs below `root`; the last thing given is their `FoldsResult`.

    A fold whose run is finished is not trained again, and one that was stopped goes on, so that
    the same call continues what was interrupted. Raises what `train` raises.
    """
    check_folds(config)
    results: list[TrainResult] = []
    for number in range(1, folds + 1):
        path = fold_path(root, number)
        own = with_fold(config, number, folds)
        run = None if options.overwrite or not (path / "current.json").is_file() else Run.open(path)
        if run is not None:
            own = _same(run, own, options)
        if run is not None and run.current.finished:
            known = run.read_result(REPORT_NAME)  # which has what every result has beside it
            own_fields = {n: value for n, value in known.items() if n in TrainResult.model_fields}
            results.append(TrainResult.model_validate(own_fields))
            continue
        yield Preparing(f"fold {number} of {folds}")
        for event in train(own, path, replace(options, resume=run is not None)):
            if isinstance(event, Finished):
                results.append(event.result)
            else:
                yield event
    yield folds_result(results)


def _same(run: Run, config: RunConfig, options: Options) -> RunConfig:
    """The settings of a fold's run. RunError where they are others than those asked for."""
    if options.level_is_open and run.config.tokenizer.level == "char":
        config = by_letters(config, options.given)
    if "patience" not in options.given.get("training", {}) and config.training.epochs is None:
        patience = {"patience": run.config.training.patience}
        config = config.model_copy(update={"training": config.training.model_copy(update=patience)})
    asked, known = (_without_the_settled(one, config) for one in (config, run.config))
    if asked != known:
        raise RunError(
            f"{run.path} was trained with other settings",
            hint="choose another --run, or replace the folds with --overwrite",
        )
    return run.config


def _without_the_settled(config: RunConfig, asked: RunConfig) -> RunConfig:
    """`config` without what is only known while a fold is trained, where `asked` leaves it open."""
    settled = {"model": ["vectors_sha256", "dropout_embedding"], "training": ["epochs"]}
    if asked.training.pretrain_s is not None:
        settled["training"].append("start_from")
    update = {}
    for name, fields in settled.items():
        section = getattr(config, name)
        left_open = [field for field in fields if getattr(getattr(asked, name), field) is None]
        update[name] = section.model_copy(update=dict.fromkeys(left_open))
    return config.model_copy(update=update)


def folds_result(results: list[TrainResult]) -> FoldsResult:
    """Means over the folds, with intervals."""
    tested = [_tested(result) for result in results]
    numbers: dict[str, list[float]] = {
        "accuracy": [one.accuracy for one in tested],
        "macro_f1": [one.macro_f1 for one in tested],
        "loss_nats": [one.loss_nats for one in tested],
        "calibration_error": [one.calibration_error for one in tested],
    }
    if all(one.bag_of_words is not None for one in tested):
        numbers["bag_of_words"] = [one.bag_of_words.accuracy for one in tested if one.bag_of_words]
    if all(one.majority is not None for one in tested):
        numbers["majority"] = [one.majority for one in tested if one.majority is not None]
    first = results[0]
    measures = tuple(_measure(name, values) for name, values in numbers.items())
    return FoldsResult(
        warnings=tuple(_remarks(measures, first)),
        environment=first.environment,
        seed=first.seed,
        corpus=first.corpus,
        runs=tuple(result.run for result in results),
        documents=sum(one.n for one in tested),
        measures=measures,
        classes=tested[0].labels,
        timing={"training_s": sum(result.timing.get("training_s", 0.0) for result in results)},
        next_command=f"rnnctl classify {word(first.run)}",
    )


def _tested(result: TrainResult) -> Classification:
    found = [one.classification for one in result.splits if one.split == "test"]
    if not found or found[0] is None:
        raise RunError(f"{result.run} was tested on nothing", hint="train it with --overwrite")
    return found[0]


def _remarks(measures: Sequence[FoldMeasure], first: TrainResult) -> Iterator[Warning_]:
    """What to say where a simpler model is as good in the mean over folds."""
    mean = {one.name: one.mean for one in measures}
    bag, own = mean.get("bag_of_words"), mean["accuracy"]
    if bag is not None and bag >= own and own < 1:
        config = Run.open(first.run).config
        yield Warning_(
            code="not_better_than_bag_of_words",
            text=f"a bag of words, which knows no order, is right on {100 * bag:.1f} % of the "
            f"documents in the mean over folds, the model on {100 * own:.1f} %: "
            f"try {', or '.join(advice(config, _tested(first)))}",
        )


def _measure(name: str, values: list[float]) -> FoldMeasure:
    found = over_folds(values)
    most = math.inf if name == "loss_nats" else 1.0  # the others are shares
    ends = None if len(values) < 2 else (max(0.0, found.lo), min(most, found.hi))
    return FoldMeasure(name=name, mean=found.estimate, ci95=ends, values=tuple(values))
