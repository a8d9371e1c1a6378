"""`diagnose` on paper: headline, panel, curves on a common axis of distance, checks, warnings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from rnnctl.reports.blocks import Block, Bullets, Chart, Heading, KeyValues, Paragraph, table
from rnnctl.reports.numbers import SPARKS, estimate, fixed, interval, number
from rnnctl.results.base import Curve, Estimate, Result
from rnnctl.results.diagnostics import (
    DiagnosticsResult,
    HeadlineRecord,
    ModelRecord,
    PanelRow,
    Sampling,
)

COLUMNS = 32  # of a curve
NAMES = ("use", "effect", "hold", "reach", "gates", "position")
PLURALS = {"document": "documents", "stretch": "stretches", "filler text": "filler texts"}
PHRASES = {
    "n_eff_foreign": "context for the last 1 % of perplexity",
    "n_eff_zero": "the same, started from a zero state",
    "early_gain_50": "gain from beyond 50 words",
    "overtakes_reference": "context to predict like an n-gram",
    "half_distance": "evidence counts half as much after",
    "retention_10": "what counts 10 words back, of 1",
    "retention_30": "what counts 30 words back, of 1",
    "retention_100": "what counts 100 words back, of 1",
    "b_near": "effect when near",
    "hold_half": "half of the bits are gone after",
    "bits_0": "bits about the word just read",
    "bits_100": "bits about a word 100 words back",
    "half_life": "gradient halves within",
    "tail_tau": "far out it falls by 1/e every",
    "reach_1pct": "1 % of it arrives from",
    "n_slow": "directions that outlive 100 tokens",
    "tau_p50": "time constant of the median unit",
    "tau_p90": "… of the slowest tenth of units",
    "reset_rate": "share of gates that erase (< 0.1)",
    "first_over_last": "weight of a first fifth over a last",
    "reference_first_over_last": "the same of a bag of words (truly 1)",
    "first_opposite_flips": "answers flipped by another beginning",
    "last_opposite_flips": "answers flipped by another end",
    "bits_per_byte": "bits per byte",
    "perplexity": "perplexity per token",
    "loss_nats": "loss on the validation text",
    "loss_here": "loss on this text",
    "reference_loss": "loss of an n-gram on this text",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "training_tokens_per_s": "training speed",
}
UNITS = {
    "loss_nats": "nats",
    "loss_here": "nats",
    "reference_loss": "nats",
    "training_tokens_per_s": "tokens/s",
    "early_gain_50": "%",
    "b_near": "nats",
    "n_slow": "",
}
NO_UNIT = ("ratio", "share")
QUESTIONS = {
    "use": "USE: text that the loss needs",
    "effect": "EFFECT: pull of early evidence",
    "hold": "HOLD: what the state still holds",
    "reach": "REACH: how far back learning gets",
    "gates": "GATES: implied, not measured",
    "position": "POSITION: does place matter?",
    "quality": "QUALITY: is the model any good?",
}


def blocks(result: Result) -> list[Block]:
    """The report of a diagnosis."""
    assert isinstance(result, DiagnosticsResult)
    return list(_blocks(result))


def _blocks(result: DiagnosticsResult) -> Iterator[Block]:
    yield Heading(f"What {result.model.id} remembers", 1)
    yield KeyValues(tuple(_facts(result)))
    if result.headline.status != "not_applicable":
        yield from headline_blocks(result.headline)
    if result.verdict:
        yield Paragraph(result.verdict, "plain")
    yield _panel(result)
    yield from _asides(result)
    for name in NAMES:
        record = getattr(result, name)
        if record is not None and record.status == "not_applicable":
            yield Paragraph(f"{name.upper()}: {record.note}", "note")
    if any(_drawn(result)):
        yield Heading("By distance")
        yield Chart(
            (_axis(result), *_curves(result)), "from near (left) to far; bars: ▁ none to █ full"
        )
    compared = [check for check in result.cross_checks if check.passed is not None]
    if compared:
        yield Heading("Cross-checks: ✓ agree, ! differ")
        marks = {True: "✓", False: "!"}
        yield Bullets(tuple(f"{marks[bool(c.passed)]} {c.name}: {c.text}" for c in compared))
    for warning in result.warnings:
        yield Paragraph(warning.text, "warning")
    yield _instrument(result)


def _facts(result: DiagnosticsResult) -> Iterator[tuple[str, str]]:
    model, data = result.model, result.data
    yield "model", _model(model)
    yield "training", ", ".join(_training(model, result))
    amount = f"{data.tokens:,} tokens, {data.words_per_token * data.tokens:,.0f} words"
    kind = "running text" if data.running else f"{data.documents:,} documents"
    yield "text", f"{data.name}: {kind}, {amount}; sha256 {data.sha256[:12]}"
    yield "measured", f"preset {result.preset}, seed {result.seed}; intervals are 95 %"


def _model(model: ModelRecord) -> str:
    task = {"classifier": "classifier"}.get(model.task, f"{model.task[3:]} language model")
    layers = f"{model.layers} layer{'s' if model.layers > 1 else ''} of {model.hidden}"
    cell = model.cell.upper() + (f" ({model.nonlinearity})" if model.nonlinearity else "")
    both = ", both directions" if model.bidirectional else ""
    readout = "" if model.readout == "each step" else f", read from: {model.readout}"
    return f"{cell} {task}, {layers}{both}{readout}, {model.parameters:,} parameters"


def _training(model: ModelRecord, result: DiagnosticsResult) -> Iterator[str]:
    yield f"seed {model.seed}"
    yield f"init {model.init}"
    if model.train_loss_nats is not None:
        yield f"training loss {model.train_loss_nats:.3f} nats"
    if model.train_bptt is not None:
        words = result.headline.train_bptt_words
        shown = f" ({number(words)} {result.data.distance_unit})" if words else ""
        yield f"chunks of {model.train_bptt} tokens{shown}"
    carried = model.state_policy == "carried"
    yield "state carried on" if carried else "state zeroed at document starts"


def headline_blocks(head: HeadlineRecord) -> Iterator[Block]:
    """The one number, what it means, and what stands beside it."""
    yield Paragraph(f"Memory horizon: {_with_unit(head)}", "strong")
    yield Paragraph(f"{head.sentence[:1].upper()}{head.sentence[1:]}.", "plain")
    for name, beside in head.beside.items():
        if beside.estimate is None and beside.status != "censored":
            continue
        if name == "zero_state":
            text = f"started from a zero state instead of a foreign text: {_with_unit(beside)}"
        else:
            text = (
                f"at the start of a text of usual length an opinion counts {estimate(beside)} "
                "times what it counts at the end"
            )
        yield Paragraph(text, "note")


def _with_unit(value: Estimate) -> str:
    return estimate(value, with_unit=True)


def _panel(result: DiagnosticsResult) -> Block:
    rows: list[tuple[str, str, str]] = []
    strong, unit = [], result.data.distance_unit
    for row in result.panel:
        if not row.numbers:
            continue
        strong.append(len(rows))
        rows.append((QUESTIONS.get(row.name, row.name), "", ""))
        for what, shown, ends in _numbers(row):
            rows.append((what.replace("words", unit), shown, ends))
    return table(("", "measured", "95 %"), rows, align="lrl", strong_rows=strong)


def _numbers(row: PanelRow) -> Iterator[tuple[str, str, str]]:
    """(what, value with unit, interval) of each number of a row; why, where there is none."""
    for name, value in row.numbers.items():
        if value.status == "not_applicable":
            yield f"  {PHRASES.get(name, name)}", "not defined", ""
            continue
        unit = UNITS.get(name, "" if value.unit in NO_UNIT else value.unit)
        bare = estimate(value.model_copy(update={"ci95": (None, None)}))
        ends = interval(*value.ci95, 2) if value.estimate is not None else ""
        if unit in ("%", "bits") and value.estimate is not None and None not in value.ci95:
            bare, (low, high) = fixed(value.estimate, 2), value.ci95
            ends = f"[{fixed(low, 2)}, {fixed(high, 2)}]"
        exists = value.estimate is not None or value.status == "censored"
        shown = f"{bare} {unit}".strip() if exists else bare
        yield f"  {PHRASES.get(name, name)}", shown, ends


def _asides(result: DiagnosticsResult) -> Iterator[Block]:
    """What the panel's numbers rest on, and why some of them do not exist."""
    for row in result.panel:
        record = getattr(result, row.name, None)
        for name, value in row.numbers.items():
            said = record is not None and value.note == record.note  # a warning says it already
            if value.estimate is None and value.status != "censored" and value.note and not said:
                yield Paragraph(f"{PHRASES.get(name, name)}: {value.note}", "note")
    if result.use is not None and result.use.reference:
        yield Paragraph(f"n-gram: {result.use.reference}", "note")
    resampled = [
        f"{name.upper()} {_units(record.sampling)}"
        for name in NAMES
        if (record := getattr(result, name)) is not None and record.sampling is not None
    ]
    if resampled:
        yield Paragraph(f"intervals resample: {'; '.join(resampled)}", "note")


