"""A comparison as blocks: verdicts first, then the tables they rest on."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from rnnctl.reports import cells, glossary, numbers
from rnnctl.reports.as_table import first_that_fits
from rnnctl.reports.blocks import (
    Block,
    Bullets,
    Chart,
    Heading,
    KeyValues,
    Paragraph,
    Table,
    table,
)
from rnnctl.reports.chart_data import (
    bench_tasks,
    bench_title,
    from_near,
    pairs_table,
    phenomena,
    phenomena_table,
)
from rnnctl.results.base import Curve, Result
from rnnctl.results.comparison import (
    BUSY,
    BenchRow,
    Comparison,
    FindingRecord,
    PairRow,
    Row,
    Verdict,
)
from rnnctl.wording import plural, together

Column = tuple[str, str, int]
"""Key of a number, heading, significant digits (less than 0: so many decimals)."""

MAIN: dict[str, tuple[Column, ...]] = {
    "bits_per_byte": (("bits_per_byte", "bits per byte", 4), ("perplexity", "perplexity", 3)),
    "accuracy": (("accuracy", "accuracy", 3), ("macro_f1", "macro-F1", 3)),
}
# Shown and not tested: each further test would make the correction of all others stricter.
EXPLORATORY: tuple[Column, ...] = (
    ("gradient_half_life", "gradient half-life (tokens)", numbers.DISTANCE_DIGITS),
    ("reach_1pct", "gradient at 1 % (tokens)", numbers.DISTANCE_DIGITS),
    ("early_gain_50", "early gain (% ppl)", -2),
    ("effect_half", "EFFECT half (words)", numbers.DISTANCE_DIGITS),
    ("retention_start", "first sentence", 3),
    ("first_over_last", "first / last fifth", 3),
    ("hold_half", "HOLD half (words)", numbers.DISTANCE_DIGITS),
    ("tau_p50", "gates' τ (tokens)", numbers.DISTANCE_DIGITS),
)
FIRST_LAST: Column = ("first_last", "FIRST→LAST (%)", 2)
SPEED: tuple[Column, ...] = (
    ("train_tokens_per_s", "training (tokens/s)", 3),
    ("generate_ms_per_token", "generation (ms/token)", 3),
    ("train_seconds", "training time (s)", 3),
)
SPARKS = 20  # characters of a curve
FEWEST_ROWS = 3  # that the short report shows, even where they do not fit
CURVES = (
    ("learning", "validation loss or accuracy during training", None),
    ("use", "loss added when the model sees only this much context (log scale)", 1e-3),
    ("effect", "how much early evidence still counts (█: as much as near evidence)", None),
    ("gradient", "gradient that arrives by distance back (log scale)", 1e-6),
)
"""Key, title, and for a logarithmic drawing the smallest value that is told from nothing."""
DRAWN = {"effect": (0.0, 1.0)}
"""From where to where a curve is drawn; ratios to a small effect would hide what they are of."""


def blocks(result: Result) -> list[Block]:
    """The report of ``rnnctl compare``; of a single run what there is to compare it by."""
    assert isinstance(result, Comparison)
    if len(result.members) == 1:
        shown = _with_legend(main_table(result), result.rows)
        return [Heading(title(result), 1), shown, *_pairs(result), *problems(result)]
    return [
        Heading(title(result), 1), *facts(result), *_verdicts(result),
        Heading("Quality and memory"), main_table(result), *_bench(result.bench), *_pairs(result),
        *_contrasts(result), *_exploratory(result), *_size_and_speed(result),
        *_curves(result), *_grounds(result), *terms(result), *problems(result),
    ]  # fmt: skip


def brief(result: Result) -> list[Block]:
    """The comparison in at most 24 lines of 80 columns: the headline first and last.

    A line for each row and for each claim; of rows and warnings as many as there is room for, and
    what FIRST→LAST means.
    """
    assert isinstance(result, Comparison)
    if len(result.members) == 1:
        return blocks(result)
    known, count = warnings(result), len(result.rows)
    versions = [(count, said, True) for said in range(len(known), -1, -1)]
    # Rows go last: what was measured counts for more than what is said about it.
    versions += [(shown, 0, False) for shown in range(count, min(count, FEWEST_ROWS) - 1, -1)]
    furthest = sorted(result.rows, key=_furthest, reverse=True)
    return first_that_fits(
        _brief(
            result, [row for row in result.rows if row in furthest[:shown]], known[:said],
            len(known) - said, explained=explained,
        )
        for shown, said, explained in versions
    )  # fmt: skip


def _brief(
    result: Comparison, rows: Sequence[Row], said: Sequence[str], left: int, *, explained: bool
) -> list[Block]:
    """The short report with these rows and warnings, and `left` more that are only counted.

    `explained`: whether it says what FIRST→LAST is.
    """
    headline, beginning = _headline(result), _beginning(result)
    hidden = [f"{plural(len(result.rows) - len(rows), 'more row')}"] * (
        len(rows) < len(result.rows)
    )
    hidden += [plural(left, "more warning")] * (left > 0)
    closing = f"{' and '.join(hidden) or 'Everything that was measured'}: --verbose"
    return [
        Heading(f"{title(result)}, {_seeds(result)}", 1),
        Paragraph(f"{headline} {beginning}".strip(), "strong"),
        _with_legend(main_table(result, rows), rows, explained=explained and not beginning),
        *_answers(result),
        *(Paragraph(text, "warning") for text in said),
        Paragraph(f"{headline} {closing}", "strong"),
    ]


def in_short(result: Comparison) -> list[Block]:
    """The headline, what the rows' names mean and the answer to each question, as the short report
    has them; of a single run the names alone.
    """
    said = _names(result.rows)
    names = [Paragraph(said, "note")] if said else []
    if len(result.members) == 1:
        return [*names]
    headline = f"{_headline(result)} {_beginning(result)}".strip()
    return [Paragraph(headline, "strong"), *names, *_answers(result)]


def _answers(result: Comparison) -> list[Block]:
    """A line for each claim: the question and its answer."""
    seeds = max((len(row.seeds) for row in result.rows if row.kind == "trained"), default=0)
    answers = tuple((one.question or one.claim, _answer(one, seeds)) for one in result.verdicts)
    return [KeyValues(answers)] if answers else []


def _answer(verdict: Verdict, seeds: int) -> str:
    """The verdict, why it is open where `seeds` is one, and the number that decides."""
    found = deciding(verdict)
    if found is None or not found.short:
        return verdict.outcome
    # Only where seeds are what is missing: a busy machine is no matter of seeds.
    single = seeds == 1 and verdict.outcome == "not tested" and "--seeds" in verdict.command
    return f"{verdict.outcome}{', one seed' if single else ''}: {found.short}"


def _furthest_rows(result: Comparison) -> dict[str, Row]:
    """Of each cell the row that looks furthest back, the furthest first."""
    # Its best initial weights speak for a cell: they are a choice that is free to everybody.
    best: dict[str, Row] = {}
    for row in sorted(result.rows, key=_furthest, reverse=True):
        if row.cell is not None and row.kind == "trained" and _furthest(row) > 0:
            best.setdefault(row.cell, row)
    return best


def _beginning(result: Comparison) -> str:
    """What tells cells apart whose horizons lie beyond what was measured; else ""."""
    best = _furthest_rows(result)
    # Two lower bounds say nothing of which is longer; what the first sentence is worth does.
    beyond = [row for row in best.values() if row.numbers["horizon"].censored]
    rises = [row.numbers["first_last"] for row in best.values() if "first_last" in row.numbers]
    if len(beyond) < 2 or len(rises) < len(best):
        return ""
    each = ", ".join(
        f"{cells.display_name(cell)} {numbers.number(rise.estimate, 2)} %"
        for cell, rise in zip(best, rises, strict=True)
    )
    return f"Perplexity of the last sentence without the first: {each} higher."


def _headline(result: Comparison) -> str:
    """How far back each cell looks: the furthest of its rows."""
    best = _furthest_rows(result)
    if not best:
        return "The memory of these models was not measured."
    digits = numbers.DISTANCE_DIGITS
    each = [
        f"{cells.display_name(cell)} "
        + numbers.over_seeds(row.numbers["horizon"].without_interval(), digits)
        for cell, row in best.items()
    ]
    return f"Memory horizon in {result.distance_unit}: {', '.join(each)}."


def _furthest(row: Row) -> float:
    """A row's memory horizon, or its lower bound; 0 without one."""
    value = row.numbers.get("horizon")
    if value is None:
        return 0.0
    return value.number_or_bound or 0.0


