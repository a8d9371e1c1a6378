"""What `diagnose` does, from a run to its result; and the headline that ends a training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnctl.diagnostics import (
    checks,
    effect,
    evidence,
    gates,
    hold,
    lyapunov,
    panel,
    position,
    reach,
    use,
)
from rnnctl.diagnostics.known_answers import remembered
from rnnctl.diagnostics.model_subject import LanguageModelSubject
from rnnctl.diagnostics.settings import PRESETS, Arm, Settings, for_spelled
from rnnctl.diagnostics.traceable import ExactModel
from rnnctl.errors import UsageError
from rnnctl.inference.environment import environment
from rnnctl.nn.models import LanguageModel
from rnnctl.results.diagnostics import (
    DiagnosticsResult,
    EffectRecord,
    GatesRecord,
    HeadlineRecord,
    HoldRecord,
    InstrumentCheck,
    PositionRecord,
    ReachRecord,
    UseRecord,
)
from rnnctl.tasks.loading import Loaded
from rnnctl.workflow.described import data_record, model_record
from rnnctl.workflow.material import Material
from rnnctl.workflow.text import Text, heldout

LANGUAGE_NAMES = ("use", "effect", "hold", "reach", "gates")
CLASSIFIER_NAMES = ("effect", "position", "hold", "reach", "gates")
NAMES = ("use", "effect", "hold", "reach", "gates", "position")
ONE_DIRECTION = "the model reads in both directions: nothing is early for both"
Tell = Callable[[str], None]


def diagnose(
    loaded: Loaded,
    names: Sequence[str] | None = None,
    *,
    preset: str = "quick",
    text: Text | None = None,
    seed: int = 0,
    items: Path | None = None,
    arms: Sequence[Arm] = ("foreign", "zero"),
    tell: Tell = lambda name: None,
) -> DiagnosticsResult:
    """Measure what a run's model remembers, on `text` or on the held-out text that the run keeps.

    `names`: which measurements (all that suit the task by default); `items`: a file of evidence
    sentences; `tell` hears the name of each measurement before it starts. Raises DataError where
    there is no text at all, UsageError for an unknown name; whatever else cannot be measured has a
    status and a sentence in the result.
    """
    chosen = _chosen(names, loaded)
    settings = replace(PRESETS[preset], seed=seed, arms=tuple(arms))
    return _measure(loaded, text or heldout(loaded), chosen, settings, preset, items, tell)


def headline(loaded: Loaded, *, seconds: float = 10) -> HeadlineRecord:
    """The memory horizon alone, on the run's held-out text, in at most `seconds` on two cores.

    How much is measured follows from the model's size and not from the clock, so that equal
    trainings end in equal headlines.
    """
    settings = _affordable(loaded, seconds)
    name = "use" if isinstance(loaded.model, LanguageModel) else "effect"
    result = _measure(
        loaded, heldout(loaded), (name,), settings, "headline", None, lambda name: None
    )
    return result.headline


def _affordable(loaded: Loaded, seconds: float) -> Settings:
    """Fewer resets (or pairs of evidence) for larger models, at 45 GFLOP a second."""
    model, quick = loaded.model, PRESETS["quick"]
    budget = 45e9 * 0.6 * seconds
    recurrent = 2.0 * sum(p.numel() for p in model.recurrent.parameters())
    if isinstance(model, LanguageModel):
        decoder = 2.0 * model.decoder.weight.numel()
        steps, scored = 5 * quick.n_max, 3 * 18 * quick.per_bin
        resets = budget / (steps * recurrent + scored * decoder)
        return replace(quick, resets=int(min(quick.resets, max(48, resets))))
    pairs = budget / (2 * 22 * quick.filler_words * recurrent) / 2
    return replace(quick, evidence=int(min(quick.evidence, max(12, pairs))))


def _chosen(names: Sequence[str] | None, loaded: Loaded) -> tuple[str, ...]:
    usual = CLASSIFIER_NAMES if loaded.labels else LANGUAGE_NAMES
    if not names:
        return usual
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise UsageError(
            f"there is no measurement {unknown[0]!r}", hint="there are: " + ", ".join(NAMES)
        )
    return tuple(name for name in NAMES if name in names)


def _measure(
    loaded: Loaded,
    text: Text,
    names: Sequence[str],
    settings: Settings,
    preset: str,
    items: Path | None,
    tell: Tell,
) -> DiagnosticsResult:
    begin = time.perf_counter()
    material = Material(loaded, text, settings.seed, items)
    sample = material.sample
    if sample.spelled:
        settings = for_spelled(settings, sample.units_per_token)
    timing = {"prepare_s": time.perf_counter() - begin}
    records: dict[str, Any] = {}
    for name in names:
        tell(name)
        since = time.perf_counter()
        records[name] = MEASURES[name](material, settings)
        timing[f"{name}_s"] = time.perf_counter() - since
    measured = panel.Measured(**records, units_per_token=sample.units_per_token)
    model = model_record(loaded)
    bptt = model.train_bptt
    words = None if bptt is None else sample.distance(bptt)
    if measured.use is not None:
        with_bptt = measured.use.model_copy(update={"train_bptt_words": words})
        measured = replace(measured, use=with_bptt)
    head = panel.headline(model, measured, words)
    timing["total_s"] = time.perf_counter() - begin
    return DiagnosticsResult(
        environment=environment(loaded, "float32 forward, float64 derivatives"),
        seed=settings.seed,
        corpus_fingerprint=sample.fingerprint,
        warnings=(*material.warnings, *checks.warnings(model, measured, head)),
        timing={name: round(value, 3) for name, value in timing.items()},
        preset=preset,
        model=model,
        data=data_record(text, sample),
        headline=head,
        panel=panel.rows(model, measured),
        use=measured.use,
        effect=measured.effect,
        hold=measured.hold,
        reach=measured.reach,
        gates=measured.gates,
        position=measured.position,
        cross_checks=checks.cross_checks(measured),
        selftest=_instrument(),
    )


def _instrument() -> InstrumentCheck | None:
    """The outcome of the last selftest of this version, if there was one."""
    outcome = remembered()
    if outcome is None:
        return None
    passed, failed = outcome
    return InstrumentCheck(passed=passed, failed=failed)


def _language(material: Material) -> LanguageModelSubject | None:
    model = material.loaded.model
    if not isinstance(model, LanguageModel):
        return None
    return LanguageModelSubject(model, boundary_id=material.loaded.tokenizer.boundary_id)


def _use(material: Material, settings: Settings) -> UseRecord:
    subject = _language(material)
    if subject is None:
        return UseRecord(status="not_applicable", note="USE is about the loss of language models")
    return use.measure(subject, material.sample, settings)


def _effect(material: Material, settings: Settings) -> EffectRecord:
    subject = _language(material)
    if subject is not None:
        return effect.measure(subject, material.sample, settings)
    return evidence.measure(material.subject, material.sample, settings, material.evidence)


def _hold(material: Material, settings: Settings) -> HoldRecord:
    if _both_ways(material):
        return HoldRecord(status="not_applicable", note=ONE_DIRECTION)
    subject = _language(material)
    if subject is not None:
        return hold.measure(subject, material.sample, settings)
    found = hold.measure(material.subject, material.sample, settings)
    pairs = material.evidence.pairs if material.evidence is not None else ()
    told = hold.polarity(material.subject, material.sample, settings, pairs)
    return (
        found
        if told is None
        else found.model_copy(update={"curves": {**found.curves, "polarity": told}})
    )


def _reach(material: Material, settings: Settings) -> ReachRecord:
    if _both_ways(material):
        return ReachRecord(status="not_applicable", note=ONE_DIRECTION)
    exact, sample = ExactModel(material.loaded.model), material.sample
    if material.loaded.labels and sample.labels is None:  # the loss of the model's own answers
        answers = evidence.batched_logits(material.subject, sample.ids).argmax(1)
        sample = replace(sample, labels=answers)
    found = reach.measure(exact, sample, settings)
    spectrum = lyapunov.measure(exact, sample, settings)
    return found.model_copy(update={"lyapunov": spectrum})


def _gates(material: Material, settings: Settings) -> GatesRecord:
    if _both_ways(material):
        return GatesRecord(status="not_applicable", note=ONE_DIRECTION)
    return gates.measure(ExactModel(material.loaded.model), material.sample, settings)


def _position(material: Material, settings: Settings) -> PositionRecord:
    if not material.loaded.labels:
        return PositionRecord(status="not_applicable", note="POSITION is about classifiers")
    return position.measure(
        material.subject, material.sample, settings, material.filler, material.reference
    )


MEASURES: dict[str, Callable[[Material, Settings], Any]] = {
    "use": _use,
    "effect": _effect,
    "hold": _hold,
    "reach": _reach,
    "gates": _gates,
    "position": _position,
}


def _both_ways(material: Material) -> bool:
    return bool(material.loaded.config.model.bidirectional)
