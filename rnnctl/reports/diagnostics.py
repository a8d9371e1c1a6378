"""`diagnose` on paper: headline, panel, curves on a common axis of distance, checks, warnings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rnnctl.reports.as_table import SCREEN_COLUMNS, first_that_fits
from rnnctl.reports.blocks import Block, Bullets, Chart, Heading, KeyValues, Paragraph, table
from rnnctl.reports.cells import display_name
from rnnctl.reports.chart_data import from_near
from rnnctl.reports.numbers import (
    bar,
    estimate,
    fixed,
    horizon,
    interval,
    number,
    percent,
    sparkline,
    usual_digits,
)
from rnnctl.results.base import Curve, Result
from rnnctl.results.diagnostics import (
    DataRecord,
    DiagnosticsResult,
    HeadlineRecord,
    KnownAnswer,
    ModelRecord,
    PanelRow,
    SelftestResult,
)
from rnnctl.statistics import interpolated
from rnnctl.wording import as_sentence, diagnostic, plural, with_unit

NO_UNIT = ("ratio", "share")
EXPLAINED = "What it means: rnnctl explain horizon. "
EVERYTHING = "verything that was measured: --verbose"
MOST = {"warning": 150, "fact": 140, "sentence": 230}  # characters of each in it


def blocks(result: Result) -> Iterator[Block]:
    """The report of a diagnosis."""
    assert isinstance(result, DiagnosticsResult)
    yield Heading(f"What {result.model.id} remembers", 1)
    yield KeyValues(tuple(_facts(result)))
    if result.headline.status != "not_applicable":
        yield from headline_blocks(result.headline)
    if result.verdict:
        yield Paragraph(result.verdict, "plain")
    yield _panel(result)
    yield from _asides(result)
    for name, record in result.records().items():
        if record.status == "not_applicable":
            yield Paragraph(f"{diagnostic(name)}: {record.note}", "note")
    yield from _curve_blocks(result)
    compared = [check for check in result.cross_checks if check.passed is not None]
    if compared:
        yield Heading("Cross-checks: ✓ agree, ! differ")
        marks = {True: "✓", False: "!"}
        yield Bullets(tuple(f"{marks[bool(c.passed)]} {c.name}: {c.text}" for c in compared))
    for warning in result.warnings:
        yield Paragraph(warning.text, "warning")
    yield _instrument(result)
    if result.model.task == "scorer":  # another program, which is no run to compare
        return
    yield Paragraph(
        "`rnnctl explain TERM` explains a word of this report, such as horizon or τ; "
        "`rnnctl compare RUN RUN` says which of several runs remembers more",
        "hint",
    )


def brief(result: Result) -> list[Block]:
    """The diagnosis in at most 24 lines of 80 columns: the headline first and last.

    One line per question, and as many warnings as there is room for.
    """
    assert isinstance(result, DiagnosticsResult)
    # Warnings go first, from the last one on, then what explains: the answers are what was asked.
    said = [_shortened(warning.text, MOST["warning"]) for warning in result.warnings]
    versions = [*((n, True) for n in range(len(said), -1, -1)), (0, False)]
    return first_that_fits(
        _brief(result, said[:shown], len(said) - shown, note=note) for shown, note in versions
    )


def _brief(
    result: DiagnosticsResult, warnings: Sequence[str], left: int, *, note: bool
) -> list[Block]:
    """The short report with these warnings, and `left` more that are only counted; with a `note`
    on gates and horizon where these differ by a lot and one on unknown words, or without them.
    """
    head = result.headline
    facts = (("model", _model(result.model)), ("text", _text(result)))
    made: list[Block] = [
        Heading(_title(result), 1),
        KeyValues(tuple((name, _fact(value)) for name, value in facts)),
    ]
    more = f"{plural(left, 'more warning')} and e" if left else "E"
    closing = more + EVERYTHING
    if head.status != "not_applicable":
        first = f"Memory horizon: {horizon(head)}"
        made.append(Paragraph(first, "strong"))
        made.append(Paragraph(_shortened(as_sentence(head.sentence), MOST["sentence"]), "plain"))
        closing = f"{first}. {EXPLAINED}{closing}"
    cached = _with_cache(head)
    made += [Paragraph(cached, "strong")] if cached else []
    made.append(KeyValues(tuple(_answers(result))))
    notes = (_beside_the_gates(result), _without_spelling(result)) if note else ()
    made += [Paragraph(text, "note") for text in notes if text]
    made += [Paragraph(text, "warning") for text in warnings]
    made.append(Paragraph(closing, "strong"))
    return made


def _fact(text: str) -> str:
    """Shortened, unless a path is in it that is longer than a line: that is never cut."""
    return (
        text if max(map(len, text.split())) > SCREEN_COLUMNS - 7 else _shortened(text, MOST["fact"])
    )


def _title(result: DiagnosticsResult) -> str:
    name = "this program" if result.model.task == "scorer" else result.model.id
    return f"What {name} remembers"


def _answers(result: DiagnosticsResult) -> Iterator[tuple[str, str]]:
    """Each question with its answer: a verdict in words and the number."""
    for row in result.panel:
        if row.numbers:
            yield row.short or row.name, row.answer or _first_number(row)


def _with_cache(head: HeadlineRecord) -> str:
    """What a cache adds, in a line; "" where none was asked for."""
    found = head.beside.get("with_cache")
    if found is None:
        return ""
    size = found.note.partition(" tokens")[0]
    if not found.is_known:
        return f"{size[:1].upper()}{size[1:]} tokens: not measured"
    return f"{size[:1].upper()}{size[1:]} tokens: as if {horizon(found)}"


def _shortened(text: str, most: int) -> str:
    """A text that is too long up to its first semicolon; still too long, up to a word's end."""
    if len(text) > most:
        text = text.split(";")[0]
    return text if len(text) <= most else text[: most - 2].rsplit(" ", 1)[0] + " …"


