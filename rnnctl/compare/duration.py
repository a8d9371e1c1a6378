"""How long a comparison will take, before it begins: for ``compare --dry-run``.

Rough on purpose: nothing is trained or read for it. A training's time follows from its
multiply-adds, at a pace between that of a laptop and that of a server; where trainings of this
comparison are finished already, their own times are taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from rnnctl.compare.experiment import Machine, work_ahead
from rnnctl.compare.grid import Job
from rnnctl.compare.plan import (
    TRIAL_S,
    Planned,
    Settings,
    budget_seconds,
    has_result,
    members,
    needs_trials,
    resolved,
    trials,
    tuning,
    with_share,
)
from rnnctl.nn.cells import find_cell
from rnnctl.runs import Run
from rnnctl.tasks.base import find_task

PACE = 8e9
"""Multiply-adds of the forward pass in a second of training, on one thread."""
BEGIN_S = 6.0
"""Seconds that a training takes beside its steps: start, reading, the last measurements."""
DIAGNOSE_S = 25.0
"""Seconds of a quick diagnosis."""
MEASURE_S = 5.0
"""Seconds of a measurement that runs alone."""
VOCABULARY = {"char": 100, "byte": 256}
LARGE = 10_000
"""Tokens of a vocabulary of words, or of pieces of words."""
DOCUMENT = 150
"""Tokens of a document that a classifier reads."""


def expected_seconds(settings: Settings, root: Path, machine: Machine) -> float | None:
    """Seconds until the report, of what is not done yet, roughly; None where the text decides."""
    before = 0.0
    if needs_trials(settings, root):
        # Whatever the trials find, all trainings on the text share the budget.
        plan = with_share(settings, machine.workers)
        before = (BEGIN_S + TRIAL_S) * len(trials(settings)) / max(1, machine.workers)
    else:
        plan = resolved(settings, root, machine.workers)
    planned = members(plan) + (tuning(plan) if plan.rates == "grid" else [])
    known = _known(planned, root)
    trained: list[float] = []
    for one in planned:
        if has_result(root / one.name, "train"):
            continue
        took = known.get((one.stage, one.cell)) or _training(plan, one, machine.threads)
        if took is None:
            return None
        trained.append(took)
    diagnoses = [one for one in members(plan) if one.is_diagnosed]
    left = sum(not Job(one, "diagnose").is_done(root) for one in diagnoses)
    # Speed and the rest run one after the other, whatever the number of workers.
    alone = MEASURE_S * work_ahead(plan)["measure"]
    return before + (sum(trained) + DIAGNOSE_S * left) / max(1, machine.workers) + alone


def _known(planned: Sequence[Planned], root: Path) -> dict[tuple[str, str], float]:
    """Seconds of a finished training, by stage and cell."""
    found: dict[tuple[str, str], float] = {}
    for one in planned:
        if has_result(root / one.name, "train"):
            timing = Run.open(root / one.name).read_result("train").get("timing") or {}
            if seconds := timing.get("training_s"):
                found[one.stage, one.cell] = BEGIN_S + float(seconds)
    return found


def _training(settings: Settings, one: Planned, threads: int) -> float | None:
    """Seconds of one training from the size of its model and its limit; None of epochs."""
    given = dict(itertools.pairwise(one.arguments))
    if "--budget" in given:
        return BEGIN_S + budget_seconds(settings)
    if "--steps" not in given:
        return None
    labelled = find_task(given["--task"]).labelled
    level = given.get("--level", find_task(given["--task"]).level)
    width = DOCUMENT if labelled else int(given.get("--bptt", "64"))
    if one.stage == "recall":
        width = int(one.arguments[0].rpartition("=")[2]) + 4
    cell, embedding = find_cell(one.cell), int(given["--embedding-size"])
    layers = int(given.get("--layers", "1"))
    macs = cell.macs_per_token(embedding, one.hidden_size, layers, 1)
    if not labelled:
        macs += one.hidden_size * VOCABULARY.get(level, LARGE)
    tokens = int(given["--steps"]) * int(given.get("--batch-size", "32")) * width
    return BEGIN_S + tokens * macs / (PACE * max(1, threads))