def _units(sampling: Sampling) -> str:
    """'96 stretches of 512 tokens' for 96 of 'stretch of 512 tokens'."""
    for one, many in PLURALS.items():
        if sampling.n != 1 and sampling.unit.startswith(one):
            return f"{sampling.n:,} {many}{sampling.unit[len(one) :]}"
    return f"{sampling.n:,} {sampling.unit}"


def _curves(result: DiagnosticsResult) -> Iterator[str]:
    """One line per curve, all on one logarithmic axis of words (or characters)."""
    grid = _grid(result)
    for name, curve, scale, low, high, text in _drawn(result):
        line = "".join(_bar(_at(curve, x / scale), low, high) for x in grid)
        yield f"{name:<11}{line}  {text}"


def _drawn(
    result: DiagnosticsResult,
) -> Iterator[tuple[str, Curve, float, float, float, str]]:
    """(name, curve, words per unit of its x, bottom, top, caption); bottom > 0: log scale."""
    unit = result.data.distance_unit
    per_token = result.data.words_per_token if unit == "words" else result.data.chars_per_token
    if result.use is not None and "foreign" in result.use.curves:
        curve = result.use.curves["foreign"]
        top = max((y for y in curve.y if y is not None), default=1.0)
        top = max(top, 0.01)
        yield "USE", curve, 1.0, 0.001, top, f"excess, █ {number(top, 2)} {curve.y_unit} (log)"
    if result.effect is not None and "r" in result.effect.curves:
        yield "EFFECT", result.effect.curves["r"], 1.0, 0.0, 1.0, "what still counts, █ all of it"
    if result.hold is not None and "state" in result.hold.curves:
        bits = math.log2(result.hold.choices)
        yield (
            "HOLD",
            result.hold.curves["state"],
            1.0,
            0.0,
            bits,
            f"bits that can be read, █ {bits:g}",
        )
    if result.reach is not None:
        for name, block in result.reach.blocks.items():
            if name in ("h", "c"):
                text = "gradient, █ as at lag 1 (log)"
                yield f"REACH {name}", block.geo, per_token, 1e-4, 1.0, text


