"""What a plan leaves open until something has run: steps out of a budget, rates out of a search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rnnctl.compare.grid import has_result
from rnnctl.compare.plan import (
    Planned,
    Settings,
    match_in_words,
    members,
    rates_provenance,
    trials,
    tuning,
)
from rnnctl.errors import UsageError
from rnnctl.runs import Run


def with_steps(settings: Settings, root: Path, workers: int) -> Settings:
    """`settings` with the number of steps that the budget has room for, from finished trials.

    The budget is for the training of all members on the text, `workers` at a time; the slowest
    cell decides nothing alone, all of them share it. UsageError where a trial is missing.
    """
    seconds = 0.0
    rows = len(settings.inits) * settings.seeds
    for one in trials(settings):
        if not has_result(root / one.name, "train"):
            raise UsageError(
                f"the trial {one.name} did not finish, so the budget cannot be turned into steps",
                hint=f"see {root / 'logs'}; or give --steps instead of --budget",
            )
        train = Run.open(root / one.name).read_result("train")
        seconds += rows * train["timing"]["training_s"] / max(1, train["steps"])
    steps = max(1, int(budget_seconds(settings) * workers / seconds))
    return settings.model_copy(update={"limit": ("--steps", str(steps))})


def needs_steps(settings: Settings) -> bool:
    """Whether a budget must be turned into equal tokens for all."""
    return settings.limit[0] == "--budget" and settings.match != "time"


def with_share(settings: Settings) -> Settings:
    """`settings` with each member's share of the budget: members run one after another."""
    members = len(settings.cells) * len(settings.inits) * settings.seeds
    share = max(1.0, budget_seconds(settings) / members)
    return settings.model_copy(update={"limit": ("--budget", f"{share:.0f}s")})


def budget_seconds(settings: Settings) -> float:
    """Seconds of training for the whole grid."""
    return float(settings.limit[1].removesuffix("s"))


def planned(settings: Settings, root: Path, workers: int) -> list[Planned]:
    """The members that would be trained next, for `--dry-run`.

    Where rates are searched, the search comes first and the members follow once it is done.
    """
    settings = resolved(settings, root, workers)
    if settings.rates == "shipped":
        return members(settings)
    tuned = tuning(settings)
    if not all(has_result(root / one.name, "train") for one in tuned):
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
            best[one.row] = min(best.get(one.row, (float("inf"), 0.0)), (min(values), one.lr))
    return {row: lr for row, (_, lr) in best.items()}


def rates_in_words(chosen: dict[str, float]) -> str:
    """Rates that were searched, by row."""
    each = ", ".join(f"{row} {lr:g}" for row, lr in chosen.items())
    return f"best validation loss of the same grid for every cell, on a seed of its own: {each}"
