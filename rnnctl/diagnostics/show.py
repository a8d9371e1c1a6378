"""Gates over a text, to look at: ``rnnctl diagnose RUN --show "text"``.

The text is shaded by how strongly each token is kept until the text ends, as the gates alone imply
it: for an LSTM the input gate at that token times all forget gates after it, for a GRU (1 − keep)
times all keep gates after it, averaged over the top layer's units. Below the text, a row of digits
for that (9: half of it or more; each digit less: half as much) and one per gate (0: shut, below
0.1; 9: open, 0.9 and above). Colour only repeats the digits. Several runs stand under each other at
the same characters, so their tokens need not be the same. Then one word, at which the gate that
keeps changes most: its gates, and how much the state changes while it is read.

Why digits: a terminal without colour, a file and a reader who sees colours differently get the
same picture.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from rnnctl.diagnostics.subject import ExactModel, TracedModel
from rnnctl.errors import UsageError
from rnnctl.nn.cells import Cell
from rnnctl.tasks.loading import Loaded

FloatArray = NDArray[np.float64]
KEPT = (
    "how much of this token the gates keep until the end (9: at least half; each digit less "
    "is half as much; 0: less than 1/512)"
)
SHADES = (
    "#2b2b2b", "#3a2f4a", "#4a3468", "#5b3a86", "#7340a0", "#8f47a8", "#ab52a5", "#c66299",
    "#dd7a88", "#f0a07a",
)  # fmt: skip
LIGHTEST_WITH_WHITE = 6
NO_GATES = "a plain RNN has no gates: every step rewrites the whole state"


@dataclass(frozen=True)
class GateView:
    """One run's gates over a text.

    pieces: what each token writes; rows: gate -> (N,) values in [0, 1], "kept" first; empty where
    the cell has no gates. states: h (and c) of the top layer after each token, (N, H).
    """

    name: str
    cell: Cell | None
    pieces: tuple[str, ...]
    rows: dict[str, FloatArray]
    states: dict[str, FloatArray]

    @property
    def text(self) -> str:
        """The text as its tokens write it; an unknown word stands as ``<unk>``."""
        return "".join(self.pieces)

    @property
    def words(self) -> list[tuple[str, range]]:
        """Each word with the tokens that end in it, the space before it among them."""
        ends = np.cumsum([len(piece) for piece in self.pieces])
        found, first = [], 0
        for word in re.finditer(r"[\s⏎]*[^\s⏎]+", self.text):
            last = int(np.searchsorted(ends, word.end(), side="right"))
            if last > first:
                found.append((word[0].strip(" ⏎"), range(first, last)))
            first = max(first, last)
        return found


def picture(runs: Sequence[Loaded], text: str, *, width: int = 80, color: bool = True) -> str:
    """`text` with the gates of every run under it, in lines of at most `width` columns.

    Raises UsageError for an empty text, and for a run that reads in both directions.
    """
    views = []
    for loaded in runs:
        if loaded.config.model.bidirectional:
            raise UsageError(
                f"{loaded.run.path} reads in both directions: its gates do not show a memory of "
                "the past",
                hint="use a run that was trained with --no-bidirectional",
            )
        ids, token_bytes = loaded.tokenizer.encode(text), loaded.tokenizer.token_bytes
        if len(ids) == 0:
            raise UsageError("there is no text to show", hint="give it after --show")
        views.append(look(ExactModel(loaded.model), ids, token_bytes, name=loaded.run.path.name))
    canvas = Console(width=width, force_terminal=color, no_color=not color, highlight=False)
    with canvas.capture() as written:
        for line in render(views, width=width, color=color):
            canvas.print(line, soft_wrap=True)
    return written.get()


def look(
    subject: TracedModel,
    ids: Sequence[int] | NDArray[np.integer[Any]],
    token_bytes: Callable[[int], bytes],
    *,
    name: str,
) -> GateView:
    """Read token `ids`; `token_bytes` says what each writes, `name` is what the reader calls it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pieces = tuple(_visible(decoder.decode(token_bytes(int(token)))) for token in ids)
    rows: dict[str, FloatArray] = {}
    states: dict[str, FloatArray] = {}
    if subject.cell is not None and pieces:
        trace = subject.trace(torch.tensor([[int(token)] for token in ids]))
        values = trace.layers[-1].values
        if subject.cell.has_gates:
            rows = _rows(subject.cell, values)
        for state in reversed(subject.cell.state_names):  # of an LSTM c first
            states[state] = values[state][:, 0].double().numpy(force=True)
    return GateView(name, subject.cell, pieces, rows, states)


