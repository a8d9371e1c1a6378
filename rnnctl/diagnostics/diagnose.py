"""What `diagnose` does, from a run to its result, and which result a run keeps.

A run keeps one diagnosis, which comparisons rest on, so that it must not change unnoticed: that on
the run's own held-out text (of a run that keeps none: on the text it was given) with the usual seed
and evidence. A diagnosis of some of the measurements only replaces those, and only in one that was
made alike.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from rnnctl import catalog
from rnnctl.diagnostics import checks, effect, panel, use
from rnnctl.diagnostics.material import Material, Text, heldout
from rnnctl.diagnostics.measurements import CLASSIFIER, LANGUAGE, Diagnostic
from rnnctl.diagnostics.panel import verdict
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.selftest import remembered
from rnnctl.diagnostics.settings import PRESETS, Arm, Settings, for_spelled
from rnnctl.diagnostics.subject import CachedModelSubject
from rnnctl.errors import CorruptRunError, DataError, RunError, UsageError, word
from rnnctl.inference.memory_settings import Cache
from rnnctl.inference.training_text import by_document
from rnnctl.nn.cells import find_cell
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.reports.numbers import percent
from rnnctl.results.base import Estimate, Warning_
from rnnctl.results.diagnostics import (
    DataRecord,
    DiagnosticsResult,
    HeadlineRecord,
    Measurement,
    ModelRecord,
)
from rnnctl.runs import Run
from rnnctl.runs.heldout import HELDOUT_NAME
from rnnctl.tasks.loading import Loaded, environment, parameter_count

Tell = Callable[[str], None]
CACHED_RESETS = 128  # of USE with a cache, whose contexts are long
FLOPS = 45e9
"""Floating-point operations in a second: two cores with AVX2 do as many."""
USE_SECONDS = 20.0
"""Of the quick preset, which larger models may take longer than, with fewer resets."""
FEWEST_RESETS = 0.5
"""Share of a preset's resets that the largest models get."""
CONTEXTS_READ = 3
"""Longest contexts that USE reads for each of a preset's resets: of the text as it is, and of both
starts in both passes. In running text and long documents 1.3 to 4 were counted, in short ones less.
"""
SCORED = 42
"""Times `per_bin` targets that it scores for each of a preset's resets; 19 to 43 were counted."""


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
    unknown name, and for items or more than the two usual arms where nothing is measured with
    them; whatever else cannot be measured has a status and a sentence in the result.
    """
    chosen = _chosen(names, loaded)
    if items is not None and not loaded.labels:
        raise UsageError(
            "--items has no effect here: it is evidence for classifiers, and this run is a "
            "language model",
            hint="leave it out",
        )
    if len(arms) > 2 and (loaded.labels or "use" not in chosen):
        raise UsageError(
            "--beyond has no effect here: it changes USE, which is not measured",
            hint="leave it out, or measure USE of a language model",
        )
    settings = replace(PRESETS[preset], seed=seed, arms=tuple(arms))
    settings = replace(settings, reference=settings.reference and reference)
    if isinstance(loaded.model, LanguageModel):
        # A page of a large model must not take minutes; fewer resets widen the interval and move
        # nothing.
        settings = replace(settings, resets=round(share_of_resets(loaded.model) * settings.resets))
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
    # Contexts must be longer than the cache: what it holds is memory by design, and the question is
    # what the model with it forgets.
    material = Material(loaded, text or heldout(loaded), result.seed or 0, None)
    settings = replace(
        PRESETS["quick"],
        seed=result.seed or 0,
        arms=("foreign",),
        n_max=cache.size + PRESETS["quick"].n_max,
        resets=CACHED_RESETS,
        reference=False,
        together=False,
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
    rough = f"measured on {percent(share, 0)} of the sample that `rnnctl diagnose` takes"
    return found.model_copy(update={"rough": rough})


def share_of_resets(model: LanguageModel) -> float:
    """How many of a preset's resets USE makes: all, or down to `FEWEST_RESETS` in large models.

    By their multiplications and not by the clock, so that it measures the same everywhere.
    """
    work = PRESETS["quick"].resets * _work_of_a_reset(model)
    # Never less than a half, which makes the interval 1.4 times as wide: with a far wider one it
    # would no longer be the same instrument.
    return max(FEWEST_RESETS, min(1.0, FLOPS * USE_SECONDS / work))


def _work_of_a_reset(model: LanguageModel) -> float:
    """Floating-point operations of USE for each reset of the quick preset, roughly."""
    quick = PRESETS["quick"]
    recurrent = 2.0 * sum(p.numel() for p in model.recurrent.parameters())
    decoder = 2.0 * model.decoder.weight.numel()
    return CONTEXTS_READ * quick.n_max * recurrent + SCORED * quick.per_bin * decoder


def _affordable(loaded: Loaded, seconds: float) -> tuple[Settings, float]:
    """Fewer resets (or pairs of evidence) for very large models; and the share that they are.

    Of what `diagnose` takes, see `share_of_resets`.
    """
    model, quick = loaded.model, replace(PRESETS["quick"], reference=False)
    budget = FLOPS * seconds
    if isinstance(model, LanguageModel):
        wanted = round(share_of_resets(model) * quick.resets)
        share = min(1.0, budget / (wanted * _work_of_a_reset(model)))
        # a little more time is better than another number than that of `diagnose`
        share = 1.0 if share > 1 / 1.75 else share
        return replace(quick, resets=max(48, round(share * wanted))), share
    recurrent = 2.0 * sum(p.numel() for p in model.recurrent.parameters())
    # A pair is read in both arms, at every distance, in two kinds of filler.
    texts = 2 * len(effect.distances(quick.filler_words)) * 2
    pairs = budget / (texts * quick.filler_words * recurrent)
    share = min(1.0, pairs / quick.evidence)
    return replace(quick, evidence=max(12, round(share * quick.evidence))), share


def _chosen(names: Sequence[str] | None, loaded: Loaded) -> tuple[str, ...]:
    known = catalog.names("diagnostic")
    if not names:
        kind = CLASSIFIER if loaded.labels else LANGUAGE
        return tuple(name for name in known if kind in _diagnostic(name).of)
    wanted = [name.lower().replace("-", "_") for name in names]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        paths = [given for given in names if given.lower().replace("-", "_") in unknown]
        hint = "there are: " + ", ".join(known)
        if all(Path(path).is_dir() for path in paths):
            runs = " ".join(word(path) for path in (loaded.run.path, *paths))
            hint = f"it measures one run at a time; `rnnctl compare {runs}` compares several"
        raise UsageError(f"there is no measurement {paths[0]!r}", hint=hint)
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
            "the memory of a classifier with several labels per text cannot be measured",
            hint="train a classifier with one label for each text",
        )
    begin = time.perf_counter()
    loaded.model.recurrent.keep_ready()
    material = Material(loaded, text, settings.seed, items)
    sample = material.sample
    if sample.spelled:
        settings = for_spelled(settings, sample.units_per_token)
    timing = {"prepare_s": time.perf_counter() - begin}
    model = model_record(loaded)
    bptt_words = None if model.train_bptt is None else sample.distance(model.train_bptt)
    records = timed(names, lambda name: _diagnostic(name).measure(material, settings), timing, tell)
    # A horizon is read against how far the gradient went in training; USE itself does not know
    # that.
    if "use" in records:
        records["use"] = records["use"].model_copy(update={"train_bptt_words": bptt_words})
    timing["total_s"] = time.perf_counter() - begin
    return as_result(
        text,
        sample,
        model,
        panel.Measured.of(records),
        bptt_words=bptt_words,
        warnings=material.warnings,
        timing=timing,
        environment=environment(loaded, "float32 forward, float64 derivatives"),
        seed=material.seed,
        preset=preset,
        selftest=remembered(),
    )


def timed(
    names: Sequence[str],
    measure: Callable[[str], Measurement],
    timing: dict[str, float],
    tell: Tell,
) -> dict[str, Measurement]:
    """The measurements `names`, each announced before it; how long it took goes into `timing`."""
    records = {}
    for name in names:
        tell(name)
        since = time.perf_counter()
        records[name] = measure(name)
        timing[f"{name}_s"] = time.perf_counter() - since
    return records


def as_result(
    text: Text,
    sample: Sample,
    model: ModelRecord,
    measured: panel.Measured,
    *,
    bptt_words: float | None = None,
    warnings: Sequence[Warning_] = (),
    timing: Mapping[str, float],
    **more: object,
) -> DiagnosticsResult:
    """What is said about the measurements, around them. `more`: further fields of the result."""
    head = panel.headline(model, measured, bptt_words)
    data = data_record(text, sample)
    return DiagnosticsResult.model_validate(
        {
            "corpus_fingerprint": sample.fingerprint,
            "warnings": (*text.warnings, *warnings, *checks.warnings(model, measured, head)),
            "timing": {name: round(value, 3) for name, value in timing.items()},
            "model": model,
            "data": data,
            **_said(model, data, measured, head),
            **more,
        }
    )


def _said(
    model: ModelRecord, data: DataRecord, measured: panel.Measured, head: HeadlineRecord
) -> dict[str, object]:
    """The measurements and what follows from them, as a `DiagnosticsResult` has it."""
    return {
        **measured.fields(),
        "headline": head,
        "verdict": verdict(head, measured, data.paragraph_length),
        "panel": panel.rows(model, measured),
        "cross_checks": checks.cross_checks(measured),
    }


# -- what is said about the model and the text ---------------------------------------------------

BLANK_LINES = re.compile(r"\n\s*\n")


def model_record(loaded: Loaded) -> ModelRecord:
    """Which model it is and what it was trained under."""
    config = loaded.config
    model, settings = config.model, config.training
    trained, damaged = _training(loaded)
    directions = 2 if model.bidirectional else 1
    cell = loaded.model.recurrent.cell
    per_layer = len(cell.state_names) * directions * model.hidden_size
    task = "classifier" if loaded.labels else f"lm_{config.tokenizer.level}"
    return ModelRecord.model_validate(
        {
            "id": loaded.run.path.name,
            "task": task,
            "cell": model.cell,
            "nonlinearity": model.nonlinearity if find_cell(model.cell).variants else None,
            "layers": model.num_layers,
            "embedding": model.embedding_size or model.hidden_size,
            "hidden": model.hidden_size,
            "parameters": parameter_count(loaded.model),
            "state_floats": per_layer * model.num_layers,
            "init": model.init if model.horizon is None else f"{model.init} ({model.horizon})",
            "readout": model.pool if isinstance(loaded.model, Classifier) else "each step",
            "bidirectional": model.bidirectional,
            # A classifier's gradient goes back through the whole document: there is no limit to
            # compare with.
            "train_bptt": None if loaded.labels else settings.bptt,
            "train_loss_nats": trained.pop("train_loss_nats", None),
            "state_policy": "carried" if _carried(loaded) else "reset_document",
            "seed": settings.seed,
            "quality": trained,
            "quality_missing": damaged,
        }
    )


def _carried(loaded: Loaded) -> bool:
    """Whether training read on without ever zeroing the state: running text, or by choice."""
    if loaded.labels:
        return False
    return not (loaded.config.training.reset and by_document(loaded))


def _training(loaded: Loaded) -> tuple[dict[str, float], str]:
    """What training measured: of the validation text, and the loss on the training text.

    And what is wrong with the file that should say it; "" where it is whole. A training that has
    not ended has measured nothing yet, and has no such file.
    """
    try:
        result = loaded.run.read_result("train")
    except CorruptRunError as error:
        return {}, str(error)
    except RunError:
        return {}, ""
    found: dict[str, float] = {}
    for split in result.get("splits", ()):
        losses, labelled = split.get("losses") or [], split.get("classification")
        values = (losses[0] if losses else labelled) or {}
        if split.get("split") == "train":
            found["train_loss_nats"] = float(values["loss_nats"])
        elif split.get("split") == "valid":
            for name in ("bits_per_byte", "perplexity", "loss_nats", "accuracy", "macro_f1"):
                if values.get(name) is not None:
                    found[name] = float(values[name])
    speed = result.get("timing", {}).get("tokens_per_s")
    if speed:
        found["training_tokens_per_s"] = float(speed)
    return found, ""


def data_record(text: Text, sample: Sample) -> DataRecord:
    """Which text it is, and what a token is worth in words and characters."""
    return DataRecord(
        name=text.name,
        sha256=sample.fingerprint,
        documents=len(sample.ids),
        running=sample.running,
        tokens=sample.tokens,
        words_per_token=round(sample.words_per_token, 6),
        chars_per_token=round(sample.chars_per_token, 6),
        distance_unit=sample.unit,
        unknown_rate=round(sample.unknown / max(1, sample.tokens), 6),
        paragraph_length=_paragraph_length(text, sample),
    )


def _paragraph_length(text: Text, sample: Sample) -> float | None:
    """Median length of the documents as they are read; in running text, whose headings and one-line
    answers are many, half of all words stand in paragraphs (between blank lines) of at least this
    length.
    """
    running = text.running or len(text.documents) == 1
    parts: Sequence[str] = sample.texts
    if running:
        parts = BLANK_LINES.split("".join(document.text for document in text.documents))
    found = [len(part.split() if sample.unit == "words" else part) for part in parts]
    lengths = np.sort([length for length in found if length])
    if len(lengths) < 2:
        return None
    if not running:
        return float(np.median(lengths))
    # Weighted by length: the plain median of a book with much dialogue is a line of three words.
    return float(lengths[np.searchsorted(np.cumsum(lengths), lengths.sum() / 2)])


# -- keeping a diagnosis in its run --------------------------------------------------------------

USUAL_SEED = 0
_OF_HEADLINE = {"use_neff": "use", "effect_half": "effect"}


def why_apart(run: Run, *, text: str | None, seed: int, items: Path | None, beyond: bool) -> str:
    """Why a diagnosis of `text` is not the one that a run keeps; "" if it is.

    `beyond`: with more ways to alter the text, which shift what is drawn for the usual ones.
    """
    if text is not None and HELDOUT_NAME in run.current.files:
        return "it was measured on another text than the run's own"
    if items is not None:
        return "it was measured with other evidence sentences than usual"
    if beyond:
        return "it was measured with more ways to alter the text than usual"
    return f"it has another seed than {USUAL_SEED}" if seed != USUAL_SEED else ""


def to_keep(run: Run, new: DiagnosticsResult) -> DiagnosticsResult | str:
    """What the run shall keep now that `new` was measured; or why `new` cannot become part of it.

    A diagnosis that has all of what is kept takes its place, in whatever way it was made.
    """
    old = kept(run)
    # A full diagnosis needs nothing of what was kept, so that it may have been made in any way.
    if old is None or sections(old) <= sections(new):
        return new
    made, before = _made(new), _made(old)
    # Measurements of different texts, presets or seeds side by side would look like one diagnosis.
    apart = [f"{name} {was}" for name, was in before.items() if made[name] != was]
    if not apart:
        return merged(old, new)
    if len(sections(old)) < len(sections(new)):
        return new
    return f"the run keeps a more complete diagnosis, of {', '.join(apart)}"


def kept(run: Run) -> DiagnosticsResult | None:
    """The diagnosis of its present weights that a run keeps; None where there is none."""
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
    measured = panel.Measured.of(records)
    # Warnings that follow from measurements are made anew below, from all of them together.
    rest = dict.fromkeys([*_of_the_text(old), *_of_the_text(new)])
    return new.model_copy(
        update={
            **_said(new.model, new.data, measured, head),
            "warnings": (*rest, *checks.warnings(new.model, measured, head)),
            "timing": {**old.timing, **new.timing},
        }
    )


def _of_the_text(result: DiagnosticsResult) -> list[Warning_]:
    """Warnings that do not follow from the measurements."""
    measured = panel.Measured.of(result.records())
    follow = checks.warnings(result.model, measured, result.headline)
    return [warning for warning in result.warnings if warning not in follow]
