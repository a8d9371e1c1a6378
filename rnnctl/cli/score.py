"""`rnnctl score`: how likely given text is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from rnnctl.cli import console, inputs
from rnnctl.cli.options import (
    DeviceOption,
    Format,
    FormatOption,
    OutputOption,
    QuietOption,
    RunArgument,
    ThreadsOption,
)
from rnnctl.errors import UsageError

if TYPE_CHECKING:
    from rnnctl.inference.lines import Line
    from rnnctl.inference.records import LineFormat, RecordReader
    from rnnctl.inference.score import Scored, Scorer, Tally
    from rnnctl.inference.scored_lines import ScoredLine
    from rnnctl.inference.scoring import TextReader

Unit = Literal["file", "paragraph", "line"]
INPUT = "Input"
STATE = "Reading on"
LINE_ROW = "columns: nats, tokens, bits per byte, perplexity per token"
NATS_ROW = "columns: nats, token"


def score(
    run: RunArgument,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Texts; `-` or none: standard input."),
    ] = None,
    lines: Annotated[
        bool,
        typer.Option(
            "--lines",
            help="Every line is a text of its own.",
            rich_help_panel=INPUT,
        ),
    ] = False,
    documents: Annotated[
        Unit | None,
        typer.Option(
            help="What a text of its own is; by default a whole file.", rich_help_panel=INPUT
        ),
    ] = None,
    per_token: Annotated[
        bool, typer.Option("--per-token", help="Nats of every token.", rich_help_panel=INPUT)
    ] = False,
    jsonl: Annotated[
        bool,
        typer.Option("--jsonl", help="Every line is a JSON object.", rich_help_panel=INPUT),
    ] = False,
    text_field: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The JSON field that holds the text.", rich_help_panel=INPUT
        ),
    ] = None,
    max_line: Annotated[
        int,
        typer.Option(
            min=1, metavar="BYTES", help="Longer lines get an error record.", rich_help_panel=INPUT
        ),
    ] = 16_000_000,
    fail_fast: Annotated[
        bool,
        typer.Option(
            "--fail-fast",
            help="Stop at the first line that holds no text.",
            rich_help_panel=INPUT,
        ),
    ] = False,
    state_in: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Go on after the text of --state-out.", rich_help_panel=STATE
        ),
    ] = None,
    state_out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the state after the text.", rich_help_panel=STATE),
    ] = None,
    format: FormatOption = "table",
    output: OutputOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Say how likely given text is: nats, bits per byte and character, perplexity.

    A file, or standard input, is one text from its first byte to its last; with --lines or
    --documents every line or paragraph gets a record of its own, in order, as soon as it is there:
    NATS<tab>TOKENS<tab>BITS PER BYTE<tab>PERPLEXITY, or one JSON object. Unknown tokens are charged
    with their spelling. With --state-out and --state-in, scoring a and then b equals scoring a+b.
    """
    console.configure(quiet=quiet)
    sources = files or []
    inputs.check(sources, f"score {run}")
    unit = _unit(lines or jsonl, documents)
    if unit != "file" and (state_in or state_out):
        raise UsageError("--state-in and --state-out read one whole text, not lines or documents")
    if (state_in or state_out) and len(sources) > 1:
        raise UsageError(
            "--state-in and --state-out take one text", hint="`cat` the files together"
        )
    from rnnctl.inference.records import RecordReader
    from rnnctl.inference.score import Scorer
    from rnnctl.inference.scoring import TextReader, score_streams
    from rnnctl.inference.training_text import by_document
    from rnnctl.tasks.loading import load
    from rnnctl.tasks.machine import set_threads

    set_threads(threads)
    loaded = load(run, device=device)
    scorer = Scorer(loaded, ends=by_document(loaded))
    printer = Printer(format, scorer.tokenizer.token_text)
    if unit != "file":
        lines_are: LineFormat = "jsonl" if jsonl or text_field else "text" if documents else "auto"
        reader = RecordReader(lines_are, text_field or loaded.config.corpus.text_field)
        windows = _windows(sources, f"score {run}", unit, max_line)
        _lines(scorer, windows, reader, printer, output, per_token=per_token, fail_fast=fail_fast)
        return
    text_reader = TextReader(scorer, state_in, state_out)
    streams = _streams(sources, f"score {run}")
    if per_token:
        _tokens(text_reader, streams, printer, output)
        return
    result = score_streams(loaded, text_reader, streams)
    if result.total.bytes == 0:
        console.note("the input is empty: nothing to score")
    console.emit(result, format, output)


def _unit(lines: bool, documents: Unit | None) -> Unit:
    if lines and documents not in (None, "line"):
        raise UsageError(f"--lines and --documents {documents} exclude each other")
    return "line" if lines else documents or "file"


