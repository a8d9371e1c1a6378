"""`rnnctl score`: how likely given text is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from rnnctl.cli import console, inputs
from rnnctl.cli import filter_options as f
from rnnctl.cli import score_words as w
from rnnctl.cli.answered import Answered
from rnnctl.cli.idle import Idle, given, idle, missing
from rnnctl.cli.options import (
    Format,
    OutputOption,
    QuietOption,
    RunArgument,
    option,
    takes_groups,
)
from rnnctl.errors import word
from rnnctl.wording import plural

if TYPE_CHECKING:
    from rnnctl.inference.records import Record
    from rnnctl.inference.score import Scored, ScoredLine, Scorer, Tally, TextReader

    Source = tuple[str, Iterable[list[Record]]]


PerToken = Annotated[
    bool, option(f.INPUT, "Print the loss of every token, in nats.", "--per-token")
]
Answer = Annotated[
    bool,
    option(
        f.INPUT,
        "Act as a scorer: read contexts and targets on standard input, and answer with the "
        "nats of each target. For `rnnctl diagnose --scorer` (see rnnctl help scorer).",
        "--answer",
    ),
]
StateOut = Annotated[
    Path | None,
    option(f.STATE, "Write the state after the last text to this file.", metavar="FILE"),
]

# How scores are written, one line for each text or token.

Rows = Literal["texts", "tokens", "tokens of texts"]
COLUMNS: dict[Rows, tuple[str, ...]] = {
    "texts": ("nats", "tokens", "bits per byte", "perplexity per token", "error"),
    "tokens": ("nats", "token"),
    "tokens of texts": ("nats", "token", "error"),
}
_ALIGNED = {"token": "l", "error": "l"}  # all other columns hold numbers


def summary(tally: Tally) -> str:
    """Sums in a sentence."""
    if not tally.tokens:
        return "nothing to score"
    said = f"{tally.nats:,.2f} nats, {plural(tally.tokens, 'token')}, "
    said += f"perplexity {_shown(tally.perplexity)}"
    said += f", {_shown(tally.bits_per_byte)} bits per byte"
    return said + (f", unknown tokens: {tally.unknown:,}" if tally.unknown else "")


@dataclass(frozen=True, slots=True)
class Printer:
    """Scores as lines of a format. In Markdown a text's number comes first: rows stand alone."""

    format: Format
    token_text: Callable[[int], str]
    rows: Rows
    answered: Answered

    @property
    def legend(self) -> str:
        """What stands in the columns, where the output itself does not say it."""
        if self.format != "table":
            return ""
        said = f"columns: {', '.join(COLUMNS[self.rows])}"
        return said.replace("nats,", "nats (of an unknown token with its spelling),", 1)

    @property
    def head(self) -> str:
        """What comes before the first row."""
        if self.format != "markdown":
            return ""
        from rnnctl.reports.as_markdown import table_head

        columns = COLUMNS[self.rows] if self.rows == "tokens" else ("line", *COLUMNS[self.rows])
        return table_head(columns, "".join(_ALIGNED.get(name, "r") for name in columns)) + "\n"

    def tokens(self, part: Scored) -> str:
        """A line for each token of a stretch of text."""
        if self.format == "json":
            return "".join(json.dumps(fields) + "\n" for fields in self._token_fields(part))
        return "".join(self._row(cells) for cells in self._token_cells(part))

    def line(self, scored: ScoredLine) -> str:
        """A line for each text; its tokens in its place where they are wanted."""
        if self.format == "json":
            return self.answered.as_json(scored.record, self._fields(scored)) + "\n"
        number = scored.record.file or str(scored.record.line)
        if self.format == "markdown":
            return "".join(self._row([number, *cells]) for cells in self._cells(scored))
        end = "\n" if self.rows == "tokens of texts" else ""
        return "".join(self._row(cells) for cells in self._cells(scored)) + end

    def _row(self, cells: Sequence[str]) -> str:
        if self.format != "markdown":
            return "\t".join(cells) + "\n"
        from rnnctl.reports.as_markdown import table_row

        return table_row(cells) + "\n"

    def _fields(self, scored: ScoredLine) -> dict[str, object]:
        fields = scored.fields()
        if scored.tokens is not None:
            texts = map(self.token_text, scored.tokens.ids.tolist())
            nats = (round(value, 6) for value in scored.tokens.charged.tolist())
            fields["per_token"] = list(zip(texts, nats, strict=True))
        return fields

    def _cells(self, scored: ScoredLine) -> Iterator[list[str]]:
        """The columns of each row; in Markdown that of the error too where there is none."""
        none = [""] if self.format == "markdown" else []
        if scored.tally is None:
            error = scored.record.error
            said = error if none else inputs.one_line(f"{scored.record.where}: {error}")
            yield [*[""] * (len(COLUMNS[self.rows]) - 1), said]
        elif scored.tokens is not None:
            yield from ([*cells, *none] for cells in self._token_cells(scored.tokens))
        else:
            tally = scored.tally
            numbers = (_shown(tally.bits_per_byte), _shown(tally.perplexity))
            yield [f"{tally.nats:.4f}", str(tally.tokens), *numbers, *none]

    def _token_cells(self, part: Scored) -> Iterator[list[str]]:
        for token, nats in zip(part.ids.tolist(), part.charged.tolist(), strict=True):
            yield [f"{nats:.6f}", self.token_text(token)]

    def _token_fields(self, part: Scored) -> Iterator[dict[str, object]]:
        columns = (part.ids, part.charged, part.spelling)
        for token, nats, spelling in zip(*(one.tolist() for one in columns), strict=True):
            charges = {"nats": round(nats, 6), "spelling_nats": round(spelling, 6)}
            yield {"token": self.token_text(token), "id": token, **charges}


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


