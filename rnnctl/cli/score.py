"""`rnnctl score`: how likely given text is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rnnctl.cli import console, inputs
from rnnctl.cli import filter_options as f
from rnnctl.cli.answered import Answered
from rnnctl.cli.filter_options import Unit
from rnnctl.cli.options import (
    DeviceOption,
    FormatOption,
    OutputOption,
    QuietOption,
    RunArgument,
    ThreadsOption,
)
from rnnctl.cli.score_output import Printer, Rows, summary
from rnnctl.errors import UsageError, word
from rnnctl.wording import plural

if TYPE_CHECKING:
    from rnnctl.inference.lines import Line
    from rnnctl.inference.records import RecordReader
    from rnnctl.inference.score import Scorer
    from rnnctl.inference.scoring import TextReader
    from rnnctl.tasks.loading import Loaded


def score(
    run: RunArgument,
    files: f.Files = None,
    lines: f.Lines = False,
    documents: f.Documents = None,
    per_token: f.PerToken = False,
    jsonl: f.Jsonl = False,
    text_field: f.TextField = None,
    max_line: f.MaxLine = f.MAX_LINE,
    fail_fast: f.FailFast = False,
    state_in: f.StateIn = None,
    state_out: f.StateOut = None,
    format: FormatOption = "table",
    output: OutputOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Say how likely given text is: nats, bits per byte and character, perplexity.

    A file, or standard input, is one text from its first byte to its last; with --lines or
    --documents every line or paragraph gets a record of its own, in order, as soon as it is there:
    NATS<tab>TOKENS<tab>BITS PER BYTE<tab>PERPLEXITY, and for one without a text four tabs and the
    error; or one JSON object, where a field of the input with the name of one of the answer's keeps
    it, and the answer's is rnnctl_NAME. Unknown tokens are charged with their spelling. With
    --state-out and --state-in, scoring a and then b equals scoring a+b.
    """
    console.configure(quiet=quiet)
    sources, command = files or [], f"score {word(run)}"
    inputs.check(sources, command)
    unit = _unit(lines or jsonl or text_field is not None, documents)
    _check_state(unit, sources, wanted=bool(state_in or state_out))
    _check_lines(unit, max_line, fail_fast)
    from rnnctl.inference.score import Scorer
    from rnnctl.inference.scoring import TextReader, score_streams
    from rnnctl.inference.training_text import by_document
    from rnnctl.machine import set_threads
    from rnnctl.tasks.loading import load

    set_threads(threads)
    loaded = load(run, device=device)
    scorer = Scorer(loaded, ends=by_document(loaded))
    rows: Rows = "tokens" if unit == "file" else "tokens of texts" if per_token else "texts"
    printer = Printer(format, scorer.tokenizer.token_text, rows, Answered(unit))
    if unit != "file":
        reader = _reader(loaded, jsonl, text_field, documents)
        windows = _windows(sources, command, unit, max_line)
        _lines(scorer, windows, reader, printer, output, fail_fast=fail_fast)
        return
    text_reader = TextReader(scorer, state_in, state_out)
    streams = _streams(sources, command)
    if per_token:
        _tokens(text_reader, streams, printer, output)
        return
    result = score_streams(loaded, text_reader, streams)
    if result.total.bytes == 0:
        console.note("the input is empty: nothing to score")
    console.emit(result, format, output)


def _unit(lines: bool, documents: Unit | None) -> Unit:
    if lines and documents not in (None, "line"):
        raise UsageError(
            f"--lines and --documents {documents} exclude each other", hint="leave one of them out"
        )
    return "line" if lines else documents or "file"


def _check_lines(unit: Unit, max_line: int, fail_fast: bool) -> None:
    if unit == "file" and (fail_fast or max_line != f.MAX_LINE):
        option = "--fail-fast" if fail_fast else "--max-line"
        raise UsageError(
            f"{option} is about lines, and a file is one text",
            hint="add --lines or --documents paragraph, or leave it out",
        )


def _check_state(unit: Unit, sources: Sequence[Path], *, wanted: bool) -> None:
    if wanted and unit != "file":
        raise UsageError(
            "--state-in and --state-out read one whole text, not lines or documents",
            hint="leave out --lines, --documents, --jsonl and --text-field",
        )
    if wanted and len(sources) > 1:
        raise UsageError(
            "--state-in and --state-out take one text", hint="`cat` the files together"
        )


def _reader(
    loaded: Loaded, jsonl: bool, text_field: str | None, documents: Unit | None
) -> RecordReader:
    """What finds the text in a line: JSON where that is asked for, else by the first line."""
    from rnnctl.inference.records import RecordReader

    lines_are: f.LineFormat = "jsonl" if jsonl or text_field else "text" if documents else "auto"
    return RecordReader(lines_are, text_field or loaded.config.corpus.text_field)


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
    with _table(printer, out) as write:
        for name, stream in streams:
            for part in reader.read(name, stream, tally):
                write(printer.tokens(part))
    console.note(summary(tally))


@contextmanager
def _table(printer: Printer, out: Path | None) -> Iterator[inputs.Write]:
    """A place to write rows to, after what says what their columns are."""
    if printer.legend:
        console.note(printer.legend)
    with inputs.output(out) as write:
        if printer.head:
            write(printer.head)
        yield write


def _lines(
    scorer: Scorer,
    sources: Iterator[tuple[str, Iterator[list[Line]]]],
    reader: RecordReader,
    printer: Printer,
    out: Path | None,
    *,
    fail_fast: bool,
) -> None:
    """A record for each line or paragraph; the sums on stderr."""
    from rnnctl.inference.records import failure
    from rnnctl.inference.score import Tally
    from rnnctl.inference.scored_lines import scored_lines

    total, answered = Tally(), printer.answered
    per_token = printer.rows == "tokens of texts"
    with _table(printer, out) as write:
        for name, windows in sources:
            for window in scored_lines(scorer, windows, reader.fresh(), per_token=per_token):
                bad = next((i for i, s in enumerate(window) if s.tally is None), len(window))
                good = window[:bad] if fail_fast else window
                write("".join(printer.line(scored) for scored in good))
                if len(good) < len(window):
                    raise failure(window[bad].record, name)
                for scored in window:
                    answered.count(scored.record)
                    total.add(scored.tally or Tally())
    console.note(f"{plural(answered.records, 'text')}: {summary(total)}")
    if answered.problem:
        console.warn(answered.problem)