def _visible(text: str) -> str:
    """One column or two for everything: line ends, tabs and control characters as signs."""
    signs = {"\n": "⏎", "\t": "→"}
    return "".join(c if c.isprintable() and cell_len(c) else signs.get(c, "�") for c in text)


def _rows(cell: Cell, values: Mapping[str, torch.Tensor]) -> dict[str, FloatArray]:
    keep = values[cell.shown_gates[0]][:, 0]  # (T, H)
    written = cell.written(values)[:, 0]
    # Of the gates after each token: cumprod runs forwards, and what is wanted is the product from
    # behind.
    later = torch.cat([keep[1:], torch.ones_like(keep[:1])]).flip(0).cumprod(0).flip(0)
    rows = {"kept": (written * later).mean(1).numpy(force=True)}
    for gate in cell.shown_gates:
        rows[gate] = values[gate][:, 0].mean(1).numpy(force=True)
    return rows


def render(views: Sequence[GateView], *, width: int = 80, color: bool = True) -> list[Text]:
    """Lines of at most `width` columns: text, shaded, with rows of digits; then what they mean.

    Runs whose tokens write the same text stand under each other, others one after the other.
    Without `color` the lines have no style at all.
    """
    together = len({view.text for view in views}) == 1
    groups = [list(views)] if together else [[view] for view in views]
    lines: list[Text] = []
    for group in groups:
        lines += _block(group, width, color=color)
    below = [*_moment(views, width), *_legend(views, width)]
    return lines + [Text(line) for line in below]


def _moment(views: Sequence[GateView], width: int) -> list[str]:
    """What gates and state of every run do at one word: where the first run with gates keeps
    suddenly more or less, or else where the state of the first run changes most.
    """
    first = next((view for view in views if view.rows), views[0] if views else None)
    if first is None or len(first.words) < 2:
        return []
    words = first.words
    if first.rows and first.cell is not None:
        gate = first.cell.shown_gates[0]
        means = [_mean(first, gate, tokens) for _, tokens in words]
        at = 1 + int(np.abs(np.diff(means)).argmax())
        way = "rises" if means[at] > means[at - 1] else "falls"
        ends = f"from {means[at - 1]:.2f} to {means[at]:.2f}"
        why = f"the {gate} gate of {first.name} {way} most, {ends}"
    else:
        sizes = [_change(first, "h", tokens) for _, tokens in words[1:]]
        at, why = 1 + int(np.argmax(sizes)), f"the state of {first.name} changes most"
    told = [f"at “{words[at][0]}”, where {why}:"]
    for view in views:
        if len(view.words) != len(words):
            continue  # its tokens write another text
        tokens = view.words[at][1]
        gates = [f"{row} {_mean(view, row, tokens):.2f}" for row in view.rows if row != "kept"]
        changes = [f"{name} by {100 * _change(view, name, tokens):.0f} %" for name in view.states]
        told.append(
            f"  {view.name}: {', '.join(gates) or 'no gates'}; its state changes: "
            f"{', '.join(changes)}"
        )
    return [*(line for one in told for line in wrap(one, width, subsequent_indent="    ")), ""]


def _mean(view: GateView, row: str, tokens: range) -> float:
    """A gate's mean over the tokens of a word."""
    return float(view.rows[row][tokens.start : tokens.stop].mean())


def _change(view: GateView, name: str, tokens: range) -> float:
    """How far a state moves while a word is read, as a share of its length before."""
    states = view.states[name]
    before, after = states[tokens.start - 1], states[tokens.stop - 1]
    return float(np.linalg.norm(after - before) / max(1e-12, float(np.linalg.norm(before))))


