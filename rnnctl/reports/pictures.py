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

from rnnctl.reports.as_html import table_html, text
from rnnctl.reports.blocks import Block, Heading, Table, table
from rnnctl.reports.cells import display_name, listed
from rnnctl.results.base import Result
from rnnctl.results.pictures import Pictures, SeenRun

GREY = "#808080"
WIDEST = 20.0
"""Nats: larger changes of a log-probability are drawn and written as this one."""
STRONGEST = 3  # earlier words that the table names


def title(pictures: Pictures) -> str:
    """``What lstm and gru do with a text``."""
    names = [run.name for run in pictures.runs]
    return f"What {_listed(names)} {'does' if len(names) == 1 else 'do'} with a text"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]


def factor(nats: float) -> str:
    """How many times likelier (``×2.3``) or less likely (``÷2.3``) a change of `nats` makes it."""
    size = math.exp(min(abs(nats), WIDEST))
    if size < 1.05:
        return "×1"
    digits = f"{size:.1f}" if size < 10 else f"{size:,.0f}"
    return f"{'×' if nats > 0 else '÷'}{digits}"


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
    top = 256**size - 1
    array: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    span = high - low if high > low else 1.0
    whole = np.rint(np.clip((array - low) / span, 0.0, 1.0) * top)
    data = whole.astype("u1" if size == 1 else "<u2").tobytes()
    return {"bytes": base64.b64encode(data).decode("ascii"), "size": size, "low": low, "high": high}


def data(pictures: Pictures) -> dict[str, object]:
    """What `page.js` draws, as JSON."""
    return {
        "words": [[word.space, word.text] for word in pictures.words],
        "focus": pictures.focus,
        "runs": [_run(run) for run in pictures.runs],
    }


def _run(run: SeenRun) -> dict[str, object]:
    cell = listed(run.cell)
    seen = run.influence
    return {
        "name": run.name,
        "title": display_name(run.cell),
        "color": GREY if cell is None else cell.color,
        "logChance": [round(value, 3) for value in seen.log_chance],
        "guesses": seen.guesses,
        "leftOut": packed(_flat(seen.left_out), -WIDEST, WIDEST, size=2),
        "share": packed(_flat(seen.share), 0.0, 1.0, size=2),
    }


def _flat(rows: Iterable[Iterable[float]]) -> list[float]:
    return [value for row in rows for value in row]


# -- what stands still ----------------------------------------------------------------------------


def sections(pictures: Pictures) -> str:
    """The pictures as HTML: places for `page.js`, explanations, and the same as tables."""
    return _words(pictures)


def _words(pictures: Pictures) -> str:
    return f"""<section class="picture" id="words" aria-labelledby="words-title">
<h2 id="words-title">Your text, word by word</h2>
<p>Choose a word: click on it, or go there with the arrow keys. Every word before it is shaded by
how much it moved the prediction of the chosen word, and the number stands below it. Text:
{text(pictures.source)}.</p>
<div class="switch" role="group" aria-label="How it is measured">
<button type="button" data-how="leftOut" aria-pressed="true">leave the word out</button>
<button type="button" data-how="share" aria-pressed="false">gradient</button>
</div>
<p class="legend" id="words-legend"></p>
<div class="runs" id="words-runs"></div>
<details><summary>The same as a table</summary>{table_html(_strongest(pictures))}</details>
</section>"""


def _strongest(pictures: Pictures) -> Table:
    """The words that moved the prediction most, of the word that the page begins with."""
    at = pictures.focus
    rows = []
    for run in pictures.runs:
        change, share = run.influence.left_out[at], run.influence.share[at]
        order = sorted(range(at), key=lambda i: -abs(change[i]))[:STRONGEST]
        for i in order:
            back = f"{at - i} back"
            cells = (pictures.words[i].text, back, factor(change[i]), f"{100 * share[i]:.1f} %")
            rows.append((f"{run.name} ({display_name(run.cell)})", *cells))
    chosen = pictures.words[at].text
    caption = (
        f"What moved the prediction of “{chosen}” most. With the word, “{chosen}” is so many "
        "times likelier (×) or less likely (÷) than without it; the gradient's shares add up to "
        "100 % over all earlier words."
    )
    heads = ("run", "word", "where", "left out", "gradient")
    return table(heads, rows, align="lllrr", caption=caption)
