"""The pictures of a page: a text word by word, for one run or for several side by side.

Here are the parts that stand still (headings, explanations, tables, and the numbers as compact
JSON); `page.js` draws and answers to keys and clicks. Arrays are quantised and written in base64:
see `packed`.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnctl.reports import glossary, numbers
from rnnctl.reports.as_html import table_html, text
from rnnctl.reports.blocks import Block, Heading, Table, table, visible
from rnnctl.reports.cells import color, display_name
from rnnctl.results.base import Result
from rnnctl.results.pictures import Pictures, SeenRun, Stage, Units
from rnnctl.wording import together

WIDEST = 20.0
"""Nats: larger changes of a log-probability are drawn and written as this one."""
LONG = 24  # characters of a word in a sentence
STRONGEST = 3  # earlier words that the table names
LEAST, MOST = -30.0, 6.0
"""Powers of ten between which a gradient's length is written."""
STATES = {"c": ("cell state c", "what the unit holds"), "h": ("hidden state h", "what it shows")}
ROLES = {
    "forget": ("forget gate f", "kept"),
    "keep": ("keep gate z", "kept"),
    "input": ("input gate i", "written"),
    "candidate": ("candidate", "new content"),
    "output": ("output gate o", "shown"),
    "reset": ("reset gate r", "past read"),
}
"""Of each gate its name, and what happens to the share that it says."""
TELLING = 5  # units in the table
WORD_TERMS = ("word left out", "connectivity", "hidden state")
UNIT_TERMS = ("unit", "lasts", "knows")
GRADIENT_TERMS = ("weights before training", "vanishing gradient", "REACH", "bptt")
LAGS = (1, 2, 5, 10, 20, 50, 100, 200)


def title(pictures: Pictures) -> str:
    """``What lstm and gru do with a text``."""
    names = [run.name for run in pictures.runs]
    return f"What {together(names)} {'does' if len(names) == 1 else 'do'} with a text"


def _called(run: SeenRun) -> str:
    """A run in a table, with its cell."""
    return f"{run.name} ({display_name(run.cell)})"


def _brief(word: str) -> str:
    """A word in a table; a long one is cut."""
    return word if len(word) <= LONG else word[: LONG - 1] + "…"


MOST_TIMES = 1000
"""What is beyond it is only said to be so: the exact number is of no use."""


def times(nats: float, sign: str = "") -> str:
    """The factor of a change of `nats`, at least 1, with `sign` before the number.

    >>> times(0.83), times(-6.3), times(13.5, "×")
    ('2.3', '540', 'over ×1,000')
    """
    size = math.exp(min(abs(nats), WIDEST))
    if size >= MOST_TIMES:
        return f"over {sign}{MOST_TIMES:,}"
    return sign + (f"{size:.1f}" if size < 9.95 else f"{float(f'{size:.1e}'):,.0f}")


def factor(nats: float) -> str:
    """How many times likelier (``×2.3``) or less likely (``÷2.3``) a change of `nats` makes it."""
    if abs(nats) < math.log(1.05):
        return "×1"
    return times(nats, "×" if nats > 0 else "÷")


def blocks(result: Result) -> list[Block]:
    """The report without pictures: what moved one prediction most, in every run."""
    assert isinstance(result, Pictures)
    return [Heading(title(result), 1), _strongest(result)]


# -- numbers for the script -----------------------------------------------------------------------


def packed(values: ArrayLike, low: float, high: float, *, size: int = 1) -> dict[str, object]:
    """Numbers as unsigned integers of `size` bytes (1, 2), from `low` to `high`, in base64.

    {"bytes": …, "size", "low", "high"}: number = low + (high − low) · integer / (256**size − 1),
    little-endian, row after row. What lies outside is moved to the nearer end.
    """
    # Not as decimals in JSON, which take more than twice the room: a page holds each state and gate
    # of each unit and token, and must still open on a phone.
    top = 256**size - 1
    array: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    span = high - low if high > low else 1.0
    whole = np.rint(np.clip((array - low) / span, 0.0, 1.0) * top)
    data = whole.astype("u1" if size == 1 else "<u2").tobytes()
    return {"bytes": base64.b64encode(data).decode("ascii"), "size": size, "low": low, "high": high}


def data(pictures: Pictures) -> dict[str, object]:
    """What `page.js` draws, as JSON."""
    return {
        "words": [[word.space, visible(word.text)] for word in pictures.words],
        "focus": pictures.focus,
        "longer": pictures.longer,
        "text": pictures.text,
        "runs": [_run(run) for run in pictures.runs],
    }


