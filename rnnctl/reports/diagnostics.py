"""`diagnose` on paper: headline, panel, curves on a common axis of distance, checks, warnings."""

from __future__ import annotations

from collections.abc import Iterator

from rnnctl.catalog import DIAGNOSTICS
from rnnctl.reports.blocks import Block, Bullets, Heading, KeyValues, Paragraph, table
from rnnctl.reports.cells import display_name
from rnnctl.reports.diagnostic_curves import curve_blocks
from rnnctl.reports.numbers import estimate, fixed, interval, number, usual_digits
from rnnctl.results.base import Estimate, Result
from rnnctl.results.diagnostics import (
    DiagnosticsResult,
    HeadlineRecord,
    ModelRecord,
    PanelRow,
    Sampling,
)
from rnnctl.wording import plural, with_unit

NAMES = tuple(DIAGNOSTICS)
PLURALS = {"document": "documents", "stretch": "stretches", "filler text": "filler texts"}
PHRASES = {
    "n_eff_foreign": "other text further back costs 1 % from",
    "n_eff_zero": "missing text further back costs 1 % from",
    "early_gain_50": "gain from beyond 50 words",
    "overtakes_reference": "context to predict like an n-gram",
    "rise": "rise of the last sentence's loss",
    "rise_percent": "rise of its perplexity",
    "worse": "share of documents predicted worse",
    "distance": "between the two in the median document",
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
    "rise": "nats",
    "rise_percent": "%",
    "b_near": "nats",
    "n_slow": "",
}
NO_UNIT = ("ratio", "share")
NEAR_PHRASES = {
    "half_distance": "from 4 to 8 words on it halves within",
    "b_near": "effect 4 to 8 words back",
}
"""Of language models, whose effect is compared with that of words nearby, not at the very end."""
SPELLING = (
    "the losses on this text leave out the spelling of unknown words, which the loss on the "
    "validation text is charged with"
)
QUESTIONS = {
    "use": "USE: text that the loss needs",
    "first_last": "FIRST→LAST: what the beginning counts",
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
    yield from curve_blocks(result)
    compared = [check for check in result.cross_checks if check.passed is not None]
    if compared:
        yield Heading("Cross-checks: ✓ agree, ! differ")
        marks = {True: "✓", False: "!"}
        yield Bullets(tuple(f"{marks[bool(c.passed)]} {c.name}: {c.text}" for c in compared))
    for warning in result.warnings:
        yield Paragraph(warning.text, "warning")
    yield _instrument(result)
    yield Paragraph("`rnnctl compare RUN RUN` says which of several runs remembers more", "hint")


def _facts(result: DiagnosticsResult) -> Iterator[tuple[str, str]]:
    model, data = result.model, result.data
    yield "model", _model(model)
    yield "training", ", ".join(_training(model, result))
    words = round(data.words_per_token * data.tokens)
    amount = f"{plural(data.tokens, 'token')}, {plural(words, 'word')}"
    kind = "running text" if data.running else plural(data.documents, "document")
    yield "text", f"{data.name}: {kind}, {amount}; sha256 {data.sha256[:12]}"
    yield "measured", f"preset {result.preset}, seed {result.seed}; intervals are 95 %"


def _model(model: ModelRecord) -> str:
    task = {"classifier": "classifier"}.get(model.task, f"{model.task[3:]} language model")
    layers = f"{plural(model.layers, 'layer')} of {model.hidden}"
    cell = display_name(model.cell) + (f" ({model.nonlinearity})" if model.nonlinearity else "")
    both = ", both directions" if model.bidirectional else ""
    readout = "" if model.readout == "each step" else f", read from: {model.readout}"
    return f"{cell} {task}, {layers}{both}{readout}, {plural(model.parameters, 'parameter')}"


def _training(model: ModelRecord, result: DiagnosticsResult) -> Iterator[str]:
    yield f"seed {model.seed}"
    yield f"init {model.init}"
    if model.train_loss_nats is not None:
        yield f"training loss {model.train_loss_nats:.3f} nats"
    if model.train_bptt is not None:
        words = result.headline.train_bptt_words
        shown = f" ({with_unit(number(words), result.data.distance_unit)})" if words else ""
        yield f"chunks of {plural(model.train_bptt, 'token')}{shown}"
    carried = model.state_policy == "carried"
    yield "state carried on" if carried else "state zeroed at document starts"


def headline_blocks(head: HeadlineRecord) -> Iterator[Block]:
    """The one number, what it means, and what stands beside it."""
    yield Paragraph(f"Memory horizon: {_with_unit(head)}", "strong")
    yield Paragraph(f"{head.sentence[:1].upper()}{head.sentence[1:]}.", "plain")
    if head.estimate is not None and head.ci95[0] is not None and head.ci95[1] is None:
        yield Paragraph("? in an interval: it ends beyond the longest distance measured", "note")
    for name, beside in head.beside.items():
        if beside.estimate is None and beside.status != "censored":
            continue
        if name == "zero_state":
            text = (
                "with the text further back missing instead of replaced (a zero state, as in the "
                f"literature): {_with_unit(beside)}"
            )
        elif name == "first_last":
            low, high = (fixed(end, 1) for end in beside.ci95)
            text = (
                "another document's first sentence raises the perplexity of the last sentence by "
                f"{fixed(beside.estimate, 1)} % [{low}, {high}]"
            )
        else:
            text = (
                "at the start of a text of usual length a telling sentence counts "
                f"{estimate(beside)} times what it counts at the end"
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
        for name, shown, ends in _numbers(row):
            rows.append((f"  {_phrase(name, result)}".replace("words", unit), shown, ends))
    return table(("", "measured", "95 %"), rows, align="lrl", strong_rows=strong)


def _numbers(row: PanelRow) -> Iterator[tuple[str, str, str]]:
    """(name, value with unit, interval) of each number of a row; why, where there is none."""
    for name, value in row.numbers.items():
        if value.status == "not_applicable":
            yield name, "not defined", ""
            continue
        unit = UNITS.get(name, "" if value.unit in NO_UNIT else value.unit)
        bare = estimate(value.model_copy(update={"ci95": (None, None)}))
        ends = interval(*value.ci95, usual_digits(value)) if value.estimate is not None else ""
        if unit in ("%", "bits") and value.estimate is not None and None not in value.ci95:
            bare, (low, high) = fixed(value.estimate, 2), value.ci95
            ends = f"[{fixed(low, 2)}, {fixed(high, 2)}]"
        exists = value.estimate is not None or value.status == "censored"
        shown = with_unit(bare, unit) if exists else bare
        yield name, shown, ends


def _phrase(name: str, result: DiagnosticsResult) -> str:
    if result.headline.kind == "use_neff" and name in NEAR_PHRASES:
        return NEAR_PHRASES[name]
    return PHRASES.get(name, name)


def _asides(result: DiagnosticsResult) -> Iterator[Block]:
    """What the panel's numbers rest on, and why some of them do not exist."""
    for row in result.panel:
        record = getattr(result, row.name, None)
        for name, value in row.numbers.items():
            said = record is not None and value.note == record.note  # a warning says it already
            if value.estimate is None and value.status != "censored" and value.note and not said:
                yield Paragraph(f"{_phrase(name, result)}: {value.note}", "note")
    shown = {name for row in result.panel for name in row.numbers}
    if "loss_here" in shown and result.data.unknown_rate > 0:
        yield Paragraph(SPELLING, "note")
    if result.use is not None and result.use.status == "ok" and result.use.reference:
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


def _instrument(result: DiagnosticsResult) -> Block:
    check = result.selftest
    if check is None:
        return Paragraph("`rnnctl selftest` checks the instrument on known answers", "hint")
    total = check.passed + check.failed
    if check.failed:
        text = f"instrument check: only {check.passed}/{total} passed; see `rnnctl selftest`"
        return Paragraph(text, "warning")
    return Paragraph(f"instrument check: {total}/{total} passed", "note")