@idle(
    Idle(
        "files lines documents per_token read_as jsonl text_field encoding max_line "
        "fail_fast state_in state_out words cache dynamic format",
        given("answer"),
        "with --answer, which reads questions on standard input",
        "leave out --answer",
    ),
    Idle(
        "per_token state_in state_out cache dynamic",
        given("words"),
        "with --words, which writes a row for each word, by the model alone",
        "leave out --words",
    ),
    Idle(
        "space first end unit top id regions",
        missing("words"),
        "without --words",
        "add --words",
    ),
    Idle(
        "format",
        lambda values: values["format"] in w.FORMATS and not values["words"],
        "as csv, tsv or parquet without --words",
        "add --words",
    ),
    *f.LINES_IDLE,
    Idle(
        "state_in state_out",
        lambda values: f.unit_in(values) != "file" or len(values["files"] or ()) > 1,
        "with several texts: a state belongs to one whole text",
        "join the files with `cat`, and leave out --lines, --documents, --jsonl and --text-field",
    ),
    Idle(
        "state_out",
        given("cache", "dynamic"),
        "with --cache or --dynamic: a saved state holds neither a cache nor weights",
        "leave out --cache and --dynamic",
    ),
    f.rows_only(given("words"), (*f.ROW_FORMATS, *w.FORMATS)),
    f.rows_only(
        lambda values: not values["words"] and (values["per_token"] or f.unit_in(values) != "file")
    ),
    *f.MEMORY_IDLE,
)
@takes_groups
def score(
    run: RunArgument,
    files: f.Files = None,
    *,
    reads: f.ReadingTexts,
    per_token: PerToken = False,
    answer: Answer = False,
    remembers: f.MemoryOptions,
    state_in: f.StateIn = None,
    state_out: StateOut = None,
    words: w.Words = False,
    asked: w.Asked,
    format: w.RowFormat = "table",
    output: OutputOption = None,
    machine: f.MachineOptions,
    quiet: QuietOption = False,
) -> int:
    """Say how likely a text is: nats, bits per byte and character, perplexity.

    A file, or standard input, is one text from its first byte to its last. With --lines or
    --documents, each line or paragraph is a text; in a table or in JSON each record is a text.
    Several texts get one line each, in the order of the input: NATS<tab>TOKENS<tab>BITS PER
    BYTE<tab>PERPLEXITY, or four tabs and an error. With --format json each line is an object with
    all fields of the input. If the input already has a field of such a name, the answer's field is
    called rnnctl_NAME.

    An unknown token costs the nats of its spelling. With --state-out and --state-in, scoring a and
    then b gives the same as scoring a+b.

    In a terminal, without a FILE, you type texts and get an answer to each.

    With --words each word gets a row, whatever the model's tokens are. Words are separated by
    whitespace, and their nats add up to those of the text. A text without words is reported, and
    the exit code is 1.
    """
    sources, command = files or [], f"score {word(run)}"
    if answer:
        return _answer(run, machine, output)
    # Typing texts by hand is for a call without anything that is about files.
    about_files = sources or words or state_in or state_out
    plain = replace(reads, lines=False) == f.ReadingTexts()
    by_hand = plain and not about_files and inputs.at_a_terminal()
    inputs.check(sources, command, by_hand=by_hand)
    from rnnctl.inference.score import Scorer, TextReader, score_streams
    from rnnctl.inference.training_text import by_document

    loaded = machine.load(run)
    scorer = Scorer(loaded, ends=by_document(loaded), memory=remembers.memory)
    # Its bits per byte look better than those of a model that has to predict capitals.
    if loaded.tokenizer.lowercase:
        console.note("the model reads text in lower case: its nats do not include capital letters")
    opened: Iterator[inputs.Input] = iter(())
    each: f.Unit = "line"
    if not by_hand:
        opened, each = reads.opened(sources, command, may_guess=not (state_in or state_out))
    wanted = reads.wanted(loaded, reads.kind(), each)
    if words:
        return w.score_words(scorer, opened, wanted, asked, format, output)
    rows: Rows = "tokens" if each == "file" else "tokens of texts" if per_token else "texts"
    printer = Printer(format, scorer.tokenizer.token_text, rows, Answered(each))
    if each != "file":
        typed = [(inputs.STDIN, inputs.typed("how likely it is"))] if by_hand else None
        read = typed or inputs.windows(opened, wanted)
        _lines(scorer, read, printer, output, fail_fast=reads.fail_fast)
        return 0
    text_reader = TextReader(scorer, state_in, state_out)
    streams = inputs.texts(opened, wanted)
    if per_token:
        _tokens(text_reader, streams, printer, output)
        return 0
    result = score_streams(loaded, text_reader, streams)
    if result.total.bytes == 0:
        console.note("the input is empty: nothing to score")
    console.emit(result, format, output)
    return 0