def _text(result: DiagnosticsResult) -> str:
    tokens = plural(result.data.tokens, "token")
    return f"{_kind(result.data)}, {tokens}; preset {result.preset}"


def _kind(data: DataRecord) -> str:
    """``reviews: 120 documents``."""
    kind = "running text" if data.running else plural(data.documents, "document")
    return f"{data.name}: {kind}"


def _first_number(row: PanelRow) -> str:
    """What a row without an answer says: its first number, or that there is none."""
    name, value = next(iter(row.numbers.items()))
    if not value.is_known:
        return f"not measured: {estimate(value)}"
    return f"{row.names.get(name, name)}: {estimate(value, with_unit=True)}"


def _facts(result: DiagnosticsResult) -> Iterator[tuple[str, str]]:
    model, data = result.model, result.data
    yield "model", _model(model)
    if model.task != "scorer":
        yield "training", ", ".join(_training(model, result))
    words = round(data.words_per_token * data.tokens)
    amount = f"{plural(data.tokens, 'token')}, {plural(words, 'word')}"
    yield "text", f"{_kind(data)}, {amount}; sha256 {data.sha256[:12]}"
    yield "measured", f"preset {result.preset}, seed {result.seed}; intervals are 95 %"


def _model(model: ModelRecord) -> str:
    if model.cell is None or model.layers is None or model.parameters is None:
        return f"another program, asked {plural(model.questions or 0, 'question')}: {model.command}"
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
    rough = ", rough" if head.rough else ""
    yield Paragraph(f"Memory horizon: {horizon(head)}{rough}", "strong")
    yield Paragraph(as_sentence(head.sentence), "plain")
    if head.estimate is not None and head.ci95[0] is not None and head.ci95[1] is None:
        yield Paragraph("? in an interval: it ends beyond the longest distance measured", "note")
    for name, beside in head.beside.items():
        if not beside.is_known:
            continue
        if name == "with_cache":
            text = _with_cache(head)
        elif name == "zero_state":
            text = (
                "horizon with the text further back removed instead of replaced (a zero state, as "
                f"in the literature): {estimate(beside, with_unit=True)}"
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
    if head.rough:
        yield Paragraph(f"rough: {head.rough}", "note")


def _panel(result: DiagnosticsResult) -> Block:
    rows: list[tuple[str, str, str]] = []
    strong, unit = [], result.data.distance_unit
    for row in result.panel:
        if not row.numbers:
            continue
        strong.append(len(rows))
        rows.append((row.title or row.name, "", ""))
        for name, shown, ends in _numbers(row):
            rows.append((f"  {row.names.get(name, name)}".replace("words", unit), shown, ends))
    return table(("", "measured", "95 %"), rows, align="lrl", strong_rows=strong)


def _numbers(row: PanelRow) -> Iterator[tuple[str, str, str]]:
    """(name, value with unit, interval) of each number of a row; why, where there is none."""
    for name, value in row.numbers.items():
        if value.status == "not_applicable":
            yield name, "not defined", ""
            continue
        unit = _short_unit(value.unit)
        bare = estimate(value.without_interval())
        ends = interval(*value.ci95, usual_digits(value)) if value.estimate is not None else ""
        # Decimals and not digits: small ones lie around 0, where digits of noise would be shown.
        if unit in ("%", "bits") and value.estimate is not None and None not in value.ci95:
            bare, (low, high) = fixed(value.estimate, 2), value.ci95
            ends = f"[{fixed(low, 2)}, {fixed(high, 2)}]"
        yield name, with_unit(bare, unit) if value.is_known else bare, ends


def _short_unit(unit: str) -> str:
    """``%`` of ``% perplexity per word``, ``nats`` of ``nats per token``; nothing for ratios."""
    if unit in NO_UNIT:
        return ""
    first = unit.split(" ")[0]
    return first if first in ("%", "nats") else unit


def _asides(result: DiagnosticsResult) -> Iterator[Block]:
    """What the panel's numbers rest on, and why some of them do not exist."""
    records = result.records()
    for row in result.panel:
        record = records.get(row.name)
        for name, value in row.numbers.items():
            said = record is not None and value.note == record.note  # a warning says it already
            if not value.is_known and value.note and not said:
                yield Paragraph(f"{row.names.get(name, name)}: {value.note}", "note")
    if spelling := _without_spelling(result):
        yield Paragraph(spelling, "note")
    if result.use is not None and result.use.status == "ok" and result.use.reference:
        yield Paragraph(f"n-gram: {result.use.reference}", "note")
    yield from (Paragraph(text, "note") for text in (*_of_probe(result), *_of_units(result)))
    if apart := _beside_the_gates(result):
        yield Paragraph(apart, "note")
    resampled = [
        f"{diagnostic(name)} {record.sampling.in_words}"
        for name, record in records.items()
        if record.sampling is not None
    ]
    if resampled:
        yield Paragraph(f"intervals resample: {'; '.join(resampled)}", "note")


def _of_probe(result: DiagnosticsResult) -> Iterator[str]:
    """What HOLD's numbers depend on beside the model: how many examples the probe had."""
    hold = result.hold
    if hold is None or hold.status != "ok" or not hold.examples or not hold.dimensions:
        return
    per = number(hold.examples / hold.dimensions, 2)
    text = (
        f"HOLD: what a linear probe of {hold.examples:,} examples reads, {per} for each of the "
        f"{hold.dimensions:,} numbers in the state"
    )
    more = hold.scalars.get("hold_half_extrapolated")
    if more is not None and more.estimate is not None:
        text += (
            "; with more and more examples half of the bits would last "
            f"{estimate(more, with_unit=True)}"
        )
    yield text


def _of_units(result: DiagnosticsResult) -> Iterator[str]:
    """Two groups of units, which no single quantile shows."""
    if result.gates is None or len(result.gates.modes) != 2:
        return
    said = [
        f"{percent(mode.share, 0)} near "
        + ("no end" if mode.tau is None else f"{number(mode.tau)} tokens")
        for mode in result.gates.modes
    ]
    yield f"GATES: the units fall into two groups by time constant: {', '.join(said)}"


FAR_BEYOND = 5.0
"""The horizon over the time constant of the slowest tenth: from here on a reader wonders."""


def _beside_the_gates(result: DiagnosticsResult) -> str:
    """Why gates that keep for a few tokens and a far horizon can both be true; "" where the two
    are of one size, or one of them is not known.
    """
    slow = None if result.gates is None else result.gates.scalars.get("tau_p90")
    per_token, reached = _per_token(result.data), result.headline.number_or_bound
    if slow is None or slow.estimate is None or reached is None or per_token <= 0:
        return ""
    if reached / per_token < FAR_BEYOND * slow.estimate:
        return ""
    return (
        "the gates suggest far less than the memory horizon, and both can be true: a few units "
        "keep longer than the others, and the recurrent weights carry text too; the horizon is "
        "measured, the time of the gates is not"
    )


def _without_spelling(result: DiagnosticsResult) -> str:
    """Why the loss is lower than that of a training; "" where no token is unknown."""
    shown = {name for row in result.panel for name in row.numbers}
    rate = result.data.unknown_rate
    if "loss_here" not in shown or rate <= 0:
        return ""
    share = f"{number(100 * rate, 2)} % of the tokens"
    return (
        f"the loss on this text does not include the spelling of unknown words ({share}); that of "
        "`rnnctl train`, `info` and `evaluate` does"
    )


def _instrument(result: DiagnosticsResult) -> Block:
    check = result.selftest
    if check is None:
        return Paragraph("`rnnctl selftest` checks the measurements on known answers", "hint")
    total = check.passed + check.failed
    if check.failed:
        text = f"instrument check: only {check.passed}/{total} passed; see `rnnctl selftest`"
        return Paragraph(text, "warning")
    return Paragraph(f"instrument check: {total}/{total} passed", "note")


# -- curves, on a common axis of distance ---------------------------------------------------------

GRID = 32  # columns of a curve


def _curve_blocks(result: DiagnosticsResult) -> Iterator[Block]:
    """The curves as rows of bars, by distance and by place; nothing where none was measured."""
    if any(_drawn(result)):
        yield Heading("By distance")
        yield Chart(
            (_axis(result), *_curve_lines(result)),
            "from near (left) to far; bars: ▁ none to █ full",
        )
    places = list(_places(result))
    if places:
        yield Heading("By place in the text, its first fifth to its last")
        yield Chart(tuple(places), "what a sentence there adds to the right answer")


def _places(result: DiagnosticsResult) -> Iterator[str]:
    """POSITION: a bar per fifth, and beside it those of the bag of words, which are all equal.

    Not of a model that no sentence moves: its bars would be noise.
    """
    position = result.position
    found = position.curves if position is not None and position.status == "ok" else {}
    for name, key in (("this model", "occlusion"), ("bag of words", "reference_occlusion")):
        if key in found:
            curve = found[key]
            values = ", ".join(number(y, 2) for y in curve.y)
            bars = "".join(one * 3 for one in sparkline(curve.y, low=0.0))
            yield f"{name:<14}{bars}  {values} nats"


def _curve_lines(result: DiagnosticsResult) -> Iterator[str]:
    """One line per curve, all on one logarithmic axis of words (or characters)."""
    # In the logarithm of the distance: what is remembered falls by the factor, not by the word.
    grid = _grid(result)
    for name, curve, scale, low, high, text in _drawn(result):
        line = "".join(_bar(_at(curve, x / scale), low, high) for x in grid)
        yield f"{name:<11}{line}  {text}"


def _drawn(
    result: DiagnosticsResult,
) -> Iterator[tuple[str, Curve, float, float, float, str]]:
    """(name, curve, words per unit of its x, bottom, top, caption); bottom > 0: log scale."""
    if result.use is not None and "foreign" in result.use.curves:
        curve = result.use.curves["foreign"]
        # The axis is logarithmic: 0 is not on it.
        top = max(0.01, max((y for x, y in curve.points if x > 0), default=1.0))
        yield "USE", curve, 1.0, 0.001, top, f"excess, █ {number(top, 2)} {curve.y_unit} (log)"
    if result.effect is not None and "r" in result.effect.curves:
        curve = from_near(result.effect.curves["r"])
        yield "EFFECT", curve, 1.0, 0.0, 1.0, "what still counts, █ as much as near"
    if result.hold is not None and "state" in result.hold.curves:
        bits = math.log2(result.hold.choices)
        text = f"bits that can be read, █ {bits:g}"
        yield "HOLD", result.hold.curves["state"], 1.0, 0.0, bits, text
    if result.reach is not None:
        for name, block in result.reach.blocks.items():
            if name in ("h", "c"):
                text = "gradient, █ as at lag 1 (log)"
                yield f"REACH {name}", block.geo, _per_token(result.data), 1e-4, 1.0, text


def _per_token(data: DataRecord) -> float:
    """A token in the unit of distances: words or characters."""
    return data.words_per_token if data.distance_unit == "words" else data.chars_per_token


def _grid(result: DiagnosticsResult) -> list[float]:
    """Distances of the columns in words, evenly in the logarithm, from one token to the last."""
    drawn = list(_drawn(result))
    last = max(curve.x[-1] * scale for _, curve, scale, *_ in drawn)
    first = min(1.0, _per_token(result.data))
    span = math.log(max(2.0, last / first))
    return [first * math.exp(span * k / (GRID - 1)) for k in range(GRID)]


def _axis(result: DiagnosticsResult) -> str:
    """The axis: 0.3, 1, 3, 10, 30, … over the columns where they are."""
    grid = _grid(result)
    marks = [" "] * (GRID + 4)  # the last number may reach over the edge
    free = 0
    for value in (0.3, 1, 3, 10, 30, 100, 300, 1000, 3000):
        if not grid[0] <= value * 1.001 <= grid[-1] * 1.02:
            continue
        share = math.log(value / grid[0]) / math.log(grid[-1] / grid[0])
        at = max(0, round(share * (GRID - 1)))
        if at >= free:
            marks[at : at + len(str(value))] = str(value)
            free = at + len(str(value)) + 1
    return f"{result.data.distance_unit + ' back':<11}{''.join(marks).rstrip()}"


def _at(curve: Curve, x: float) -> float | None:
    """The curve at x, interpolated in log(1 + x); None outside of it."""
    known = curve.points
    if not known or x > known[-1][0] * 1.001 or x < known[0][0] * 0.999:
        return None
    xs, ys = zip(*known, strict=True)
    return float(interpolated(xs, ys, x))


def _bar(value: float | None, low: float, high: float) -> str:
    if value is None:
        return " "
    if low > 0:
        span = math.log(high / low)
        share = math.log(max(value, low) / low) / span if span > 0 else 0.0
    else:
        share = (value - low) / (high - low)
    return bar(share)


# -- the check of the instrument ------------------------------------------------------------------


def selftest(result: SelftestResult) -> list[Block]:
    """The check of the instrument: a row per known answer, and every item of those that failed."""
    made: list[Block] = [Heading("Instrument check", 1)]
    rows = [_answer_row(answer) for answer in result.answers]
    made.append(
        table(("id", "known answer", "expected", "measured", "within", ""), rows, align="llrrrl")
    )
    failed = [answer for answer in result.answers if not answer.passed]
    for answer in failed:
        made.append(Heading(f"{answer.id} failed: {answer.title}", 2))
        items = [
            (item.name, item.expected, item.measured, item.tolerance, _mark(item.passed))
            for item in answer.items
        ]
        made.append(table(("check", "expected", "measured", "within", ""), items, align="lrrrl"))
    total = result.passed + result.failed
    seconds = sum(result.timing.values())
    sentence = f"{result.passed}/{total} known answers reproduced in {seconds:.1f} s"
    made.append(Paragraph(sentence, "strong"))
    made.extend(Paragraph(warning.text, "warning") for warning in result.warnings)
    return made


def _answer_row(answer: KnownAnswer) -> tuple[str, ...]:
    """The answer with the item to look at: the first that failed, or the first."""
    item = next((item for item in answer.items if not item.passed), answer.items[0])
    name = answer.title
    return (answer.id, name, item.expected, item.measured, item.tolerance, _mark(answer.passed))


def _mark(passed: bool) -> str:
    return "✓" if passed else "FAILED"
