"""Each measurement as `diagnose` takes it: from the material to its record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rnnctl.diagnostics import (
    effect,
    evidence,
    first_last,
    gates,
    hold,
    lyapunov,
    position,
    reach,
    use,
)
from rnnctl.diagnostics.material import Material
from rnnctl.diagnostics.model_subject import LanguageModelSubject
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.traceable import ExactModel
from rnnctl.nn.models import LanguageModel
from rnnctl.results.diagnostics import (
    EffectRecord,
    FirstLastRecord,
    GatesRecord,
    HoldRecord,
    PositionRecord,
    ReachRecord,
    UseRecord,
)

ONE_DIRECTION = "the model reads in both directions: nothing is early for both"


def _language(material: Material) -> LanguageModelSubject | None:
    model = material.loaded.model
    if not isinstance(model, LanguageModel):
        return None
    return LanguageModelSubject(model, boundary_id=material.loaded.tokenizer.boundary_id)


def _use(material: Material, settings: Settings) -> UseRecord:
    subject = _language(material)
    if subject is None:
        return UseRecord(status="not_applicable", note="USE is about the loss of language models")
    if not settings.reference:
        return use.measure(subject, material.sample, settings)
    found = material.n_gram
    if isinstance(found, str):
        record = use.measure(subject, material.sample, settings)
        return record.model_copy(update={"reference": f"not known: {found}"})
    return use.measure(subject, material.sample, settings, found)


def _first_last(material: Material, settings: Settings) -> FirstLastRecord:
    subject = _language(material)
    if subject is None:
        note = "FIRST→LAST is about the loss of language models"
        return FirstLastRecord(status="not_applicable", note=note)
    return first_last.measure(subject, material.sample, settings)


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
    read = _to_the_answer(material, sample) if material.loaded.labels else sample
    found = reach.measure(exact, read, settings)
    spectrum = lyapunov.measure(exact, sample, settings)
    return found.model_copy(update={"lyapunov": spectrum})


def _to_the_answer(material: Material, sample: Sample) -> Sample:
    """Documents as a classifier reads them, with labels: its own answers where there are none."""
    if sample.labels is None:
        answers = evidence.batched_logits(material.subject, sample.ids).argmax(1)
        sample = replace(sample, labels=answers)
    return sample.ended(material.subject.boundary_id)


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


def _both_ways(material: Material) -> bool:
    return bool(material.loaded.config.model.bidirectional)


MEASURES: dict[str, Callable[[Material, Settings], Any]] = {
    "use": _use,
    "first_last": _first_last,
    "effect": _effect,
    "hold": _hold,
    "reach": _reach,
    "gates": _gates,
    "position": _position,
}