def _block(views: Sequence[GateView], width: int, *, color: bool) -> list[Text]:
    names = [label for view in views for label in _labels(view)]
    label = min(max(map(len, names)), max(8, width // 3))
    lines = []
    for start, end in _cuts(views[0].text, max(16, width - label - 2)):
        for view in views:
            rows = [_shaded(view, start, end, color=color)]
            rows += [Text(_digits(view, row, start, end)) for row in view.rows]
            for name, row in zip(_labels(view), rows, strict=True):
                lines.append(Text(f"{_shortened(name, label):<{label}}  ").append_text(row))
        lines.append(Text())
    return lines


def _labels(view: GateView) -> list[str]:
    """The run's name beside its text, then the gates."""
    cell = "" if view.cell is None else f" ({view.cell.display_name})"
    return [f"{view.name}{cell}", *(f"  {row}" for row in view.rows)]


def _shortened(name: str, width: int) -> str:
    return name if len(name) <= width else "…" + name[1 - width :]


def _cuts(text: str, width: int) -> list[tuple[int, int]]:
    """Pieces of at most `width` columns, cut after a space where there is one late enough."""
    cuts, start = [], 0
    while start < len(text):
        end, used = start, 0
        while end < len(text) and used + cell_len(text[end]) <= width:
            used += cell_len(text[end])
            end += 1
        space = text.rfind(" ", start + (end - start) // 2, end)
        if end < len(text) and space > 0:
            end = space + 1
        cuts.append((start, end))
        start = end
    return cuts


def _per_character(view: GateView, row: str) -> tuple[list[int], list[bool]]:
    """Of every character: the digit of its token, and whether the token begins there."""
    digits, firsts = [], []
    for piece, value in zip(view.pieces, view.rows[row], strict=True):
        digits += [_digit(row, float(value))] * len(piece)
        firsts += [True] + [False] * (len(piece) - 1) if piece else []
    return digits, firsts


def _digit(row: str, value: float) -> int:
    """0 to 9: tenths of a gate; halvings of what is kept, which spans orders of magnitude."""
    if row == "kept":
        return max(0, min(9, 10 + math.floor(math.log2(max(value, 1e-9)))))
    return max(0, min(9, int(10 * value)))


def _digits(view: GateView, row: str, start: int, end: int) -> str:
    """A digit under the first visible character of each token, as wide as the text above."""
    digits, firsts = _per_character(view, row)
    shown, waiting = "", False
    for at, char in enumerate(view.text):
        waiting = waiting or firsts[at]
        mark = " "
        if waiting and (char != " " or _is_last(firsts, at)):
            mark, waiting = str(digits[at]), False
        if start <= at < end:
            shown += mark + " " * (cell_len(char) - 1)
    return shown


def _is_last(firsts: list[bool], at: int) -> bool:
    """Whether the token of this character ends with it."""
    return at + 1 == len(firsts) or firsts[at + 1]


def _shaded(view: GateView, start: int, end: int, *, color: bool) -> Text:
    line = Text()
    digits = _per_character(view, "kept")[0] if view.rows else []
    for at in range(start, end):
        style = _style(digits[at]) if color and digits else ""
        line.append(view.text[at], style=style)
    return line


def _style(digit: int) -> str:
    front = "white" if digit < LIGHTEST_WITH_WHITE else "black"
    return f"{front} on {SHADES[digit]}"


def _meaning(gate: str, views: Sequence[GateView]) -> str:
    """What a gate does, as the first cell that has it says; "" where none says it."""
    cells = (view.cell for view in views if view.cell is not None)
    return next((cell.meanings[gate] for cell in cells if gate in cell.meanings), "")


def _legend(views: Sequence[GateView], width: int) -> list[str]:
    """One entry per row that was shown, with each run's mean; then what the digits are."""
    rows = dict.fromkeys(row for view in views for row in view.rows)
    entries = []
    for row in rows:
        means = [f"{view.name} {view.rows[row].mean():.2f}" for view in views if row in view.rows]
        mean = "" if row == "kept" else f" (mean: {', '.join(means)})"
        meaning = KEPT if row == "kept" else _meaning(row, views)
        entries.append(f"{row}: {meaning}{mean}" if meaning else f"{row}{mean}")
    entries += [f"{view.name}: {NO_GATES}" for view in views if not view.rows]
    if rows:
        entries.append("gates: 0 = below 0.1 … 9 = 0.9 and above, mean over the top layer's units")
        entries.append("this shows the gates alone, not what recurrent weights carry")
    return [line for entry in entries for line in wrap(entry, width, subsequent_indent="  ")]
