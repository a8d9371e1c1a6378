"""What a fair comparison trains: every member as one ``rnnctl train`` command line.

Held equal, by `match`:

* ``parameters``: the recurrent parameters, g·(HE + H² + 2H) in PyTorch's count, through the hidden
  size (nearest whole number); the same tokens in the same order.
* ``time``: the recurrent parameters, and the seconds each member trains; one after another.
* ``hidden``: the hidden size; the same tokens in the same order.
* ``steps``: nothing but the tokens and their order; hidden sizes as given for each cell.

The embedding size is the same for all, so that the number of parameters outside the recurrent
layers differs only through the output layer's input.
"""

from __future__ import annotations

import bisect
import itertools
import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from rnnctl import integrity
from rnnctl.config import TaskName
from rnnctl.errors import RunError, UsageError
from rnnctl.nn.cells import find_cell
from rnnctl.reports.numbers import seconds
from rnnctl.runs import Run
from rnnctl.tasks.base import find_task
from rnnctl.tasks.recipes import default_rate, recall_rate
from rnnctl.wording import plural

# The hidden size with which a cell has a given number of recurrent parameters.

REFERENCE = "lstm"
"""The cell whose hidden size is given, and whose number of parameters the others are matched to."""


def matched_hidden_size(cell: str, parameters: int, input_size: int, layers: int = 1) -> int:
    """The hidden size whose recurrent parameters come nearest to `parameters`; at least 1."""

    def count(size: int) -> int:
        return find_cell(cell).parameters(input_size, size, layers)

    # By bisection: the root of the quadratic would need each cell's formula solved for H. A cell of
    # H units has more than H parameters, so that the search ends there.
    enough = 1 + bisect.bisect_left(range(1, parameters + 1), parameters, key=count)
    return min((max(1, enough - 1), enough), key=lambda size: abs(count(size) - parameters))


def deviation(count: int, reference: int) -> float:
    """How far `count` lies from `reference`, as a share of it."""
    return count / reference - 1 if reference else math.inf


Match = Literal["parameters", "time", "steps", "hidden"]
Stage = Literal["tune", "trial", "text", "untrained", "recall"]
# Each twice the one before: what a rate does depends on its size, not on differences.
GRID = (2e-3, 4e-3, 8e-3, 1.6e-2)
"""The learning rates that `--rates grid` tries for every cell."""
# Rates that are chosen on a reported seed would suit just that one.
TUNING_SEED = 1000
"""The seed that rates are chosen on; never one of those that are reported."""
UNTRAINED_LR = 1e-12
"""One step at this rate moves no weight in float32: a run of an untrained network."""


class Settings(BaseModel):
    """What the user asked for. `sizes` are hidden sizes by cell, "" for the reference."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[str, ...] = ()
    task: TaskName = "lm"
    cells: tuple[str, ...] = ("rnn", "lstm", "gru")
    inits: tuple[str, ...] = ("torch", "good")
    match: Match = "parameters"
    seeds: int = 5
    sizes: tuple[tuple[str, int], ...] = (("", 128),)
    embedding_size: int = 64
    layers: int = 1
    limit: tuple[str, str] = ("--steps", "300")
    rates: Literal["shipped", "grid"] = "shipped"
    options: tuple[str, ...] = ()
    recall_lags: tuple[int, ...] = (20,)
    recall_seeds: int = 5
    untrained: bool = True

    def fingerprint(self) -> str:
        """Changes with anything that changes what a member is."""
        return integrity.digest(self.model_dump_json().encode())


@dataclass(frozen=True)
class Planned:
    """One member: its directory's name, its row, and the arguments of ``rnnctl train``."""

    name: str
    row: str
    cell: str
    init: str
    seed: int
    hidden_size: int
    lr: float
    stage: Stage
    arguments: tuple[str, ...] = field(repr=False, default=())

    def command(self, root: Path) -> tuple[str, ...]:
        """``train …`` with its run directory under `root`."""
        return ("train", *self.arguments, "--no-diagnose", "--run", str(root / self.name))

    def diagnosis(self, root: Path) -> tuple[str, ...]:
        """``diagnose …`` for the memory columns."""
        return ("diagnose", str(root / self.name), "--preset", "quick")

    @property
    def is_diagnosed(self) -> bool:
        """Rates are chosen on the loss alone, and recall is its own measure of memory."""
        return self.stage in ("text", "untrained")

    def line(self, root: Path) -> str:
        """The member as one would type it, in one line."""
        train = shlex.join(("rnnctl", *self.command(root)))
        if not self.is_diagnosed:
            return train
        return f"{train} && {shlex.join(('rnnctl', *self.diagnosis(root)))}"


