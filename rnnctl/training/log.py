"""What of a training stands in `log.jsonl`, and the schedule that a replay follows."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rnnctl import integrity
from rnnctl.config import RunConfig
from rnnctl.errors import CorruptRunError
from rnnctl.runs import Run
from rnnctl.runs.run import read_config
from rnnctl.training import events
from rnnctl.training.schedule import Replay, replay_of

SCHEDULE_NAME = "schedule.json"
_NAMES: dict[type, str] = {
    events.Step: "step",
    events.Evaluated: "evaluated",
    events.NotFinite: "not_finite",
    events.SteppedBack: "stepped_back",
    events.Advice: "advice",
}


def log_record(event: object) -> dict[str, Any] | None:
    """The log's line for an event; None for those that are not logged.

    What the clock says stands apart, under `timing`: it is all that a repetition may change.
    """
    name = _NAMES.get(type(event))
    if name is None:
        return None
    fields = {key: _finite(value) for key, value in asdict(event).items()}  # type: ignore[call-overload]
    elapsed = fields.pop("elapsed_s", None)
    record = {"event": name, **fields}
    if elapsed is not None:
        record["timing"] = {"elapsed_s": round(elapsed, 4)}
    return record


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


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
        raise CorruptRunError(f"{path} is no schedule: {error}") from error


def _share(value: Any) -> float:
    """A progress in [0, 1]."""
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError(f"a progress of {share}")
    return share


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
