"""Read runs into members, without torch, and refuse what cannot be compared.

Everything comes from files that the run keeps: its settings, ``results/train.json`` (quality,
learning curve), ``results/diagnose.json`` (memory), and ``results/speed.json``,
``results/exchange.json`` and ``results/pairs.json`` (measured by ``compare`` itself, after
training).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rnnctl import catalog
from rnnctl.compare.groups import recipe
from rnnctl.compare.pairs import by_attractors
from rnnctl.compare.plan import UNTRAINED_LR
from rnnctl.data.bench_tasks import chance, parse
from rnnctl.errors import MissingExtraError, RnnctlError, RunError, UsageError, word
from rnnctl.nn.cells import find_cell
from rnnctl.results.base import Curve, Estimate
from rnnctl.results.comparison import DiagnosedOn, ExchangeRecord, Failure, Member, SpeedRecord
from rnnctl.results.inference import PairsRecord
from rnnctl.runs import Run, find_runs
from rnnctl.statistics import no_better_than_counting, still_improving
from rnnctl.tasks.base import find_task

Json = dict[str, Any]


def find_members(paths: Sequence[Path]) -> list[Path]:
    """Every run under the given directories. Raises RunError where there is none."""
    found: list[Path] = []
    for path in paths:
        runs = list(find_runs(path))
        if not runs:
            raise RunError(
                f"{path} is not a run, and there are no runs in it", hint="`rnnctl runs` lists runs"
            )
        found += [run for run in runs if run not in found]
    return found


def read_all(paths: Sequence[Path]) -> tuple[list[Member], list[Failure]]:
    """The members that can be read, and why the others cannot."""
    members, failures = [], []
    for path in paths:
        try:
            members.append(read_member(path))
        except MissingExtraError as problem:  # a package's fault, which no training mends
            failures.append(Failure(name=str(path), reason=f"{problem.message}; {problem.hint}"))
        except RnnctlError as problem:
            command = f"rnnctl train --resume {word(path)}"
            failures.append(Failure(name=str(path), reason=problem.message, command=command))
    return members, failures


def nothing_left(failures: Sequence[Failure]) -> RunError:
    """The error to raise when no run could be read."""
    first = failures[0]
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    hint = f"`{first.command}`" if first.command else ""
    return RunError(f"nothing to compare: {first.reason}{more}", hint=hint)


def read_member(path: Path) -> Member:
    """One run as a member. RunError for a run that is damaged or whose training did not finish."""
    run = Run.open(path)
    if "train" not in run.results():
        raise RunError(f"{path}: its training did not finish")
    train = run.read_result("train")
    diagnosis = run.read_result("diagnose") if "diagnose" in run.results() else {}
    model = run.config.model
    embedding = model.embedding_size or model.hidden_size
    directions = 2 if model.bidirectional else 1
    cell = find_cell(model.cell)
    shape = (embedding, model.hidden_size, model.num_layers, directions)
    spec, diagnosed = _bench(run), _diagnosed(diagnosis)
    loss, n_gram = (
        _at(diagnosis, "use", "scalars", name, "estimate") for name in ("loss", "reference_loss")
    )
    pairs: PairsRecord | None = kept_record(run, "pairs", PairsRecord)
    attractors = by_attractors(pairs.attractors) if pairs is not None else None
    return Member(
        path=str(path),
        cell=model.cell,
        init=model.init,
        seed=run.config.training.seed,
        task=model.task,
        level=run.config.tokenizer.level,
        corpus=spec or str(train.get("corpus", "")),
        fingerprint=str(train.get("corpus_fingerprint") or ""),
        split=_reported_split(train),
        unit=diagnosed.unit if diagnosed else None,
        bench=spec,
        lag=_lag(spec),
        chance=chance(spec).get("accuracy") if spec else None,
        hidden_size=model.hidden_size,
        embedding_size=embedding,
        layers=model.num_layers,
        parameters=train.get("parameters"),
        # Runs of older versions keep no such number.
        recurrent_parameters=train.get("recurrent_parameters") or cell.parameters(*shape),
        macs_per_token=cell.macs_per_token(*shape),
        lr=run.config.training.lr,
        recipe=recipe(run.config),
        tokens_seen=train.get("tokens"),
        train_seconds=_train_seconds(train),
        still_improving=_still_improving(train),
        no_better_than_counting=no_better_than_counting(loss, n_gram),
        untrained=run.config.training.lr <= UNTRAINED_LR,
        values=_values(train, diagnosis) | ({"pairs": pairs.total.accuracy} if pairs else {}),
        curves=_curves(train, diagnosis) | ({"attractors": attractors} if attractors else {}),
        explodes=_explodes(diagnosis),
        diagnosed=diagnosed,
        speed=kept_record(run, "speed", SpeedRecord),
        exchange=kept_record(run, "exchange", ExchangeRecord),
        pairs=pairs,
    )


def _at(record: Json, *names: str) -> Any:
    """What stands under these names, one inside the other; None where one is missing or null."""
    found: Any = record
    for name in names:
        found = (found or {}).get(name)
    return found


def check_language_models(paths: Sequence[Path], option: str) -> None:
    """UsageError for the first run on a text that gives labels."""
    for path in paths:
        run = Run.open(path)
        if find_task(run.config.model.task).labelled and _bench(run) is None:
            raise UsageError(
                f"{option} is for language models, and {path} is a classifier",
                hint="leave it out, or name only language models",
            )


def _bench(run: Run) -> str | None:
    sources = run.config.corpus.sources
    return sources[0] if len(sources) == 1 and sources[0].startswith("task:") else None


def _lag(spec: str | None) -> int | None:
    if spec is None:
        return None
    options = parse(spec).options
    return int(options["lag"]) if "lag" in options else None


def _diagnosed(diagnosis: Json) -> DiagnosedOn | None:
    if not diagnosis:
        return None
    data = diagnosis.get("data") or {}
    # The curve that the horizon is read off: its ends say what could have been found at all.
    by_effect = _at(diagnosis, "headline", "kind") == "effect_half"
    curve = _CURVES["effect" if by_effect else "use"]
    distances = _at(diagnosis, curve[0], "curves", curve[1], "x") or ()
    return DiagnosedOn(
        text=str(data.get("sha256", "")),
        preset=str(diagnosis.get("preset", "")),
        seed=diagnosis.get("seed"),
        longest=max(distances, default=None),
        shortest=min((x for x in distances if x > 0), default=None),
        unit=str(data.get("distance_unit", "words")),
    )


def sections(path: Path) -> set[str]:
    """What the diagnosis that a run keeps has measured. RunError if it is damaged."""
    run = Run.open(path)
    diagnosis = run.read_result("diagnose") if "diagnose" in run.results() else {}
    return {name for name in catalog.names("diagnostic") if diagnosis.get(name)}


def _train_seconds(train: Json) -> float | None:
    timing = train.get("timing") or {}
    return timing.get("train_s", timing.get("training_s", timing.get("total_s")))


def _still_improving(train: Json) -> bool:
    """By the validations, so that it is known of runs of every age."""
    if not any(split.get("split") == "valid" for split in train.get("splits") or ()):
        return False  # then the curve is of the training text
    points = [(p["step"], p.get("value"), p.get("accuracy")) for p in train.get("curve") or ()]
    return still_improving(points, str(train.get("stop_reason"))) is not None


def _reported_split(train: Json) -> str:
    """The split that quality is read from: test where the run has one, else valid."""
    measured = [
        split.get("split")
        for split in train.get("splits", ())
        if split.get("losses") or split.get("classification")
    ]
    return "test" if "test" in measured else "valid"


def _values(train: Json, diagnosis: Json) -> dict[str, Estimate]:
    values = _quality(train)
    if (seconds := _train_seconds(train)) is not None:
        values["train_seconds"] = Estimate(estimate=seconds, unit="s")
    # A diagnosis of its own goes before the short one that a training ends with.
    if headline := diagnosis.get("headline") or _closing_headline(train):
        values["horizon"] = _estimate(headline)
    for key, (section, name) in _SCALARS.items():
        if scalar := _at(diagnosis, section, "scalars", name):
            values[key] = _estimate(scalar)
    return values


def _closing_headline(train: Json) -> Json:
    """The headline that a training ended with; none where it is rougher than a diagnosis's."""
    found: Json = train.get("diagnosis") or {}
    return {} if found.get("rough") else found


