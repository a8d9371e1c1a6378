"""Gates over a text, to look at: ``rnnctl diagnose RUN --show "text"``.

The text is shaded by how strongly each token is kept until the text ends, as the gates alone imply
it: for an LSTM the input gate at that token times all forget gates after it, for a GRU (1 − keep)
times all keep gates after it, averaged over the top layer's units. Below the text, a row of digits
for that (9: half of it or more; each digit less: half as much) and one per gate (0: shut, below
0.1; 9: open, 0.9 and above). The gates are those of one unit, in which most is erased at once: the
product of what it held and of how far its gate falls. That is the unit that a page opens at; the
mean over units is about the same at every token. Colour only repeats the digits. Several runs stand
under each other at the same characters, so their tokens need not be the same. Then the word at
which that happens, and how much the states change while it is read.

Why digits: a terminal without colour, a file and a reader who sees colours differently get the
same picture.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from rnnctl.diagnostics.sample import Floats
from rnnctl.diagnostics.subject import ExactModel, TracedModel
from rnnctl.errors import UsageError
from rnnctl.nn.cells import Cell
from rnnctl.tasks.loading import Loaded

KEPT = (
    "how much of this token the gates keep until the end, mean over units (9: at least half; each "
    "digit less is half as much; 0: less than 1/512)"
)
SHUTS = 0.1
"""A gate that falls by more than this shuts, as on a page."""
SHADES = (
    "#2b2b2b", "#3a2f4a", "#4a3468", "#5b3a86", "#7340a0", "#8f47a8", "#ab52a5", "#c66299",
    "#dd7a88", "#f0a07a",
)  # fmt: skip
LIGHTEST_WITH_WHITE = 6
NO_GATES = "a plain RNN has no gates: every step rewrites the whole state"


@dataclass(frozen=True)
class Erased:
    """Where most is erased at once: the unit, as it is called, and the token; how far the gate that
    keeps falls there, and what the unit held before.
    """

    unit: str
    token: int
    gate: str
    before: float
    after: float
    state: str
    held: float


@dataclass(frozen=True)
class GateView:
    """One run's gates over a text.

    pieces: what each token writes; rows: (N,) values in [0, 1] by name, "kept" first, then the
    gates of one unit; empty where the cell has no gates. means: of each gate over all tokens and
    the top layer's units. states: h (and c) of the top layer after each token, (N, H).
    """

    name: str
    cell: Cell | None
    pieces: tuple[str, ...]
    rows: dict[str, Floats]
    states: dict[str, Floats]
    means: dict[str, float] = field(default_factory=dict)
    erased: Erased | None = None

    @property
    def text(self) -> str:
        """The text as its tokens write it; an unknown word stands as ``<unk>``."""
        return "".join(self.pieces)

    @property
    def words(self) -> list[tuple[str, range]]:
        """Each word with the tokens that end in it, the space before it among them."""
        return _words(self.pieces)


def _words(pieces: Sequence[str]) -> list[tuple[str, range]]:
    """Words with their tokens; of a text without spaces each token is one."""
    ends = np.cumsum([len(piece) for piece in pieces])
    found, first = [], 0
    for word in re.finditer(r"[\s⏎]*[^\s⏎]+", "".join(pieces)):
        last = int(np.searchsorted(ends, word.end(), side="right"))
        if last > first:
            found.append((word[0].strip(" ⏎"), range(first, last)))
        first = max(first, last)
    if len(found) < 2:
        return [(piece, range(k, k + 1)) for k, piece in enumerate(pieces) if piece.strip(" ⏎")]
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
        start = None if loaded.labels else loaded.tokenizer.boundary_id
        model, called = ExactModel(loaded.model), loaded.run.path.name
        views.append(look(model, ids, token_bytes, name=called, start=start))
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
    start: int | None = None,
) -> GateView:
    """Read token `ids` (N,), after `start` if there is one, which is not shown; `token_bytes` says
    what each writes, `name` is what the reader calls it.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pieces = tuple(_visible(decoder.decode(token_bytes(int(token)))) for token in ids)
    if subject.cell is None or not pieces:
        return GateView(name, subject.cell, pieces, {}, {})
    before = [] if start is None else [start]
    trace = subject.trace(torch.tensor([[int(token)] for token in (*before, *ids)]))
    layers = [
        {key: one[len(before) :, 0].double() for key, one in layer.values.items()}
        for layer in trace.layers
    ]
    cell, top = subject.cell, layers[-1]
    states = {key: top[key].numpy(force=True) for key in reversed(cell.state_names)}  # c first
    if not cell.has_gates:
        return GateView(name, cell, pieces, {}, states)
    rows = {"kept": _kept(cell, top)}
    layer, unit, token = _most_erased(cell, layers, pieces)
    for gate in cell.shown_gates:
        rows[gate] = layers[layer][gate][:, unit].numpy(force=True)
    keeps, state = cell.shown_gates[0], cell.state_names[-1]
    called = f"unit {unit + 1}" + (f" of layer {layer + 1}" if len(layers) > 1 else "")
    earlier = max(0, token - 1)
    erased = Erased(
        called, token, keeps, float(rows[keeps][earlier]), float(rows[keeps][token]),
        state, float(layers[layer][state][earlier, unit]),
    )  # fmt: skip
    means = {gate: float(top[gate].mean()) for gate in cell.shown_gates}
    return GateView(name, cell, pieces, rows, states, means, erased)