def _streams(sources: Sequence[Path], command: str) -> Iterator[tuple[str, BinaryIO]]:
    for source in inputs.opened(sources, command):
        with inputs.reading(source.name):
            yield source.name, source.stream


def _windows(
    sources: Sequence[Path], command: str, unit: Unit, max_line: int
) -> Iterator[tuple[str, Iterator[list[Line]]]]:
    """The lines of each source, or its paragraphs."""
    from rnnctl.inference.lines import read_lines
    from rnnctl.inference.scored_lines import paragraphs

    for name, stream in _streams(sources, command):
        lines = read_lines(stream, max_line=max_line)
        yield name, paragraphs(lines, max_line) if unit == "paragraph" else lines


def _tokens(
    reader: TextReader, streams: Iterator[tuple[str, BinaryIO]], printer: Printer, out: Path | None
) -> None:
    """The tokens of whole texts, as they are read; their sums on stderr."""
    from rnnctl.inference.score import Tally

    tally = Tally()
    console.note(NATS_ROW)
    with inputs.output(out) as write:
        for name, stream in streams:
            for part in reader.read(name, stream, tally):
                write(printer.tokens(part))
    console.note(summary(tally))


def _lines(
    scorer: Scorer,
    sources: Iterator[tuple[str, Iterator[list[Line]]]],
    reader: RecordReader,
    printer: Printer,
    out: Path | None,
    *,
    per_token: bool,
    fail_fast: bool,
) -> None:
    """A record for each line or paragraph; the sums on stderr."""
    from rnnctl.inference.records import failure
    from rnnctl.inference.score import Tally
    from rnnctl.inference.scored_lines import scored_lines

    total, count, errors = Tally(), 0, 0
    console.note(NATS_ROW if per_token else LINE_ROW)
    with inputs.output(out) as write:
        for name, windows in sources:
            for window in scored_lines(scorer, windows, reader.fresh(), per_token=per_token):
                bad = next((i for i, s in enumerate(window) if s.tally is None), len(window))
                good = window[:bad] if fail_fast else window
                write("".join(printer.line(scored) for scored in good))
                if len(good) < len(window):
                    raise failure(window[bad].record, name)
                count += len(window)
                errors += sum(scored.tally is None for scored in window)
                for scored in window:
                    total.add(scored.tally or Tally())
    console.note(f"{count:,} texts: {summary(total)}")
    if errors:
        console.warn(f"{errors:,} of {count:,} hold no text")


def summary(tally: Tally) -> str:
    """Sums in a sentence."""
    if not tally.tokens:
        return "nothing to score"
    said = f"{tally.nats:,.2f} nats, {tally.tokens:,} tokens, perplexity {_shown(tally.perplexity)}"
    said += f", {_shown(tally.bits_per_byte)} bits per byte"
    return said + (f", unknown tokens: {tally.unknown:,}" if tally.unknown else "")


@dataclass(frozen=True, slots=True)
class Printer:
    """Scores as lines of a format."""

    format: Format
    token_text: Callable[[int], str]

    def tokens(self, part: Scored) -> str:
        """A line for each token."""
        texts = [self.token_text(token) for token in part.ids.tolist()]
        rows = zip(texts, part.ids.tolist(), part.nats.tolist(), strict=True)
        return "".join(self._token(*row) + "\n" for row in rows)

    def _token(self, text: str, token: int, nats: float) -> str:
        if self.format == "json":
            return json.dumps({"token": text, "id": token, "nats": round(nats, 6)})
        if self.format == "markdown":
            return f"| {nats:.6f} | {_cell(text)} |"
        return f"{nats:.6f}\t{text}"

    def line(self, scored: ScoredLine) -> str:
        """A line for each text; its tokens below it where they are wanted."""
        if self.format == "json":
            fields = scored.fields()
            if scored.tokens is not None:
                texts = map(self.token_text, scored.tokens.ids.tolist())
                nats = (round(value, 6) for value in scored.tokens.nats.tolist())
                fields["per_token"] = list(zip(texts, nats, strict=True))
            return scored.record.with_answer(fields) + "\n"
        if scored.tokens is not None:
            return self.tokens(scored.tokens) + ("\n" if self.format == "table" else "")
        cells = _cells(scored)
        if self.format == "markdown":
            return f"| {scored.record.line} | " + " | ".join(map(_cell, cells)) + " |\n"
        return "\t".join(cells) + "\n"


def _cells(scored: ScoredLine) -> list[str]:
    tally = scored.tally
    if tally is None:
        return [
            "",
            "",
            "",
            "",
            f"line {scored.record.line}: {inputs.one_line(scored.record.error)}",
        ]
    numbers = (tally.bits_per_byte, tally.perplexity)
    return [f"{tally.nats:.4f}", str(tally.tokens), *map(_shown, numbers)]


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _cell(text: str) -> str:
    return inputs.one_line(text).replace("|", "\\|")
