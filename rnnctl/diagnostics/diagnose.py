"""What `diagnose` does, from a run to its result; and the headline that ends a training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnctl import catalog
from rnnctl.diagnostics import checks, panel, use
from rnnctl.diagnostics.about import data_record, model_record
from rnnctl.diagnostics.material import Material, Text, heldout
from rnnctl.diagnostics.measurements import CLASSIFIER, LANGUAGE, Diagnostic
from rnnctl.diagnostics.panel import verdict
from rnnctl.diagnostics.selftest import remembered
from rnnctl.diagnostics.settings import PRESETS, Arm, Settings, for_spelled
from rnnctl.diagnostics.subject import CachedModelSubject
from rnnctl.errors import DataError, UsageError
from rnnctl.inference.memory import Cache
from rnnctl.nn.models import LanguageModel
from rnnctl.results.base import Estimate
from rnnctl.results.diagnostics import (
    DiagnosticsResult,
    HeadlineRecord,
    InstrumentCheck,
    ModelRecord,
)
from rnnctl.tasks.loading import Loaded, environment

Tell = Callable[[str], None]
CACHED_RESETS = 96  # of USE with a cache, whose contexts are long


def diagnose(
    loaded: Loaded,
    names: Sequence[str] | None = None,
    *,
    preset: str = "quick",
    text: Text | None = None,
    seed: int = 0,
    items: Path | None = None,
    arms: Sequence[Arm] = ("foreign", "zero"),
    reference: bool = True,
    tell: Tell = lambda name: None,
) -> DiagnosticsResult:
    """Measure what a run's model remembers, on `text` or on the held-out text that the run keeps.

    `names`: which measurements (all that suit the task by default); `items`: a file of evidence
    sentences; `reference`: hold USE against an n-gram model as well; `tell` hears the name of each
    measurement before it starts. Raises DataError where there is no text at all, UsageError for an
    unknown name; whatever else cannot be measured has a status and a sentence in the result.
    """
    chosen = _chosen(names, loaded)
    settings = replace(PRESETS[preset], seed=seed, arms=tuple(arms))
    settings = replace(settings, reference=settings.reference and reference)
    return _measure(loaded, text or heldout(loaded), chosen, settings, preset, items, tell)


def with_cache(
    loaded: Loaded, result: DiagnosticsResult, cache: Cache, text: Text | None = None
) -> DiagnosticsResult:
    """The same with what a cache adds: the horizon at which the model with it forgets.

    USE with a foreign start: the text further back is replaced in the state and in the cache. Fewer
    resets than of the model alone, and contexts as long as the cache. Raises UsageError for a
    classifier.
    """
    model = loaded.model
    if not isinstance(model, LanguageModel):
        raise UsageError(
            "--cache is for language models, and this is a classifier", hint="leave it out"
        )
    material = Material(loaded, text or heldout(loaded), result.seed or 0, None)
    settings = replace(
        PRESETS["quick"],
        seed=result.seed or 0,
        arms=("foreign",),
        n_max=cache.size + PRESETS["quick"].n_max,
        resets=CACHED_RESETS,
        reference=False,
    )
    begin = time.perf_counter()
    subject = CachedModelSubject(model, boundary_id=loaded.tokenizer.boundary_id, cache=cache)
    record = use.measure(subject, material.sample, settings)
    found = record.scalars.get("n_eff_foreign") or Estimate(
        estimate=None, status=record.status, note=record.note
    )
    note = f"with a cache of {cache.size:,} tokens, theta {cache.theta:g}, weight {cache.weight:g}"
    found = found.model_copy(update={"note": f"{note}; {found.note}" if found.note else note})
    beside = {**result.headline.beside, "with_cache": found}
    head = result.headline.model_copy(update={"beside": beside})
    timing = {**result.timing, "cache_s": round(time.perf_counter() - begin, 3)}
    return result.model_copy(update={"headline": head, "timing": timing})


def headline(loaded: Loaded, *, seconds: float = 20) -> HeadlineRecord:
    """The memory horizon alone, on the run's held-out text, in about `seconds` on two cores.

    It is measured on the sample of the quick preset, so that `diagnose` finds the same number. Only
    for a model so large that this would take longer is less measured, and the headline says that
    it is rough. How much follows from the model's size and not from the clock, so that equal
    trainings end in equal headlines.
    """
    settings, share = _affordable(loaded, seconds)
    names = ("use", "first_last") if isinstance(loaded.model, LanguageModel) else ("effect",)
    found = _measure(
        loaded, heldout(loaded), names, settings, "headline", None, lambda name: None
    ).headline
    if share >= 1:
        return found
    rough = f"measured on {share:.0%} of the sample that `rnnctl diagnose` takes"
    return found.model_copy(update={"rough": rough})


def _affordable(loaded: Loaded, seconds: float) -> tuple[Settings, float]:
    """Fewer resets (or pairs of evidence) for very large models; and the share that they are.

    At 45 GFLOP a second, which two cores with AVX2 do.
    """
    model, quick = loaded.model, replace(PRESETS["quick"], reference=False)
    budget = 45e9 * seconds
    recurrent = 2.0 * sum(p.numel() for p in model.recurrent.parameters())
    if isinstance(model, LanguageModel):
        decoder = 2.0 * model.decoder.weight.numel()
        steps, scored = 5 * quick.n_max, 3 * 18 * quick.per_bin
        share = min(1.0, budget / (quick.resets * (steps * recurrent + scored * decoder)))
        resets = max(48, round(share * quick.resets))
        return replace(quick, resets=resets), share
    pairs = budget / (2 * 22 * quick.filler_words * recurrent) / 2
    share = min(1.0, pairs / quick.evidence)
    return replace(quick, evidence=max(12, round(share * quick.evidence))), share


def _chosen(names: Sequence[str] | None, loaded: Loaded) -> tuple[str, ...]:
    known = catalog.names("diagnostic")
    if not names:
        kind = CLASSIFIER if loaded.labels else LANGUAGE
        return tuple(name for name in known if kind in _diagnostic(name).of)
    wanted = [name.replace("-", "_") for name in names]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise UsageError(
            f"there is no measurement {unknown[0]!r}", hint="there are: " + ", ".join(known)
        )
    return tuple(name for name in known if name in wanted)


def _diagnostic(name: str) -> Diagnostic:
    found: Diagnostic = catalog.load("diagnostic", name)
    return found


def _measure(
    loaded: Loaded,
    text: Text,
    names: Sequence[str],
    settings: Settings,
    preset: str,
    items: Path | None,
    tell: Tell,
) -> DiagnosticsResult:
    if loaded.calibration.several:
        raise DataError(
            "what a classifier of texts with several labels remembers is not measured",
            hint="train one with one label for each text",
        )
    begin = time.perf_counter()
    material = Material(loaded, text, settings.seed, items)
    sample = material.sample
    if sample.spelled:
        settings = for_spelled(settings, sample.units_per_token)
    timing = {"prepare_s": time.perf_counter() - begin}
    model = model_record(loaded)
    bptt_words = None if model.train_bptt is None else sample.distance(model.train_bptt)
    measured = _records(material, names, settings, bptt_words, timing, tell)
    timing["total_s"] = time.perf_counter() - begin
    return _result(material, model, measured, bptt_words, preset, timing)


def _records(
    material: Material,
    names: Sequence[str],
    settings: Settings,
    bptt_words: float | None,
    timing: dict[str, float],
    tell: Tell,
) -> panel.Measured:
    """Take every measurement in `names`; how long each took goes into `timing`."""
    records: dict[str, Any] = {}
    for name in names:
        tell(name)
        since = time.perf_counter()
        records[name] = _diagnostic(name).measure(material, settings)
        timing[f"{name}_s"] = time.perf_counter() - since
    if "use" in records:
        records["use"] = records["use"].model_copy(update={"train_bptt_words": bptt_words})
    return panel.Measured.of(records, material.sample.units_per_token)


def _result(
    material: Material,
    model: ModelRecord,
    measured: panel.Measured,
    bptt_words: float | None,
    preset: str,
    timing: dict[str, float],
) -> DiagnosticsResult:
    """What is said about the measurements, around them."""
    head = panel.headline(model, measured, bptt_words)
    data = data_record(material.text, material.sample)
    return DiagnosticsResult.model_validate(
        {
            "environment": environment(material.loaded, "float32 forward, float64 derivatives"),
            "seed": material.seed,
            "corpus_fingerprint": material.sample.fingerprint,
            "warnings": (
                *material.text.warnings,
                *material.warnings,
                *checks.warnings(model, measured, head),
            ),
            "timing": {name: round(value, 3) for name, value in timing.items()},
            "preset": preset,
            "model": model,
            "data": data,
            "headline": head,
            "verdict": verdict(head, measured, data.paragraph_length),
            "panel": panel.rows(model, measured),
            **measured.fields(),
            "cross_checks": checks.cross_checks(measured),
            "selftest": _instrument(),
        }
    )


def _instrument() -> InstrumentCheck | None:
    """The outcome of the last selftest of this version, if there was one."""
    outcome = remembered()
    if outcome is None:
        return None
    passed, failed = outcome
    return InstrumentCheck(passed=passed, failed=failed)