def _answer(run: Path, machine: f.MachineOptions, out: Path | None) -> int:
    """Questions from standard input, answers to standard output, until no more come."""
    from rnnctl.inference.answer import Answerer, batches, check_hello
    from rnnctl.inference.score import Scorer

    stdin = inputs.stdin(f"score {word(run)} --answer")
    with inputs.output(out) as write, inputs.reading(inputs.STDIN):
        # The greeting is read before the model: a program of another version is refused at once.
        begun = next((line for line in stdin if line.strip()), b"")
        check_hello(begun)
        answerer = Answerer(Scorer(machine.load(run)), run.resolve().name)
        write(json.dumps(answerer.hello()) + "\n")
        failed = 0
        for some in batches(stdin):
            answers = answerer.answers(some)
            failed += sum("error" in one for one in answers)
            write("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in answers))
    return 1 if failed else 0


def _tokens(
    reader: TextReader,
    streams: Iterator[tuple[str, Iterator[bytes]]],
    printer: Printer,
    out: Path | None,
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
    sources: Iterable[Source],
    printer: Printer,
    out: Path | None,
    *,
    fail_fast: bool,
) -> None:
    """A record for each line, paragraph or record; the sums on stderr."""
    from rnnctl.inference.records import until_failure
    from rnnctl.inference.score import Tally, scored_lines

    total, answered = Tally(), printer.answered
    per_token = printer.rows == "tokens of texts"
    with _table(printer, out) as write:
        for name, windows in sources:
            scored = scored_lines(scorer, windows, per_token=per_token)
            for window in until_failure(scored, name, fail_fast=fail_fast):
                write("".join(map(printer.line, window)))
                for one in window:
                    tally = one.tally or Tally()
                    own = tally.tokens - scorer.ends  # without the text's end
                    answered.count(one.record, tokens=own, unknown=tally.unknown)
                    total.add(tally)
    console.note(f"{plural(answered.records, 'text')}: {summary(total)}")
    answered.report()