CLAIMED = ("rnn", "lstm", "gru")
"""The cells that the verdicts speak of."""


def command_line(settings: Settings, root: Path | None = None) -> str:
    """`rnnctl compare …` as one would type it: what differs from the usual, in one line."""
    # Only what differs: the command is to be read, and to be typed again.
    usual = Settings()
    named = {
        "--task": (settings.task, usual.task),
        "--cells": (",".join(settings.cells), ",".join(usual.cells)),
        "--inits": (",".join(settings.inits), ",".join(usual.inits)),
        "--match": (settings.match, usual.match),
        "--rates": (settings.rates, usual.rates),
        "--hidden-size": (_sizes_in_words(settings.sizes), _sizes_in_words(usual.sizes)),
        "--embedding-size": (str(settings.embedding_size), str(usual.embedding_size)),
        "--layers": (str(settings.layers), str(usual.layers)),
        "--train": (shlex.join(settings.options), ""),
    }
    words = [*settings.sources]
    for name, (value, old) in named.items():
        words += [name, value] if value != old else []
    words += ["--seeds", str(settings.seeds), *settings.limit]
    if not settings.recall_lags:
        words.append("--no-recall")
    else:
        lags = ",".join(map(str, settings.recall_lags))
        words += ["--recall-lags", lags] if settings.recall_lags != usual.recall_lags else []
        seeds = str(settings.recall_seeds)
        words += ["--recall-seeds", seeds] if settings.recall_seeds != usual.recall_seeds else []
    words += ["--run-root", str(root)] if root is not None else []
    return shlex.join(("rnnctl", "compare", *words))


def _sizes_in_words(sizes: Sequence[tuple[str, int]]) -> str:
    return ",".join(f"{cell}={size}" if cell else str(size) for cell, size in sizes)


def hidden_sizes(settings: Settings) -> dict[str, int]:
    """The hidden size of each cell under the match. Raises UsageError for unknown cells."""
    given = dict(settings.sizes)
    for cell in (*settings.cells, *given):
        if cell:
            find_cell(cell)
    reference, width = _reference_size(settings), settings.embedding_size
    if settings.match in ("steps", "hidden"):
        by_cell = given if settings.match == "steps" else {}
        return {cell: by_cell.get(cell, reference) for cell in settings.cells}
    budget = _parameters(settings, REFERENCE, reference)
    return {
        cell: matched_hidden_size(cell, budget, width, settings.layers) for cell in settings.cells
    }


def _reference_size(settings: Settings) -> int:
    """The hidden size that was given for all cells, or for the reference."""
    given = dict(settings.sizes)
    return given.get("", given.get(REFERENCE, 128))


def _parameters(settings: Settings, cell: str, hidden_size: int) -> int:
    """Recurrent parameters of a cell of that size in this comparison."""
    return find_cell(cell).parameters(settings.embedding_size, hidden_size, settings.layers)


def deviations(settings: Settings) -> dict[str, float]:
    """Recurrent parameters of each cell over those of the reference LSTM, minus 1."""
    reference = _parameters(settings, REFERENCE, _reference_size(settings))
    return {
        cell: deviation(_parameters(settings, cell, size), reference)
        for cell, size in hidden_sizes(settings).items()
    }


def members(settings: Settings, chosen: dict[str, float] | None = None) -> list[Planned]:
    """Every member that is reported. `chosen` are rates found by tuning, by row."""
    planned = list(_text(settings, chosen or {}))
    if settings.untrained:
        planned.append(_untrained(settings))
    return [*planned, *recall_members(settings)]