def _run(run: SeenRun) -> dict[str, object]:
    seen = run.influence
    return {
        "name": run.name,
        "title": display_name(run.cell),
        "color": color(run.cell),
        "logChance": [round(value, 3) for value in seen.log_chance],
        "guesses": seen.guesses,
        "leftOut": packed(_flat(seen.left_out), -WIDEST, WIDEST, size=2),
        "share": packed(_flat(seen.share), 0.0, 1.0, size=2),
        "tokens": run.tokens,
        "owner": run.owner,
        "answer": run.answer,
        "step": run.nonlinearity if run.cell == "rnn" else "",
        "units": None if run.units is None else _units(run.units),
        "stages": [_stage(stage) for stage in run.gradient],
    }


def _units(seen: Units) -> dict[str, object]:
    return {
        "of": seen.of,
        "state": seen.state,
        "list": [[one.layer, one.unit, one.lasts, one.knows, one.side, one.limit]
                 for one in seen.units],
        "arrays": [_array(name, seen.values[name]) for name in shown(seen)],
        "before": seen.before,
        "active": seen.active,
        "ends": seen.ends,
    }  # fmt: skip


def shown(units: Units) -> list[str]:
    """The states and gates that there are, in the order in which they are looked at."""
    order = ("c", "h", *ROLES)
    return sorted(units.values, key=lambda name: order.index(name) if name in order else 99)


def _array(name: str, values: Sequence[Sequence[float]]) -> dict[str, object]:
    """A state or gate (K, T) of all units. Of what has a sign, each unit's numbers are divided by
    its largest one, in `scales` (K,): a unit that counts far up makes no other one coarser.
    """
    signed = name in ("h", "c", "candidate")
    array = np.asarray(values, dtype=np.float64)
    label, role = (STATES | ROLES).get(name, (name, ""))
    made = {"name": name, "label": label, "role": role, "signed": signed}
    if not signed:
        return made | packed(array, 0.0, 1.0, size=2)
    scales = np.abs(array).max(axis=1, initial=0.0)
    scales[scales == 0] = 1.0
    return made | {"scales": scales.tolist()} | packed(array / scales[:, None], -1.0, 1.0, size=2)


def _stage(stage: Stage) -> dict[str, object]:
    norms = {
        # As powers of ten: a gradient falls through thirty of them, and each counts alike.
        name: packed(np.log10(np.maximum(values, 10**LEAST)), LEAST, MOST, size=2)
        for name, values in stage.norms.items()
    }
    return {"title": stage.title, "norms": norms, "keeps": stage.keeps}


def _flat(rows: Iterable[Iterable[float]]) -> list[float]:
    return [value for row in rows for value in row]


# -- what stands still ----------------------------------------------------------------------------


def sections(pictures: Pictures) -> str:
    """The pictures as HTML: places for `page.js`, explanations and tables."""
    parts = [_words(pictures)]
    if any(run.units is not None for run in pictures.runs):
        parts += [_inside(pictures), _gradient(pictures)]
    return "\n".join(parts)


def _why(sentences: str, equation: str, terms: Iterable[str]) -> str:
    """Two sentences, an equation (HTML) with numbers of these models, and where to read on."""
    links = ", ".join(
        f'<a href="#{glossary.anchor(term)}">{text(term.term)}</a>'
        for term in map(glossary.find, terms)
        if term is not None
    )
    return (
        f'<aside class="why"><h3>Why</h3><p>{text(sentences)}</p>{equation}'
        f"<p>Look up: {links}</p></aside>"
    )


def _cell_terms(pictures: Pictures) -> list[str]:
    names = [display_name(run.cell) for run in pictures.runs]
    return ["plain RNN" if name == "RNN" else name for name in dict.fromkeys(names)]


def _gate_terms(pictures: Pictures) -> list[str]:
    all_units = [run.units for run in pictures.runs if run.units is not None]
    names = dict.fromkeys(name for units in all_units for name in shown(units))
    full = {"c": "cell state", "h": "hidden state", "candidate": "candidate"}
    return [full.get(name, f"{name} gate") for name in names]


def terms(pictures: Pictures) -> str:
    """The glossary's entries that the pictures link to, for the end of the page."""
    wanted = [*WORD_TERMS, *_cell_terms(pictures)]
    if any(run.units is not None for run in pictures.runs):
        wanted += [*UNIT_TERMS, *_gate_terms(pictures), *GRADIENT_TERMS]
    found = {term.term: term for term in map(glossary.find, wanted) if term is not None}
    listed = "".join(glossary.html(term) for term in found.values())
    return f'<section id="terms"><h2>Words used here</h2>{listed}</section>'