def _seeds(result: Comparison) -> str:
    """``5 seeds each``."""
    counts = sorted({len(row.seeds) for row in result.rows if row.kind == "trained"})
    if len(counts) > 1:
        return f"{counts[0]} to {counts[-1]} seeds each"
    return f"{plural(counts[0] if counts else 0, 'seed')} each"


def title(result: Comparison) -> str:
    """``RNN, LSTM and GRU on tinyshakespeare``."""
    names = list(dict.fromkeys(cells.display_name(row.cell) for row in result.rows if row.cell))
    return f"{together(names)} on {result.corpus.rpartition('/')[2] or result.corpus}"


def facts(result: Comparison, *, names: bool = True) -> list[Block]:
    """What was held equal, and how to read the numbers; with `names`, what the rows' mean."""
    trained = [row for row in result.rows if row.kind == "trained"]
    seeds = sorted({len(row.seeds) for row in trained})
    most = max(seeds, default=0)
    single = "of one model (95 % interval over the text it was measured on)"
    several = "mean over seeds [95 % t-interval over seeds]; >: at least one seed is a lower bound"
    pairs = [
        ("held equal", result.match),
        ("learning rates", result.rates),
        (
            "seeds",
            " to ".join(str(n) for n in dict.fromkeys((seeds[0], seeds[-1]))) if seeds else "0",
        ),
        ("rows", _names(trained) if names else ""),
        ("numbers", single if most == 1 else several),
    ]
    return [KeyValues(tuple((name, value) for name, value in pairs if value))]


