"""Settings to repeat a training with, or to resume it with, and what of them is another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnctl.config import RunConfig, Settings, option_of
from rnnctl.errors import CorruptRunError, UsageError, word
from rnnctl.results.base import Warning_
from rnnctl.runs import Run
from rnnctl.runs.run import read_config
from rnnctl.tasks.recipes import COURSE, PACE, resolve
from rnnctl.training.schedule import SCHEDULE_NAME, Replay, replay_of
from rnnctl.training.train import Options

SETTLED = (
    "seed",
    "keep_text",
    "start_from",
    "pretrain_s",
)  # settings that have done their work at the start


def repeated(
    config: Path, given: Mapping[str, Mapping[str, Any]], options: Options
) -> tuple[RunConfig, Options]:
    """Settings and options to train again as that `config.json` says, but for what is `given`.

    A budget run is repeated step by step, not by the clock, unless its pace is to be another.
    """
    base, replay = repeat(config)
    options = replace(options, beside=config.parent)
    pace = _given_names(given, PACE)
    if replay is not None and pace:
        text = (
            f"{pace} given: this is a new training with these settings; it does not follow the "
            f"recorded schedule of {config.parent}"
        )
        notes = (*options.notes, Warning_(code="schedule_dropped", text=text))
        return resolve(given, base), replace(options, notes=notes)
    return resolve(given, base), replace(options, replay=replay)


def resumed(
    path: Path, given: Mapping[str, Mapping[str, Any]], options: Options
) -> tuple[RunConfig, Options]:
    """Settings and options to continue the run at `path` with; they note what is not its own.

    Training settings may change; UsageError for a change of corpus, tokenizer or model, or of what
    had its effect at the beginning.
    """
    run = Run.open(path)
    config = resolve(given, run.config)
    changes = list(_changes(run.config.training, config.training))
    _refuse(path, (change for change in changes if change[0] in SETTLED))
    for section in ("corpus", "tokenizer", "model"):
        found = _changes(getattr(run.config, section), getattr(config, section))
        # A corpus may have moved: whether it is the same is told by its content when it is read.
        _refuse(path, (change for change in found if change[0] != "sources"))
    notes = list(options.notes)
    if any(name == "snapshots" for name, _, _ in changes):
        text = (
            f"--snapshots {config.training.snapshots}: from now on; for tokens that were already "
            "read no more weights can be kept"
        )
        notes.append(Warning_(code="snapshots_changed", text=text))
        changes = [change for change in changes if change[0] != "snapshots"]
    if changes:
        text = ", ".join(f"{option_of(n)} {new} instead of {old}" for n, old, new in changes)
        text = f"continues with {text}: the result will differ from that of the old settings"
        notes.append(Warning_(code="settings_changed", text=text))
    course = _given_names(given, COURSE) if SCHEDULE_NAME in run.current.files else ""
    if course:
        text = f"{course} given: the training follows it, and no longer the recorded schedule"
        notes.append(Warning_(code="schedule_dropped", text=text))
    options = replace(options, resume=True, reschedule=bool(course), notes=tuple(notes))
    return config, options


def _given_names(given: Mapping[str, Mapping[str, Any]], fields: tuple[str, ...]) -> str:
    """Those of the training settings that were given, as options."""
    training = given.get("training", {})
    return ", ".join(option_of(name) for name in fields if training.get(name) is not None)


def _refuse(path: Path, changes: Iterable[tuple[str, str, str]]) -> None:
    for name, old, new in changes:
        begin = f"`--from {word(path)}`" if name not in SETTLED else "--run DIR"
        raise UsageError(
            f"{option_of(name)} is {old} in {path}; {new} is not possible once training has begun",
            hint=f"leave it out, or start a new run with {begin}",
        )


def _changes(old: Settings, new: Settings) -> Iterator[tuple[str, str, str]]:
    """The names of settings whose values differ, with both values in words."""
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            unit = "s" if name.endswith("_s") else ""
            yield name, _said(before, unit), _said(after, unit)


def _said(value: object, unit: str = "") -> str:
    """A setting as a person would say it."""
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "the bundled corpus"
    if value is None:
        return "not given"
    return f"{value:g}{unit}" if isinstance(value, float) else str(value)


def repeat(path: Path) -> tuple[RunConfig, Replay | None]:
    """Settings of a `config.json`, and if it lies in a finished budget run, the steps it took."""
    config = read_config(path)
    folder = path.parent
    if config.training.budget_s is None or not (folder / "current.json").is_file():
        return config, None
    run = Run.open(folder)
    if not run.current.finished:
        return config, None
    try:
        return config, replay_of(run.log())
    except (KeyError, ValueError, OverflowError) as error:
        raise CorruptRunError(f"the log of {folder} holds a step without progress") from error
