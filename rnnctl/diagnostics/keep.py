"""Which diagnosis a run keeps: comparisons rest on it, so that it must not change unnoticed.

It is the one on the run's own held-out text (of a run that keeps none: on the text it was given)
with the usual seed and evidence. A diagnosis of some of the measurements only replaces those, and
only in one that was made alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from rnnctl.diagnostics import checks, panel
from rnnctl.diagnostics.panel import verdict
from rnnctl.errors import RunError
from rnnctl.results.base import Warning_
from rnnctl.results.diagnostics import DiagnosticsResult, Measurement
from rnnctl.runs import Run
from rnnctl.runs.heldout import HELDOUT_NAME

USUAL_SEED = 0
_OF_HEADLINE = {"use_neff": "use", "effect_half": "effect"}


def has_own_text(run: Run) -> bool:
    """Whether a run keeps held-out text: then no other text is that of its diagnosis."""
    return HELDOUT_NAME in run.current.files


def why_apart(*, other_text: bool, seed: int, items: Path | None, beyond: bool) -> str:
    """Why a diagnosis is not the one that a run keeps; "" if it is.

    `beyond`: with more ways to alter the text, which shift what is drawn for the usual ones.
    """
    if other_text:
        return "it is of another text than the run's own"
    if items is not None:
        return "it is of other evidence than the usual"
    if beyond:
        return "it is of more ways to alter the text than the usual"
    return f"it has another seed than the usual {USUAL_SEED}" if seed != USUAL_SEED else ""


def to_keep(run: Run, new: DiagnosticsResult) -> DiagnosticsResult | str:
    """What the run shall keep now that `new` was measured; or why `new` cannot become part of it.

    A diagnosis that has all of what is kept takes its place, in whatever way it was made.
    """
    old = _kept(run)
    if old is None or sections(old) <= sections(new):
        return new
    made, before = _made(new), _made(old)
    apart = [f"{name} {was}" for name, was in before.items() if made[name] != was]
    if not apart:
        return merged(old, new)
    if len(sections(old)) < len(sections(new)):
        return new
    return f"the run keeps a more complete diagnosis, of {', '.join(apart)}"


def _kept(run: Run) -> DiagnosticsResult | None:
    try:
        found = run.present_result("diagnose")
        return None if found is None else DiagnosticsResult.model_validate(found)
    except (RunError, ValidationError):
        return None  # damaged, which `runs --verify` tells of


def _made(result: DiagnosticsResult) -> dict[str, object]:
    return {
        "text": result.data.sha256[:12],
        "preset": result.preset,
        "seed": result.seed,
        "rnnctl": result.environment.rnnctl,
    }


def sections(result: DiagnosticsResult) -> set[str]:
    """Names of the measurements in a diagnosis."""
    return set(result.records())


def merged(old: DiagnosticsResult, new: DiagnosticsResult) -> DiagnosticsResult:
    """`old` with the measurements of `new`, and what follows from them together."""
    records = {**old.records(), **new.records()}
    head = (new if _OF_HEADLINE[new.headline.kind] in sections(new) else old).headline
    measured = _measured(new, records)
    rest = dict.fromkeys([*_of_the_text(old), *_of_the_text(new)])
    return new.model_copy(
        update={
            **measured.fields(),
            "headline": head,
            "verdict": verdict(head, measured, new.data.paragraph_length),
            "panel": panel.rows(new.model, measured),
            "cross_checks": checks.cross_checks(measured),
            "warnings": (*rest, *checks.warnings(new.model, measured, head)),
            "timing": {**old.timing, **new.timing},
        }
    )


def _measured(result: DiagnosticsResult, records: Mapping[str, Measurement]) -> panel.Measured:
    data = result.data
    words = data.distance_unit == "words"
    return panel.Measured.of(records, data.words_per_token if words else data.chars_per_token)


def _of_the_text(result: DiagnosticsResult) -> list[Warning_]:
    """Warnings that do not follow from the measurements."""
    measured = _measured(result, result.records())
    follow = checks.warnings(result.model, measured, result.headline)
    return [warning for warning in result.warnings if warning not in follow]