def rows(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Name, cell and initial weights of each row. chrono sets gates: a cell without takes good."""
    for cell in settings.cells:
        others = {} if find_cell(cell).has_gates else {"chrono": "good"}
        for init in dict.fromkeys(others.get(init, init) for init in settings.inits):
            yield f"{cell} {init}", cell, init


def _text(settings: Settings, chosen: dict[str, float]) -> Iterator[Planned]:
    sizes = hidden_sizes(settings)
    # Seeds outermost: a comparison that is stopped half way has all rows at fewer seeds, and not
    # some rows at all of them.
    for seed in range(settings.seeds):
        for row, cell, init in rows(settings):
            lr = chosen.get(row, shipped_rate(settings, cell, init))
            yield _member(settings, row, cell, init, seed, sizes[cell], lr, "text")


def shipped_rate(settings: Settings, cell: str, init: str) -> float:
    """The learning rate of a cell's members where none was searched: the default of `train`."""
    options = dict(itertools.pairwise((*settings.options, *settings.limit)))
    steps = options.get("--steps")
    batch, bptt = options.get("--batch-size", "32"), options.get("--bptt", "64")
    return default_rate(
        settings.task,
        options.get("--level", find_task(settings.task).level),
        cell,
        hidden_sizes(settings)[cell],
        init=init,
        tokens=None if steps is None else int(steps) * int(batch) * int(bptt),
    )


def rates_provenance(settings: Settings) -> str:
    """Where the learning rates come from that nobody searched, in words."""
    each = ", ".join(
        f"{row} {shipped_rate(settings, cell, init):g}" for row, cell, init in rows(settings)
    )
    return f"the defaults of `rnnctl train`: {each}; --rates grid tries 4 for every cell"


def tuning(settings: Settings) -> list[Planned]:
    """Every row at every rate of the grid, on a seed that is not reported."""
    sizes = hidden_sizes(settings)
    return [
        _member(settings, row, cell, init, TUNING_SEED, sizes[cell], lr, "tune")
        for row, cell, init in rows(settings)
        for lr in GRID
    ]


TRIAL_S = 6.0
"""Seconds; in a shorter trial the first steps, which are slow, would count for most."""


def trials(settings: Settings) -> list[Planned]:
    """One short training of each cell, to find out how many steps fit into a budget."""
    sizes = hidden_sizes(settings)
    short = settings.model_copy(update={"limit": ("--budget", f"{TRIAL_S:g}s")})
    # Initial weights cost no time: one trial for each cell is enough.
    last = {cell: (row, cell, init) for row, cell, init in rows(settings)}
    return [_member(short, *row, 0, sizes[row[1]], 1e-3, "trial") for row in last.values()]


def _untrained(settings: Settings) -> Planned:
    # One untrained network is enough: it shows what the measurements say where nothing was learnt.
    cell = REFERENCE if REFERENCE in settings.cells else settings.cells[0]
    init = "good" if "good" in settings.inits else settings.inits[0]
    row, size = f"untrained {cell}", hidden_sizes(settings)[cell]
    return _member(settings, row, cell, init, 0, size, UNTRAINED_LR, "untrained")


def _member(
    settings: Settings, row: str, cell: str, init: str, seed: int, hidden: int, lr: float,
    stage: Stage,
) -> Planned:  # fmt: skip
    limit = ("--steps", "1") if stage == "untrained" else settings.limit
    arguments = (
        *settings.sources, "--task", settings.task, "--cell", cell, "--init", init,
        "--hidden-size", str(hidden), "--embedding-size", str(settings.embedding_size),
        "--layers", str(settings.layers), "--lr", f"{lr:g}", *limit, "--seed", str(seed),
        *_classifier(settings), *_concerning(settings.options, cell, init),
    )  # fmt: skip
    name = f"{stage}-{cell}-{init}-h{hidden}-lr{lr:g}-s{seed}"
    return Planned(name, row, cell, init, seed, hidden, lr, stage, arguments)


def _concerning(options: Sequence[str], cell: str, init: str) -> Iterator[str]:
    """The options without those that are for another cell or initialisation than this member's."""
    # `train` refuses an option without an effect, and these have one for some members only.
    others = {"--nonlinearity": not find_cell(cell).variants, "--horizon": init != "chrono"}
    skip = False  # the value of what was left out
    for option in options:
        name, equals, _ = option.partition("=")
        leave_out = not skip and others.get(name, False)
        if not skip and not leave_out:
            yield option
        skip = leave_out and not equals


def _classifier(settings: Settings) -> tuple[str, ...]:
    """All see the same documents to the end; early words reach the answer through the state alone.

    Pooling, or reading backwards too, would hide what the cells forget.
    """
    if not find_task(settings.task).labelled:
        return ()
    # Without patience: members that stop at different steps would have seen different texts.
    return (*LAST_STATE, "--patience", "1000000")


LAST_STATE = ("--pool", "last", "--no-bidirectional")
RECALL_HIDDEN = 32
RECALL_LIMIT = ("--steps", "600")
# No dropout and no decay: the question is whether the symbol arrives, not how well it generalises.
RECALL_OPTIONS = (
    "--level", "char", "--batch-size", "64", "--weight-decay", "0", "--decay", "constant",
    "--dropout", "0", *LAST_STATE, "--precision", "fp32", "--evaluate-every", "100",
)  # fmt: skip


def recall_members(settings: Settings) -> Iterator[Planned]:
    """Delayed recall of one of 8 symbols: the lag is exact, and seconds are enough."""
    small = Settings(
        cells=settings.cells, match=settings.match, sizes=(("", RECALL_HIDDEN),),
        embedding_size=RECALL_HIDDEN,
    )  # fmt: skip
    sizes = hidden_sizes(small)
    for lag in settings.recall_lags:
        for seed in range(settings.recall_seeds):
            for row, cell, init in rows(settings):
                lr = recall_rate(cell, init)
                arguments: tuple[str, ...] = (
                    f"task:recall:lag={lag}", "--task", "classify", "--cell", cell,
                    "--init", init, "--hidden-size", str(sizes[cell]),
                    "--embedding-size", str(RECALL_HIDDEN),
                    "--lr", f"{lr:g}", *RECALL_LIMIT, "--seed", str(seed), *RECALL_OPTIONS,
                )  # fmt: skip
                # Chrono is told how far back to look: here that is known exactly.
                arguments += ("--horizon", str(lag)) if init == "chrono" else ()
                name = f"recall{lag}-{cell}-{init}-s{seed}"
                yield Planned(name, row, cell, init, seed, sizes[cell], lr, "recall", arguments)


def match_in_words(settings: Settings) -> str:
    """What was held equal, with the deviations that remain."""
    sizes = hidden_sizes(settings)
    each = ", ".join(f"{cell} {size}" for cell, size in sizes.items())
    limit = " ".join(settings.limit).removeprefix("--")
    if settings.match in ("parameters", "time"):
        apart = max(abs(value) for value in deviations(settings).values())
        text = f"recurrent parameters within {100 * apart:.2f} % (hidden sizes {each})"
    elif settings.match == "hidden":
        text = f"hidden size ({each})"
    else:
        text = f"tokens only (hidden sizes {each})"
    if settings.match == "time":
        return f"{text}; {limit.replace('budget ', '')} of training each, one after another"
    return f"{text}; the same tokens in the same order ({limit} each)"


# What a plan leaves open until something has run: steps out of a budget, rates out of a search.


def has_result(path: Path, name: str) -> bool:
    """Whether a run is there, trained to its end, and keeps a result of that name."""
    try:
        run = Run.open(path)
    except RunError:
        return False
    return run.current.finished and name in run.results()


def with_steps(settings: Settings, root: Path, workers: int) -> Settings:
    """`settings` with the number of steps that the budget has room for, from finished trials.

    The budget is for the training of all members on the text, `workers` at a time; the slowest
    cell decides nothing alone, all of them share it. UsageError where a trial is missing.
    """
    seconds = 0.0
    for one in trials(settings):
        of_cell = settings.seeds * sum(cell == one.cell for _, cell, _ in rows(settings))
        if not has_result(root / one.name, "train"):
            raise UsageError(
                f"the trial run {one.name} did not finish, so the number of steps for this "
                "budget is not known",
                hint=f"see {root / 'logs'}; or use --steps instead of --budget",
            )
        train = Run.open(root / one.name).read_result("train")
        seconds += of_cell * train["timing"]["training_s"] / max(1, train["steps"])
    steps = max(1, int(budget_seconds(settings) * workers / seconds))
    return settings.model_copy(update={"limit": ("--steps", str(steps))})


def needs_steps(settings: Settings) -> bool:
    """Whether a budget must be turned into equal tokens for all."""
    return settings.limit[0] == "--budget" and settings.match != "time"


def needs_trials(settings: Settings, root: Path) -> bool:
    """Whether the number of steps is not known before trials under `root` have finished."""
    return needs_steps(settings) and not all(
        has_result(root / one.name, "train") for one in trials(settings)
    )


def trials_in_words(settings: Settings) -> str:
    """What follows on the trials of a plan, whose number of steps is not known before them."""
    names = ", ".join(name for name, _, _ in rows(settings))
    search = f"{plural(len(GRID), 'learning rate')} are tried for each row, and " * (
        settings.rates == "grid"
    )
    others = sum(one.stage != "text" for one in members(settings))
    beside = f"; {plural(others, 'smaller training')} beside them" if others else ""
    return (
        f"these {plural(len(trials(settings)), 'trial')} find out, when the comparison runs, how "
        f"many steps fit into {seconds(budget_seconds(settings))}; then {search}every row ({names})"
        f" is trained {plural(settings.seeds, 'time')}, always with that number of steps{beside}"
    )


def with_share(settings: Settings, workers: int = 1) -> Settings:
    """`settings` with each member's share of the budget, `workers` members at a time."""
    # Only the members on the text: an untrained one and recall take seconds.
    count = len(list(rows(settings))) * settings.seeds
    share = max(1.0, budget_seconds(settings) * workers / count)
    return settings.model_copy(update={"limit": ("--budget", f"{share:.0f}s")})


def budget_seconds(settings: Settings) -> float:
    """Seconds of training for the whole grid."""
    return float(settings.limit[1].removesuffix("s"))


def planned(settings: Settings, root: Path, workers: int) -> list[Planned]:
    """The members that would be trained next, for `--dry-run`.

    Where steps are found by trials, the trials come first; where rates are searched, the search
    comes next; the members that are reported follow once both are done.
    """
    if needs_trials(settings, root):
        return trials(settings)
    settings = resolved(settings, root, workers)
    if settings.rates == "shipped":
        return members(settings)
    tuned = tuning(settings)
    if not all(has_result(root / one.name, "train") for one in tuned):
        # Which members follow depends on what these trainings find.
        return tuned
    return members(settings, best_rates(tuned, root))


def resolved(settings: Settings, root: Path, workers: int) -> Settings:
    """`settings` with the budget turned into steps (from finished trials) or into shares."""
    if needs_steps(settings):
        return with_steps(settings, root, workers)
    return with_share(settings) if settings.limit[0] == "--budget" else settings


def held_equal(settings: Settings, root: Path) -> str:
    """What the members under `root` have in common, in words."""
    try:
        return match_in_words(resolved(settings, root, 1))
    except UsageError:
        return match_in_words(settings)


def rates_of(settings: Settings, root: Path) -> str:
    """Where the learning rates of the members under `root` come from, in words."""
    if settings.rates == "shipped":
        return rates_provenance(settings)
    try:
        tuned = tuning(resolved(settings, root, 1))
    except UsageError:
        return ""
    return rates_in_words(best_rates(tuned, root))


def best_rates(tuned: Sequence[Planned], root: Path) -> dict[str, float]:
    """Per row the rate with the best validation. Rows of which nothing was trained are missing."""
    best: dict[str, tuple[float, float]] = {}
    for one in tuned:
        if not has_result(root / one.name, "train"):
            continue
        curve = Run.open(root / one.name).read_result("train").get("curve") or []
        values = [point["value"] for point in curve if point.get("value") is not None]
        if values:
            # The best validation of each training and not its last: so is the one that its run
            # publishes.
            best[one.row] = min(best.get(one.row, (float("inf"), 0.0)), (min(values), one.lr))
    return {row: lr for row, (_, lr) in best.items()}


def rates_in_words(chosen: dict[str, float]) -> str:
    """Rates that were searched, by row."""
    each = ", ".join(f"{row} {lr:g}" for row, lr in chosen.items())
    return f"best validation loss on the same grid for every cell, with an extra seed: {each}"