def _visible(text: str) -> str:
    """One column or two for everything: line ends, tabs and control characters as signs."""
    signs = {"\n": "⏎", "\t": "→"}
    return "".join(c if c.isprintable() and cell_len(c) else signs.get(c, "�") for c in text)


def _kept(cell: Cell, values: Mapping[str, torch.Tensor]) -> Floats:
    """(N,) the share of what each token wrote that the gates keep until the end."""
    # As REACH along one path only: what other units write into this one is left out.
    keep = values[cell.shown_gates[0]]  # (N, H)
    # Of the gates after each token: cumprod runs forwards, and what is wanted is the product from
    # behind.
    later = torch.cat([keep[1:], torch.ones_like(keep[:1])]).flip(0).cumprod(0).flip(0)
    return np.asarray((cell.written(values) * later).mean(1).numpy(force=True))


def _most_erased(
    cell: Cell, layers: Sequence[Mapping[str, torch.Tensor]], pieces: Sequence[str]
) -> tuple[int, int, int]:
    """Layer, unit and token of the largest product of what a unit held and how far its gate falls,
    behind the first word: from an empty state every value jumps.
    """
    words = _words(pieces)
    first = min(words[0][1].stop if words else 1, len(pieces) - 1)
    keep, state = cell.shown_gates[0], cell.state_names[-1]
    found: list[tuple[bool, float, tuple[int, int, int]]] = []
    for number, values in enumerate(layers):
        falls = values[keep][:-1] - values[keep][1:]  # (N - 1, H)
        sizes = falls.clamp(min=0) * values[state][:-1].abs()
        for some in (sizes[max(0, first - 1) :] * (falls[max(0, first - 1) :] > SHUTS), sizes):
            if some.numel():
                at, unit = divmod(int(some.argmax()), some.shape[1])
                token = at + 1 + len(sizes) - len(some)
                found.append((some is not sizes, float(some.max()), (number, unit, token)))
    shut = [one for one in found if one[0] and one[1] > 0]
    return max(shut or found, key=lambda one: one[1])[2] if found else (0, 0, 0)


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
    """The word at which most is erased in the first run with gates, or else where the state of the
    first run changes most; and how much all states change there.
    """
    first = next((view for view in views if view.erased), views[0] if views else None)
    if first is None or len(first.words) < 2:
        return []
    words, erased = first.words, first.erased
    if erased is not None:
        at = next((k for k, (_, tokens) in enumerate(words) if erased.token in tokens), 1)
        why = (
            f"the {erased.gate} gate of {erased.unit} of {first.name} falls from "
            f"{erased.before:.2f} to {erased.after:.2f}; it held {erased.state} = {erased.held:.2f}"
        )
    else:
        sizes = [_change(first, "h", tokens) for _, tokens in words[1:]]
        at, why = 1 + int(np.argmax(sizes)), f"the state of {first.name} changes most"
    changes = []
    for view in views:
        if len(view.words) != len(words) or not view.words[at][1].start:
            continue  # its tokens write another text
        shares = [
            f"{name} {100 * _change(view, name, view.words[at][1]):.0f} %" for name in view.states
        ]
        changes.append(f"{view.name} {', '.join(shares)}")
    told = [f"at “{words[at][0]}”: {why}"]
    told += [f"  change of the state while it is read: {'; '.join(changes)}"] * bool(changes)
    return [*(line for one in told for line in wrap(one, width, subsequent_indent="    ")), ""]


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
    """One entry per row that was shown, with each run's mean; then what the digits are of."""
    rows = dict.fromkeys(row for view in views for row in view.rows)
    entries = []
    for row in rows:
        means = [f"{view.name} {view.means[row]:.2f}" for view in views if row in view.means]
        mean = f" (mean over all units: {', '.join(means)})" if means else ""
        meaning = KEPT if row == "kept" else _meaning(row, views)
        entries.append(f"{row}: {meaning}{mean}" if meaning else f"{row}{mean}")
    entries += [f"{view.name}: {NO_GATES}" for view in views if not view.rows]
    if rows:
        units = ", ".join(f"{view.name} {view.erased.unit}" for view in views if view.erased)
        entries.append(
            f"gates: 0 = below 0.1 … 9 = 0.9 and above, of the unit in which most is erased at "
            f"once: {units}"
        )
        entries.append("this shows the gates alone, not what recurrent weights carry")
    return [line for entry in entries for line in wrap(entry, width, subsequent_indent="  ")]