def _words(pictures: Pictures) -> str:
    why = _why(
        "A recurrent network keeps only its state of the text, a fixed list of numbers. An earlier "
        "word can change a prediction only if it has left a trace in the state. A word that is not "
        "shaded has left none, or this prediction does not need it.",
        '<p class="equation" id="words-equation"></p>',
        (*WORD_TERMS, *_cell_terms(pictures)),
    )
    lead = (
        "Choose a word: click on it, or go there with the arrow keys. Every word before it is "
        "shaded by how much it changed the prediction of the chosen word. The number below a word "
        "says how much."
        if pictures.runs[0].answer is None
        else "Every word is shaded by how much it changed the answer. The number below a word says "
        "how much."
    )
    return f"""<section class="picture" id="words" aria-labelledby="words-title">
<h2 id="words-title">Your text, word by word</h2>
<p>{lead} Text: {text(pictures.source)}, read from an empty state by the trained model.
{text(pictures.why_focus)}</p>
<div class="switch" role="group" aria-label="How it is measured">
<button type="button" data-how="leftOut" aria-pressed="true">leave the word out</button>
<button type="button" data-how="share" aria-pressed="false">gradient</button>
</div>
<p class="legend" id="words-legend"></p>
<p class="summary" id="words-summary" aria-live="polite"></p>
<div class="runs" id="words-runs"></div>
{why}
<details><summary>The same as a table</summary>{table_html(_strongest(pictures))}</details>
</section>"""


def _inside(pictures: Pictures) -> str:
    why = _why(
        "A gate is a number between 0 and 1, for each unit and token. It multiplies a value: near "
        "1 it lets the value through, near 0 it blocks it. A forget (or keep) gate near 1 keeps "
        "what the unit held, near 0 it erases it. A plain RNN has no gates and computes every "
        "value again at every token.",
        '<p class="equation" id="units-equation"></p>',
        (*UNIT_TERMS, *_gate_terms(pictures)),
    )
    return f"""<section class="picture" id="units" aria-labelledby="units-title">
<h2 id="units-title">Inside a unit</h2>
<p>Each row of the map is one unit, each column is one token of the text. Choose a unit and a token
with a click or the arrow keys. Below the map, this unit is drawn with its gates. All of this is the
model after its training. <span id="units-opened"></span></p>
<div class="switch" role="group" aria-label="Run" id="units-run"></div>
<div class="switch" role="group" aria-label="What is drawn" id="units-array"></div>
<div class="switch"><label>Sort units by <select id="units-order"></select></label></div>
<div class="switch"><label>Go to unit <input type="text" inputmode="decimal" size="6"
id="units-number" aria-describedby="units-missing"></label>
<span id="units-missing" role="status"></span></div>
<div class="map"><canvas id="units-map" tabindex="0" role="application"
aria-label="Map of units and tokens: arrow keys left and right for tokens, up and down for units"
></canvas></div>
<p class="legend" id="units-legend"></p>
<p class="said" id="units-said" aria-live="polite"></p>
<div class="trace" id="units-trace" tabindex="0" role="application"
aria-label="One unit with its gates: arrow keys go along the text, with Shift they choose a stretch"
></div>
<p class="note">Drag along the drawing, or hold Shift with the arrow keys, to choose a stretch.</p>
<div id="units-places"></div>
{why}
<details><summary>The same as a table</summary>{table_html(_telling(pictures))}</details>
</section>"""


def _telling(pictures: Pictures) -> Table:
    """The units that tell most, of every run."""
    rows = []
    for run in pictures.runs:
        for one in () if run.units is None else run.units.units[:TELLING]:
            best = max(one.knows.items(), key=lambda pair: pair[1], default=("nothing", 0.0))
            layer = f"layer {one.layer}, " if run.layers > 1 else ""
            cells = (
                f"{layer}unit {one.unit}",
                f"{one.lasts:.0f}",
                best[0],
                f"{100 * best[1]:.0f} %",
            )
            rows.append((_called(run), *cells))
    caption = (
        f"Measured on {len(pictures.longer):,} characters. A unit lasts until the autocorrelation "
        "of its state has fallen below 1/e. What it knows of a property is their mutual "
        "information, as a share of the property's entropy."
    )
    heads = ("run", "unit", "lasts (tokens)", "knows most of", "knows")
    return table(heads, rows, align="llrlr", caption=caption)