INITS = {
    "torch": "torch begins with PyTorch's own weights",
    "good": "good begins with orthogonal weights and open gates",
    "chrono": "chrono begins with gates that keep for a chosen number of tokens",
}


def _names(rows: Sequence[Row]) -> str:
    """What the second word of names such as ``lstm good`` says; "" where no row is called so."""
    used = {row.init for row in rows if row.name.startswith(f"{row.cell} {row.init}")}
    said = "; ".join(text for init, text in INITS.items() if init in used)
    return f"cell and initialisation: {said}" if said else ""


BEGINNING = "FIRST→LAST: perplexity of the last sentence without the first, rise in %"


def _with_legend(shown: Table, rows: Sequence[Row], *, explained: bool = True) -> Table:
    """The table with what its rows' names mean below it; a report with `facts` says it there."""
    said = [_names(rows)]
    if explained and any("first_last" in row.numbers for row in rows):
        said.append(BEGINNING)
    return replace(shown, caption="; ".join(filter(None, said)))


def _verdicts(result: Comparison) -> list[Block]:
    rows = [(verdict.outcome, verdict.claim) for verdict in result.verdicts]
    if not rows:
        return []
    table_of_claims = table(("verdict", "claim"), rows, align="ll")
    hints = (Paragraph(text, "hint") for text in untested(result))
    return [Heading("Verdicts"), table_of_claims, *hints]


