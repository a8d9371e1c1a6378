"""``rnnctl info``: what is in a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rnnctl.cli import console
from rnnctl.cli.options import Output, RunArgument, takes_groups

if TYPE_CHECKING:
    from rnnctl.results.training import InfoResult, TrainResult
    from rnnctl.runs import Run


@takes_groups
def info(run: RunArgument, *, to: Output) -> None:
    """Show what is in a run: settings, state, results, and the software and machine behind them.

    Every file that is read is checked; `rnnctl runs --verify` checks all files of all runs.
    """
    from rnnctl.runs import Run

    found = Run.open(run)
    to.emit(describe(found))
    # Told only: `info` is what one asks when something is wrong, and must not refuse.
    places = [*found.current.files, *(f"checkpoints/{name}" for name in found.current.checkpoints)]
    if missing := [place for place in places if not (run / place).exists()]:
        console.warn(f"missing in {run}: {', '.join(missing)}")


def describe(run: Run) -> InfoResult:
    """Everything that `info` shows of a run."""
    from rnnctl import machine
    from rnnctl.results.base import Environment
    from rnnctl.results.training import InfoResult, SnapshotLine
    from rnnctl.runs import summarize
    from rnnctl.runs.checkpoints import is_snapshot

    training = trained(run)
    return InfoResult(
        environment=Environment(**machine.facts()),
        run=str(run.path),
        state=summarize(run.path).state,
        written_by=run.current.rnnctl,
        parameters=training.parameters if training else None,
        size_bytes=sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file()),
        settings=json.loads(run.config.model_dump_json()),
        files=tuple(sorted(run.current.files)),
        checkpoints=tuple(sorted(n for n in run.current.checkpoints if not is_snapshot(n))),
        snapshots=tuple(
            SnapshotLine(tokens=one.tokens, step=one.step, name=one.name) for one in run.snapshots()
        ),
        results=tuple(run.results()),
        training=training,
    )


def trained(run: Run) -> TrainResult | None:
    """The result of the training, if it is there. CorruptRunError when it is damaged."""
    from rnnctl.results.training import TrainResult

    if "train" not in run.results():
        return None
    return TrainResult.model_validate_json(json.dumps(run.read_result("train")))