def _gradient(pictures: Pictures) -> str:
    runs = [run for run in pictures.runs if run.gradient]
    answers = runs[0].answer is not None
    source = "answer" if answers else f"last word, “{_brief(pictures.words[-1].text)}”"
    why = _why(
        "Through this gradient, training learns how an early word changed a late loss. For every "
        "token on its way back, the gradient is multiplied by the derivative of one step. Where "
        "the product has shrunk to nothing, nothing can be learned about that word. Along the cell "
        "state of an LSTM this factor is mainly the forget gate, which can stay near 1.",
        '<p id="gradient-when"></p><p class="equation" id="gradient-equation"></p>',
        GRADIENT_TERMS,
    )
    return f"""<section class="picture" id="gradient" aria-labelledby="gradient-title">
<h2 id="gradient-title">The gradient on its way back</h2>
<p>From the loss at the {text(source)}, back through the text: how much is left of the gradient with
respect to the state. 100 % is its length one token back, as in REACH.</p>
<div class="switch"><label>training <input type="range" id="gradient-stage" min="0" value="0"
step="1"></label> <output id="gradient-title-of" for="gradient-stage"></output></div>
<div id="gradient-chart"></div>
<p class="note" id="gradient-beyond" hidden>▲ or ▼ at the edge: there the curve leaves the frame, or
comes back. Beyond are values above 400 % and below 0.0001 %.</p>
<div class="switch"><label>tokens back <input type="range" id="gradient-lag" min="1" value="10"
step="1"></label></div>
<p class="said" id="gradient-said" aria-live="polite"></p>
{why}
<details><summary>The same as a table</summary>{table_html(_arrives(pictures))}</details>
</section>"""


def arrived(run: SeenRun, stage: Stage, state: str = "h") -> list[float]:
    """What is left of the gradient 0, 1, … tokens back from where the last word begins, relative to
    one token back.

    Of a classifier: from the text's end.
    """
    head = run.owner.index(run.owner[-1]) if run.answer is None else len(run.owner)
    norms = stage.norms[state][: head + 1][::-1]
    # Not to its length at the last token itself, which is the output layer's doing.
    whole = norms[min(1, len(norms) - 1)]
    return [value / whole if whole > 0 else 0.0 for value in norms]


def _share(value: float) -> str:
    """A share for people: ``34 %``, ``0.05 %``, ``3 × 10⁻⁷ %``."""
    if value >= 10:
        return numbers.number(value, 2)
    if value >= 1e-5:
        return f"{numbers.number(100 * value, 2)} %"
    if value <= 0:
        return "nothing"
    digit, power = f"{100 * value:.0e}".split("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digit} × 10{raised} %"


def _arrives(pictures: Pictures) -> Table:
    runs = [run for run in pictures.runs if run.gradient]
    longest = max(len(arrived(run, run.gradient[-1])) for run in runs)
    lags = [lag for lag in LAGS if lag < longest]
    rows = []
    for run in runs:
        # The first stage and the last: what training made of it, the slider shows in between.
        for stage in (*run.gradient[:-1][:1], run.gradient[-1]):
            for state in stage.norms:
                left = arrived(run, stage, state)
                cells = [_share(left[lag]) if lag < len(left) else "-" for lag in lags]
                rows.append((_called(run), stage.title, state, *cells))
    heads = ("run", "weights", "state", *(f"{lag} back" for lag in lags))
    return table(heads, rows, align="lll" + "r" * len(lags),
                 caption="What is left of the gradient, relative to one token back.")  # fmt: skip


def _strongest(pictures: Pictures) -> Table:
    """The words that moved the prediction most, of the word that the page begins with."""
    at = pictures.focus
    rows = []
    for run in pictures.runs:
        row = at if run.answer is None else 0
        change, share = run.influence.left_out[row], run.influence.share[row]
        order = sorted(range(at), key=lambda i: -abs(change[i]))[:STRONGEST]
        for i in order:
            back = f"{at - i}"
            cells = (
                _brief(pictures.words[i].text),
                back,
                factor(change[i]),
                f"{100 * share[i]:.1f} %",
            )
            rows.append((_called(run), *cells))
    answer = pictures.runs[0].answer
    chosen = _brief(pictures.words[at].text) if answer is None else "the answer"
    caption = (
        f"What changed the prediction of “{chosen}” most. ×2: with the word it is twice as likely "
        "as without it, ÷2: half as likely. Connectivity is the share of the gradient's length, "
        "which adds up to 100 % over all earlier words."
    )
    heads = ("run", "word", "words back", "word left out", "connectivity")
    return table(heads, rows, align="lllrr", caption=caption)