def untested(result: Comparison) -> list[str]:
    """The commands that would test what is not tested, each with how many claims it is for."""
    open_ = [one for one in result.verdicts if one.outcome == "not tested"]
    commands = Counter(one.command for one in open_)
    busy = {one.command for one in open_ if (found := deciding(one)) and found.short == BUSY}
    return [
        f"{plural(count, 'claim is', 'claims are')} not tested; `{command}` tests "
        f"{'it' if count == 1 else 'them'}{' while nothing else runs' if command in busy else ''}"
        for command, count in commands.items()
    ]


def main_table(result: Comparison, rows: Sequence[Row] | None = None) -> Table:
    """Quality, the memory horizon and what the beginning counts, of every row or of these."""
    unit = result.distance_unit
    # What the horizon cannot tell stands beside it: where it lies beyond what was measured, the
    # worth of a text's beginning still differs.
    columns = (
        *MAIN[result.quality],
        ("horizon", f"memory horizon ({unit})", numbers.DISTANCE_DIGITS),
        FIRST_LAST,
    )
    return number_table(result.rows if rows is None else rows, columns)


def number_table(rows: Sequence[Row], columns: Sequence[Column], caption: str = "") -> Table:
    """Rows against columns; a column that no row has is left out."""
    used = [col for col in columns if any(col[0] in row.numbers for row in rows)]
    kept = [row for row in rows if any(col[0] in row.numbers for col in used)]
    return table(
        ("", *(heading for _, heading, _ in used)),
        (
            (
                row.name,
                *(numbers.over_seeds(row.numbers.get(key), digits) for key, _, digits in used),
            )
            for row in kept
        ),
        caption=caption,
    )


def _bench(bench: Sequence[BenchRow]) -> list[Block]:
    """A table for each task of known difficulty, with its own chance."""
    return [
        block
        for task, rows in bench_tasks(bench).items()
        for block in (Heading(f"{bench_title(task)} by distance"), _bench_table(rows))
    ]


def _bench_table(bench: Sequence[BenchRow]) -> Table:
    lags = sorted({row.lag or 0 for row in bench})
    rows = []
    for name in dict.fromkeys(row.name for row in bench):
        mine = {row.lag or 0: row for row in bench if row.name == name}
        cells = [
            numbers.over_seeds(mine[lag].accuracy, 3) if lag in mine else numbers.NOTHING
            for lag in lags
        ]
        last = mine[max(mine)]
        rows.append((name, *cells, f"{last.solved} of {len(last.accuracy.seeds)}"))
    heads = ("", *(f"accuracy at lag {lag}" for lag in lags), f"solved at {lags[-1]}")
    caption = f"chance {numbers.number(_chance(bench))}; solved means at least 95 %"
    return table(heads, rows, caption=caption)


def _chance(bench: Sequence[BenchRow]) -> float | None:
    return next((row.chance for row in bench if row.chance is not None), None)


MOST_PHENOMENA = 20
"""Rows of the table of phenomena; the page, the curves and JSON have all of them."""


def _pairs(result: Comparison) -> list[Block]:
    """Minimal pairs: all of them together, then by phenomenon."""
    if not result.pairs:
        return []
    caption = (
        "Share of pairs whose right sentence the model finds likelier; a tie counts half, and "
        "guessing reaches 0.5."
    )
    made: list[Block] = [Heading("Minimal pairs"), pairs_table(result.pairs, caption)]
    by_phenomenon = phenomena(result.pairs)
    if len(by_phenomenon) < 2:
        return made
    # Where all rows agree there is nothing to compare.
    spread = sorted(by_phenomenon, key=lambda name: _spread(by_phenomenon[name]), reverse=True)
    shown = [name for name in by_phenomenon if name in spread[:MOST_PHENOMENA]]
    more = ""
    if len(shown) < len(by_phenomenon):
        more = (
            f"The {len(shown)} of {len(by_phenomenon)} phenomena on which the rows differ most; "
            "--html and --curves have all."
        )
    return [*made, phenomena_table(result.pairs, shown, more)]


def _spread(rows: Sequence[PairRow]) -> float:
    """How far apart the rows of one phenomenon are."""
    known = [row.accuracy.estimate for row in rows if row.accuracy.estimate is not None]
    return max(known) - min(known) if known else 0.0