# column -> where a diagnosis keeps it
_SCALARS = {
    "early_gain_50": ("use", "early_gain_50"),
    "first_last": ("first_last", "rise_percent"),
    "effect_half": ("effect", "half_distance"),
    "retention_start": ("effect", "retention_start"),
    "hold_half": ("hold", "hold_half"),
    "gradient_half_life": ("reach", "half_life"),
    "reach_1pct": ("reach", "reach_1pct"),
    "tau_p50": ("gates", "tau_p50"),
    "first_over_last": ("position", "first_over_last"),
}


def _quality(train: Json) -> dict[str, Estimate]:
    wanted = _reported_split(train)
    split: Json = next((s for s in train.get("splits", ()) if s.get("split") == wanted), {})
    # How the model reads in use; cold windows would count against it what it may remember.
    whole = (s for s in split.get("losses", ()) if s.get("protocol") in ("streaming", "document"))
    found: Json = next(whole, {})
    keys = ("bits_per_byte", "perplexity")
    if classification := split.get("classification"):
        found, keys = classification, ("accuracy", "macro_f1")
    return {key: Estimate(estimate=found[key]) for key in keys if found.get(key) is not None}


def _estimate(found: Json) -> Estimate:
    fields = {key: found[key] for key in Estimate.model_fields if key in found}
    return Estimate.model_validate(fields)


