"""A language model before a classifier (``--pretrain``): both are runs, side by side.

The classifier's folder is made first and holds nothing but its settings until the language model is
there, so that ``--resume`` with that folder goes on wherever the work was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rnnctl.config import RunConfig
from rnnctl.errors import Interrupted, RunError, word
from rnnctl.reports.numbers import seconds
from rnnctl.results.training import PretrainedRecord
from rnnctl.runs import Run
from rnnctl.runs.run import TOKENIZER_NAME, check_free
from rnnctl.tasks.recipes import language_model_first
from rnnctl.training.events import Event, Finished, Preparing

if TYPE_CHECKING:
    from rnnctl.training.train import Options

Train: TypeAlias = "Callable[[RunConfig, Path, Options], Iterator[Event]]"


def is_wanted(config: RunConfig) -> bool:
    """Whether a language model is to be trained before the classifier, and is not there yet."""
    return config.training.pretrain_s is not None and config.training.start_from is None


def language_model_path(path: Path) -> Path:
    """Where the language model of a classifier at `path` is kept."""
    return path.with_name(f"{path.name}-lm")


def pretrained(
    config: RunConfig, path: Path, options: Options, train: Train
) -> Generator[Event, None, tuple[RunConfig, Options]]:
    """Train the language model, or go on with it; settings and options for the classifier then.

    Raises what `train` raises; after Interrupted the classifier's run is the one to resume.
    """
    first, place = language_model_first(config), language_model_path(path)
    if not options.resume:
        check_free(place, overwrite=options.overwrite)
        Run.create(path, config, overwrite=options.overwrite)
    known = _known(place, first) if options.resume else None
    if known is None or not known.current.finished:
        yield Preparing(_said(config, place))
        # What was given is about the classifier, and so is all that is decided on its way.
        own = replace(
            options,
            resume=known is not None,
            given={},
            headline=None,
            size_is_open=False,
            beside=None,
            replay=None,
            notes=(),
        )
        try:
            for event in train(known.config if known else first, place, own):
                if not isinstance(event, Finished):
                    yield event
        except Interrupted as stopped:
            raise Interrupted(
                stopped.message,
                hint=f"`rnnctl train --resume {word(path)}` continues from here",
                exit_code=stopped.exit_code,
            ) from None
        yield Preparing("the language model is trained; the classifier starts from its weights")
    # Absolute, for the run may be resumed from another folder.
    training = config.training.model_copy(update={"start_from": str(place.absolute())})
    config = config.model_copy(update={"training": training})
    begun = TOKENIZER_NAME in Run.open(path).current.files
    return config, replace(options, resume=begun, overwrite=not begun)


def _known(place: Path, wanted: RunConfig) -> Run | None:
    """The language model that was begun, if there is one. RunError for one of other settings."""
    if not (place / "current.json").is_file():
        return None
    run = Run.open(place)
    if run.config != wanted:
        raise RunError(
            f"{place} is not the language model that was begun for this classifier",
            hint="choose another --run",
        )
    return run


def _said(config: RunConfig, place: Path) -> str:
    training = config.training
    assert training.pretrain_s is not None
    after = "" if training.budget_s is None else f" for up to {seconds(training.budget_s)}"
    return (
        f"first a language model of the training texts for {seconds(training.pretrain_s)} "
        f"({place}), then the classifier{after}"
    )


def record_of(config: RunConfig) -> PretrainedRecord | None:
    """What is known of the language model that was trained first; None where there is none."""
    if config.training.pretrain_s is None or config.training.start_from is None:
        return None
    try:
        run = Run.open(config.training.start_from)
        found = run.read_result("train")
        losses = {s["split"]: s["losses"][0]["loss_nats"] for s in found["splits"]}
        return PretrainedRecord(
            run=str(run.path),
            seconds=float(found["timing"]["training_s"]),
            tokens=int(found["tokens"]),
            epochs=float(found["epochs"]),
            valid_loss_nats=losses.get("valid"),
        )
    except (RunError, KeyError, IndexError, TypeError, ValueError):
        return None