def _contrasts(result: Comparison) -> list[Block]:
    if not result.contrasts:
        return []
    heads = ("pair", "measured", "effect", "P(first > second)", "corrected p", "outcome")
    rows = [
        (f"{test.first} / {test.second}", _ENDPOINTS[test.endpoint], numbers.estimate(test.effect),
         numbers.fixed(test.superiority, 2), numbers.number(test.p_holm, 2),
         test.note if test.outcome == "not alike" else test.outcome)
        for test in result.contrasts
    ]  # fmt: skip
    caption = (
        "Only these pairs are tested; they were fixed before there was data. "
        f"{plural(result.seeds_needed, 'seed', 'seeds')} of each row would be enough to claim "
        "something."
    )
    families = (
        (result.family, " of memory" if result.pairs_family else ""),
        (result.pairs_family, " on minimal pairs"),
    )
    corrected = [f"{plural(count, 'test')}{of}" for count, of in families if count]
    if corrected:
        caption = (
            f"Exact permutation tests over seeds; p is corrected for {' and for '.join(corrected)} "
            f"(Holm). {caption}"
        )
    for test in result.contrasts:
        if test.note and test.outcome != "not alike":
            caption += f" {test.first} / {test.second}: {test.note}."
    return [Heading("Tested pairs"), table(heads, rows, align="llrrrl", caption=caption)]


_ENDPOINTS = {
    "horizon": "horizon, ratio",
    "recall": "recall accuracy, difference",
    "pairs": "pairs right, difference",
}


def _exploratory(result: Comparison) -> list[Block]:
    nowhere = [col for col in EXPLORATORY if _is_undefined(result.rows, col[0])]
    said = ", ".join(heading for _, heading, _ in nowhere)
    columns = [col for col in EXPLORATORY if col not in nowhere]
    made = number_table(result.rows, columns, f"Not defined in any row: {said}." if said else "")
    if len(made.columns) == 1:
        return []
    return [Heading("Memory in other measures (not tested)"), made]


def _is_undefined(rows: Sequence[Row], key: str) -> bool:
    found = [row.numbers[key] for row in rows if key in row.numbers]
    return bool(found) and all(value.status == "undefined" for value in found)


def _size_and_speed(result: Comparison) -> list[Block]:
    rows = [row for row in result.rows if row.kind == "trained"]
    heads = (
        "", "hidden size", "recurrent parameters", "against the LSTM's", "all parameters",
        "multiply-adds per token", "learning rate",
    )  # fmt: skip
    sizes = table(heads, [_size(row) for row in rows])
    made: list[Block] = [Heading("Size and speed"), sizes]
    speed = number_table(rows, SPEED)
    if len(speed.columns) > 1:
        made.append(speed)
    return made


def _size(row: Row) -> tuple[str, ...]:
    return (
        row.name, numbers.count(row.hidden_size), numbers.count(row.recurrent_parameters),
        numbers.percent(row.deviation, 2), numbers.count(row.parameters),
        numbers.count(row.macs_per_token), numbers.number(row.lr),
    )  # fmt: skip


def _curves(result: Comparison) -> list[Block]:
    lines: list[str] = []
    rows = [row for row in result.rows if row.curves]
    width = max((len(row.name) for row in rows), default=0)
    for key, title, floor in CURVES:
        found = [
            (row.name, from_near(row.curves[key]) if key == "effect" else row.curves[key])
            for row in rows
            if key in row.curves and len(row.curves[key].x) > 1
        ]
        if not found:
            continue
        lines += ["", title] if lines else [title]
        lines += [
            f"  {name:<{width}}  {_spark(curve, floor, *DRAWN.get(key, ()))}"
            for name, curve in found
        ]
    return [Heading("Curves"), Chart(tuple(lines))] if lines else []