def _explodes(diagnosis: Json) -> bool | None:
    block = _gradient(diagnosis)
    return bool(block.get("explodes")) if block else None


def _gradient(diagnosis: Json) -> Json:
    """What REACH says of the state that a gradient goes furthest along: h, or the LSTM's c."""
    reach = diagnosis.get("reach") or {}
    return _at(reach, "blocks", str(reach.get("main_block"))) or {}


def _curves(train: Json, diagnosis: Json) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    if points := train.get("curve"):
        labelled = any(point.get("accuracy") is not None for point in points)
        key = "accuracy" if labelled else "value"
        item = find_task(str(train.get("task") or "classify")).unit
        unit = "validation accuracy" if labelled else f"validation nats per {item}"
        # Against tokens: steps of members with other batches are not of one size.
        per_step = (train.get("tokens") or 0) / max(1, train.get("steps") or 1)
        curves["learning"] = Curve(
            x_unit="tokens trained on", y_unit=unit,
            x=tuple(round(point["step"] * per_step) for point in points),
            y=tuple(point.get(key) for point in points),
        )  # fmt: skip
    for name, (section, curve) in _CURVES.items():
        if found := _at(diagnosis, section, "curves", curve):
            curves[name] = Curve.model_validate(found)
    if geometric := _gradient(diagnosis).get("geo"):
        curves["gradient"] = Curve.model_validate(geometric)
    return curves


_CURVES = {"use": ("use", "foreign"), "effect": ("effect", "r"), "hold": ("hold", "state")}


def kept_record(run: Run, name: str, kind: type[Any]) -> Any:
    """What a run keeps as ``results/NAME.json``; None where it keeps none. RunError if damaged."""
    if name not in run.results():
        return None
    try:
        # What is kept is a whole result; its environment and the like are not part of a record.
        return kind.model_validate(
            {key: value for key, value in run.read_result(name).items() if key in kind.model_fields}
        )
    except ValidationError as problem:
        raise RunError(f"{run.path}: results/{name}.json cannot be read: {problem}") from None


def check_comparable(members: Sequence[Member]) -> None:
    """RunError with the reason where members differ in corpus, split, task or unit.

    A member that was not diagnosed has no unit, and agrees with any.
    """
    if not members:
        raise RunError("there is nothing to compare", hint="name runs, or a folder of runs")
    for name, say in _MUST_AGREE.items():
        known = [member for member in members if getattr(member, name) is not None]
        for first, other in itertools.product(known[:1], known[1:]):
            mine, theirs = getattr(first, name), getattr(other, name)
            if mine != theirs and (mine or theirs):
                raise RunError(
                    f"{first.path} and {other.path} cannot be compared: {say} {_short(mine)} "
                    f"and {_short(theirs)}",
                    hint="compare runs with the same corpus, splits and task",
                )


_MUST_AGREE = {
    "task": "their tasks are",
    "fingerprint": "they were trained on different texts or different splits, fingerprints",
    "split": "their quality was measured on different splits,",
    "unit": "their distances are in different units,",
}


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) > 24 else (text or "unknown")


def quality_of(members: Sequence[Member]) -> str:
    """The column that says how good a model is at its task."""
    return find_task(members[0].task).quality