def _grid(result: DiagnosticsResult) -> list[float]:
    """Distances of the columns in words, evenly in the logarithm, from one token to the last."""
    drawn = list(_drawn(result))
    last = max(curve.x[-1] * scale for _, curve, scale, *_ in drawn)
    first = min(1.0, result.data.words_per_token)
    if result.data.distance_unit == "chars":
        first = min(1.0, result.data.chars_per_token)
    span = math.log(max(2.0, last / first))
    return [first * math.exp(span * k / (COLUMNS - 1)) for k in range(COLUMNS)]


def _axis(result: DiagnosticsResult) -> str:
    """The axis: 0.3, 1, 3, 10, 30, … over the columns where they are."""
    grid = _grid(result)
    marks = [" "] * (COLUMNS + 4)
    free = 0
    for value in (0.3, 1, 3, 10, 30, 100, 300, 1000, 3000):
        if not grid[0] <= value * 1.001 <= grid[-1] * 1.02:
            continue
        share = math.log(value / grid[0]) / math.log(grid[-1] / grid[0])
        at = max(0, round(share * (COLUMNS - 1)))
        if at >= free:
            marks[at : at + len(str(value))] = str(value)
            free = at + len(str(value)) + 1
    return f"{result.data.distance_unit + ' back':<11}{''.join(marks).rstrip()}"


def _at(curve: Curve, x: float) -> float | None:
    """The curve at x, interpolated in log(1 + x); None outside of it."""
    known = [(a, b) for a, b in zip(curve.x, curve.y, strict=True) if b is not None]
    if not known or x > known[-1][0] * 1.001 or x < known[0][0] * 0.999:
        return None
    for (left, below), (right, above) in pairwise(known):
        if x <= right:
            share = (math.log1p(x) - math.log1p(left)) / (math.log1p(right) - math.log1p(left))
            return below + share * (above - below)
    return known[-1][1]


def _bar(value: float | None, low: float, high: float) -> str:
    if value is None:
        return " "
    if low > 0:
        span = math.log(high / low)
        share = math.log(max(value, low) / low) / span if span > 0 else 0.0
    else:
        share = (value - low) / (high - low)
    return SPARKS[max(0, min(len(SPARKS) - 1, round(share * (len(SPARKS) - 1))))]


def _instrument(result: DiagnosticsResult) -> Block:
    check = result.selftest
    if check is None:
        return Paragraph("`rnnctl selftest` checks the instrument on known answers", "hint")
    total = check.passed + check.failed
    if check.failed:
        text = f"instrument check: only {check.passed}/{total} passed; see `rnnctl selftest`"
        return Paragraph(text, "warning")
    return Paragraph(f"instrument check: {total}/{total} passed", "note")
