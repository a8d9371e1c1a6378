"""`rnnctl states`: what is inside a model along a text, as arrays."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from rnnctl.cli import console, inputs
from rnnctl.cli import filter_options as f
from rnnctl.cli.answered import Problems
from rnnctl.cli.idle import idle
from rnnctl.cli.options import OUTPUT, QuietOption, RunArgument, option, takes_groups
from rnnctl.errors import DataError, NotFiniteError, UsageError, word
from rnnctl.wording import plural

if TYPE_CHECKING:
    from rnnctl.inference.arrays import Format, Item, Writer
    from rnnctl.inference.inside import Inside, Pooled, Stretch
    from rnnctl.inference.records import Record, Wanted

FORMATS: Final = ("npz", "safetensors", "parquet")
PROGRESS_S: Final = 5.0

Parts = Annotated[
    str | None,
    option(
        OUTPUT,
        "What to write: the states h and c, and the gates: input, forget, candidate, output "
        "(LSTM); reset, keep, candidate (GRU).",
        metavar="NAME,…",
        show_default="everything that the cell has",
    ),
]
Layers = Annotated[
    str | None,
    option(OUTPUT, "Layers to write; 1 is the lowest.", metavar="N,…", show_default="all"),
]
PoolOption = Annotated[
    Literal["mean", "last", "max"] | None,
    option(
        OUTPUT,
        "Write one vector for each text instead of each token: the mean of its rows, the last "
        "row, or the largest value of each unit.",
    ),
]
FormatOption = Annotated[
    Literal["npz", "safetensors", "parquet"] | None,
    option(OUTPUT, "File format.", show_default="from the ending of the file name"),
]
IdOption = Annotated[
    str | None,
    option(
        f.INPUT,
        "Column with the name of each text.",
        metavar="COLUMN",
        show_default="id, item or a similar name; otherwise the line number",
    ),
]
Output = Annotated[
    Path | None,
    option(
        OUTPUT,
        "The file to write: .npz, .safetensors or .parquet.  [required]",
        "--output",
        "-o",
        metavar="FILE",
    ),
]


@idle(*f.LINES_IDLE)
@takes_groups
def states(
    run: RunArgument,
    files: f.Files = None,
    *,
    output: Output = None,
    format: FormatOption = None,
    parts: Parts = None,
    layers: Layers = None,
    pool: PoolOption = None,
    reads: f.ReadingTexts,
    id: IdOption = None,
    machine: f.MachineOptions,
    quiet: QuietOption = False,
) -> int:
    """Write what is inside a model along a text, as arrays: states and gates of every layer.

    Reads what `score` reads. Each token gets a row: the state h (and c) and the gates after the
    token was read, of shape (tokens, layers, units), together with the token's id, its place in
    the text (in characters and bytes) and the number of its text. For a language model the first
    row of each text is the start of the document, from which the first token is predicted. For a
    classifier the last row is the end of the document. With --pool each text gets one row.
    Classifiers that read in both directions need --pool.

    Texts of any length are read in constant memory. A text that cannot be read is reported, and the
    exit code is 1.
    """
    sources, command = files or [], f"states {word(run)}"
    place, form = _destination(output, format)
    wanted_layers = _numbers(layers)
    wanted_parts = None if parts is None else [part.strip() for part in parts.split(",")]
    inputs.check(sources, command)
    from rnnctl import __version__
    from rnnctl.inference.arrays import Facts, writer
    from rnnctl.inference.inside import Inside, Pooled

    loaded = machine.load(run)
    inside = Inside(loaded, wanted_parts, wanted_layers, whole=pool is not None)
    opened, each = reads.opened(sources, command, may_guess=not inside.ends)
    as_trained = inside.ends and reads.documents is None
    wanted = reads.wanted(loaded, reads.kind(), None if as_trained else each)
    # A pooled row is of a text, and has no token that would need a name.
    vocabulary: tuple[str, ...] = ()
    if pool is None:
        size = inside.tokenizer.vocab_size
        vocabulary = tuple(map(inside.tokenizer.token_text, range(size)))
    facts = Facts(inside.layers, vocabulary, {"run": str(run), "rnnctl": __version__})
    whole = wanted.unit == "file" and not inside.ends
    if whole and id is not None:
        raise UsageError(
            f"--id {id}: the input is one running text, without columns",
            hint="leave it out, or read lines or records: --lines, --as csv, --text-field NAME",
        )
    # Where no text could be read, the error below leaves no file behind.
    with writer(place, form, facts) as out:
        pooled = None if pool is None else Pooled(pool, both_ways=inside.both_ways)
        written = _Written(out, pooled)
        if whole:
            _stream(inside, opened, wanted, written)
        else:
            _records(inside, opened, wanted, written, id, fail_fast=reads.fail_fast)
        if not written.texts:
            raise DataError("no text could be read", hint="see the messages above, or the input")
    written.report(inside, place)
    return 1 if written.problems.count else 0


def _destination(output: Path | None, format: Format | None) -> tuple[Path, Format]:
    """Where to write, and as what. UsageError where that is not clear."""
    if not console.is_file(output):
        raise UsageError(
            "arrays are binary and are not written to standard output",
            hint="name a file: -o states.npz, states.safetensors or states.parquet",
        )
    ending = output.suffix.removeprefix(".")
    found = next((known for known in FORMATS if known == (format or ending)), None)
    if found is None:
        raise UsageError(
            f"-o {output}: unknown file ending",
            hint="use .npz, .safetensors or .parquet, or set --format, such as --format npz",
        )
    return console.behind_link(output), found


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--layers {text}: not a list of layers", hint="for example: --layers 1,2"
        ) from None


class _Written:
    """Hands rows on to the file, counts them, and tells how far it is."""

    def __init__(self, out: Writer, pooled: Pooled | None) -> None:
        self.texts = self.tokens = 0
        self.problems = Problems()
        self._out, self._pooled = out, pooled
        self._item: int | None = None
        self._began = self._told = time.monotonic()

    def take(self, name: Item, stretch: Stretch, where: str) -> None:
        """Some rows of a text; the last of them end it. NotFiniteError."""
        if not stretch.is_finite:
            raise NotFiniteError(where)
        if self._item is None:
            self._item = self._out.item(name)
        ids, places, own = stretch.read
        if self._pooled is None:
            spans = ("start", "end", "byte_start", "byte_end")
            columns = dict(zip(spans, places.T, strict=True))
            if len(ids):
                self._out.rows(self._item, {"id": ids, **columns, **stretch.values})
        elif (found := self._pooled.add(stretch)) is not None:
            from numpy import array

            values = {part: value[None] for part, value in found[1].items()}
            self._out.rows(self._item, {"tokens": array([found[0]]), **values})
        self.tokens += int(own.sum())
        if stretch.last:
            self.texts += 1
            self._item = None
        self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told >= PROGRESS_S:
            self._told = now
            console.note(f"{plural(self.tokens, 'token')} read, {self._speed(now)}")

    def _speed(self, now: float) -> str:
        return f"{self.tokens / max(1e-9, now - self._began):,.0f} tokens/s"

    def report(self, inside: Inside, place: Path) -> None:
        """What was written, on standard error."""
        self.problems.report("more text")
        size = place.stat().st_size / 1e6
        layers = plural(len(inside.layers), "layer")
        ways = " (half of them backwards)" if inside.both_ways else ""
        console.note(
            f"{place}: {', '.join(inside.parts)} of {layers} with {inside.units} units{ways}; "
            f"{plural(self.texts, 'text')}, {plural(self.tokens, 'token')}, {size:,.1f} MB; "
            f"{self._speed(time.monotonic())}"
        )


def _stream(
    inside: Inside, opened: Iterable[inputs.Input], wanted: Wanted, written: _Written
) -> None:
    """Each source as one text of any length."""
    from rnnctl.data.tokenizers import MalformedTextError

    for name, chunks in inputs.texts(opened, wanted):
        try:
            for stretch in inside.stream(chunks):
                written.take(name, stretch, name)
        except MalformedTextError as problem:
            raise DataError(
                f"{name}: byte {problem.offset + 1} of the text is not valid UTF-8 "
                f"({problem.reason})",
                hint="if the text is in another encoding, name it: --encoding cp1252",
            ) from None


def _records(
    inside: Inside,
    opened: Iterable[inputs.Input],
    wanted: Wanted,
    written: _Written,
    id: str | None,
    *,
    fail_fast: bool,
) -> None:
    """Lines, paragraphs or records, each a text of its own."""
    from rnnctl.inference.records import failure

    for source, windows in inputs.windows(opened, wanted):
        for window in windows:
            good: list[tuple[Item, Record]] = []
            for record in window:
                if record.error and fail_fast:
                    raise failure(record, source)
                try:
                    good.append((_name(record, wanted, id), record))
                except DataError as problem:
                    written.problems.tell(f"{source}:{record.line}: {problem.message}")
            place = 0
            for stretch in inside.texts(record.text for _, record in good):
                name, record = good[place]
                written.take(name, stretch, f"{source}:{record.line}")
                place += stretch.last


def _name(record: Record, wanted: Wanted, id: str | None) -> Item:
    """What a text is called. DataError where there is none."""
    from rnnctl.inference.records import item_of

    if record.error:
        raise DataError(record.error)
    found: Item = item_of(record, id)
    if record.fields is None and record.file and wanted.unit != "file":
        return f"{record.file}:{record.line}"
    return found if record.fields is None or isinstance(found, int) else str(found)