def _spark(
    curve: Curve, floor: float | None, low: float | None = None, high: float | None = None
) -> str:
    known = [value for value in curve.y if value is not None]
    first, last = numbers.number(curve.x[0]), numbers.number(curve.x[-1])
    ends = f"{_end(known[0], floor)} to {_end(known[-1], floor)}" if known else ""
    thin = curve.y[:: -(-len(curve.y) // SPARKS)]
    if floor is not None:  # as on a logarithmic axis that begins at the floor
        thin = tuple(None if y is None else math.log(max(y, floor) / floor) for y in thin)
        low = 0.0
    return (
        f"{numbers.sparkline(thin, low=low, high=high)}  {ends}, {first} to {last} {curve.x_unit}"
    )


def _end(value: float, floor: float | None) -> str:
    small = floor is not None and value < floor
    return f"under {numbers.number(floor)}" if small else numbers.number(value)


def _grounds(result: Comparison) -> list[Block]:
    made: list[Block] = [Heading("What the verdicts rest on")] if result.verdicts else []
    for verdict in result.verdicts:
        made.append(Paragraph(f"{verdict.claim}: {verdict.outcome}.", "strong"))
        made.append(Bullets(reasons(verdict)))
    return made


def reasons(verdict: Verdict) -> tuple[str, ...]:
    """The findings, the rule they were judged by, and the command that shows more."""
    said = tuple(f"{finding.sentence} ({finding.outcome})" for finding in verdict.findings)
    said = said or ("nothing in this comparison measures it",)
    what = "to test it" if verdict.outcome == "not tested" else "to see more"
    return (*said, f"rule: {verdict.rule}", f"{what}: {verdict.command}")


def deciding(verdict: Verdict) -> FindingRecord | None:
    """The finding that decides; of an open verdict the first there is."""
    decide = [one for one in verdict.findings if one.outcome == verdict.outcome]
    return next(iter((*decide, *verdict.findings)), None)


def because(verdict: Verdict) -> str:
    """The finding that decides, in one line."""
    found = deciding(verdict)
    return found.sentence if found else "nothing in this comparison measures it"


TERMS = (
    "bits_per_byte", "perplexity", "macro_f1", "horizon", "gradient_half_life", "reach_1pct",
    "early_gain_50", "first_last", "effect_half", "retention_start", "first_over_last",
    "hold_half", "tau_p50",
)  # fmt: skip
"""The numbers whose columns are explained below the tables, in their order."""


def terms(result: Comparison) -> list[Block]:
    """The terms of this report, as the glossary explains them."""
    used = {key for row in result.rows for key in row.numbers}
    headings = {
        key: heading for key, heading, _ in (*chain(*MAIN.values()), FIRST_LAST, *EXPLORATORY)
    }
    headings["horizon"] = "memory horizon"
    names = [re.sub(r" \(.*\)$", "", headings[key]) for key in TERMS if key in used]
    names += ["P(first > second)", "corrected p"] if result.contrasts else []
    names += ["recall"] if result.bench else []
    names += ["minimal pair"] if result.pairs else []
    pairs = tuple((name, glossary.plain(glossary.entry(name).summary)) for name in (*names, "seed"))
    more = "`rnnctl explain TERM` says how each is measured, and what it does not say"
    return [Heading("Terms"), KeyValues(pairs), Paragraph(more, "hint")]


def warnings(result: Comparison) -> list[str]:
    """What a reader must know, members that are missing first."""
    missing = [
        f"{failure.name} is not in this comparison: {failure.reason}" for failure in result.failures
    ]
    return [*missing, *(warning.text for warning in result.warnings)]


def problems(result: Comparison) -> list[Block]:
    """Warnings, and members that are not in it."""
    made: list[Block] = [Paragraph(warning.text, "warning") for warning in result.warnings]
    for failure in result.failures:
        text = f"{failure.name} is not in this comparison: {failure.reason}"
        made.append(Paragraph(text, "warning"))
        if failure.command:
            made.append(Paragraph(failure.command, "hint"))
    return made
