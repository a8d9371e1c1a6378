"""`rnnctl score --words`: one row for each word, or each region of words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from rnnctl import catalog
from rnnctl.cli import console, inputs
from rnnctl.cli.answered import Problems
from rnnctl.cli.options import OUTPUT, option
from rnnctl.errors import DataError, UsageError
from rnnctl.storage import write_atomic

if TYPE_CHECKING:
    from rnnctl.inference.records import Record, Wanted
    from rnnctl.inference.score import Scorer
    from rnnctl.inference.words import Word

PANEL: Final = "Word by word"
FORMATS: Final = ("csv", "tsv", "parquet")  # for rows, beside those of every result


def _check_format(value: str) -> str:
    if value not in FORMATS:
        catalog.check("format", value)
    return value


RowFormat = Annotated[
    str,
    option(
        OUTPUT,
        "Format of the result: table (for people), json (for programs), markdown, or html (a "
        "page for a browser); with --words also csv, tsv and parquet.",
        metavar="FORMAT",
        callback=_check_format,
    ),
]
Words = Annotated[
    bool,
    option(
        PANEL,
        "Print one row for each word, with its nats, entropy and tokens. Formats: table, "
        "json, csv, tsv, parquet.",
        "--words",
    ),
]


@dataclass(frozen=True)
class Asked:
    """The options of --words."""

    space: Annotated[
        Literal["before", "after"],
        option(
            PANEL,
            "Which word a space belongs to: the word that it stands before, or the word that it "
            "stands after.",
        ),
    ] = "before"
    first: Annotated[
        bool,
        option(
            PANEL,
            "Also score the first word of a text, which the model predicts from an empty state.",
            "--first/--no-first",
            show_default="yes",
        ),
    ] = True
    end: Annotated[
        bool | None,
        option(
            PANEL,
            "Also score the end of the text, in a row called <eos>.",
            "--end/--no-end",
            show_default="yes if the run was trained on documents",
        ),
    ] = None
    unit: Annotated[Literal["nats", "bits"], option(PANEL, "Unit of losses and entropies.")] = (
        "nats"
    )
    top: Annotated[
        int,
        option(
            PANEL,
            "Also list the N likeliest tokens at the beginning of each word.",
            min=0,
            max=1000,
        ),
    ] = 0
    id: Annotated[
        str | None,
        option(
            PANEL,
            "Column with the name of each text (item).",
            metavar="COLUMN",
            show_default="id, item or a similar name; otherwise the line number",
        ),
    ] = None
    regions: Annotated[
        str | None,
        option(
            PANEL,
            "Print one row for each region instead of each word. The column holds the text with | "
            "between regions, or the words of one region. It may be the column of the text.",
            metavar="COLUMN",
        ),
    ] = None


def score_words(
    scorer: Scorer,
    opened: Iterable[inputs.Input],
    wanted: Wanted,
    asked: Asked,
    format: str,
    output: Path | None,
) -> int:
    """Write the rows of all texts; 1 where a text could not be scored."""
    if format == "parquet" and not console.is_file(output):
        raise UsageError(
            "parquet is binary and is not written to standard output", hint="name a file: -o FILE"
        )
    writer, problems = _Writer(format, asked), Problems()
    found = _rows(scorer, opened, wanted, asked, problems)
    rows = 0
    if format == "parquet":
        from rnnctl.reports.rows import parquet

        assert output is not None
        # Held together, for the type of a column is that of the values of all rows.
        made = [row for of_text in found for row in of_text]
        rows = len(made)
        write_atomic(console.behind_link(output), parquet(made))
    else:
        with inputs.output(output) as write:
            for of_text in found:
                rows += len(of_text)
                write(writer.text(of_text))
    problems.report("more text")
    if not rows:
        raise DataError("no text could be scored", hint="see the messages above, or the input")
    return 1 if problems.count else 0


def _rows(
    scorer: Scorer,
    opened: Iterable[inputs.Input],
    wanted: Wanted,
    asked: Asked,
    problems: Problems,
) -> Iterator[list[dict[str, Any]]]:
    """The rows of each text; what is wrong with one goes to `problems`."""
    from rnnctl.inference.words import Plan, WordScorer, unmarked

    # As without --words: a file is one text, whose end is not scored.
    end = (scorer.ends and wanted.unit != "file") if asked.end is None else asked.end
    words = WordScorer(scorer, Plan(asked.space, asked.first, end, asked.top))
    for name, windows in inputs.windows(opened, wanted):
        for window in windows:
            texts = [record.text for record in window if not record.error]
            if asked.regions is not None:
                texts = [unmarked(text) for text in texts]
            scored = iter(words.score(texts))
            for record in window:
                try:
                    found = DataError(record.error) if record.error else next(scored)
                    if isinstance(found, DataError):
                        raise found
                    yield _of_text(record, found, asked)
                except DataError as problem:
                    problems.tell(f"{name}:{record.line}: {problem.message}")


def _of_text(record: Record, words: Sequence[Word], asked: Asked) -> list[dict[str, Any]]:
    """The rows of one text: its words, or its regions; the input's other columns in each."""
    from rnnctl.inference.records import column, item_of
    from rnnctl.inference.words import find_regions, unmarked

    fields = dict(record.fields or {})
    item = item_of(record, asked.id)
    scale = 1.0 if asked.unit == "nats" else 1 / math.log(2)
    if asked.regions is None:
        made = [_word_row(number, word, asked, scale) for number, word in enumerate(words, 1)]
    else:
        marked = column(fields, asked.regions, "--regions") if fields else record.text
        spans = find_regions(unmarked(record.text), marked)
        made = [_region_row(k, words[a:b], asked, scale) for k, (a, b) in enumerate(spans, 1)]
    kept = {name: value for name, value in fields.items() if value != record.text}
    if kept.get("item") == item:
        del kept["item"]
    # The input's own columns keep their names.
    answers = [{"item": item, **row} for row in made]
    names = {name: f"rnnctl_{name}" for row in answers[:1] for name in row if name in kept}
    return [{**{names.get(k, k): v for k, v in row.items()}, **kept} for row in answers]


def _word_row(number: int, word: Word, asked: Asked, scale: float) -> dict[str, Any]:
    row: dict[str, Any] = {
        "position": number,
        "word": word.text,
        asked.unit: None if word.nats is None else word.nats * scale,
        f"entropy_{asked.unit}": None if word.entropy is None else word.entropy * scale,
        "tokens": word.tokens,
        "unknown": word.unknown,
        "start": word.start,
        "end": word.end,
    }
    if asked.top:
        row["top"] = [[token, chance] for token, chance in word.top]
    return row


def _region_row(number: int, words: Sequence[Word], asked: Asked, scale: float) -> dict[str, Any]:
    nats = [word.nats for word in words]
    whole = None if None in nats else math.fsum(value for value in nats if value is not None)
    return {
        "region": number,
        "text": " ".join(word.text for word in words),
        asked.unit: None if whole is None else whole * scale,
        "words": len(words),
        "tokens": sum(word.tokens for word in words),
        "unknown": sum(word.unknown for word in words),
    }


class _Writer:
    """Rows as lines of a format. The columns are those of the first row."""

    def __init__(self, format: str, asked: Asked) -> None:
        self._format = format
        self._unit = asked.unit
        self._columns: list[str] = []

    def text(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """The lines of some rows; before the first of all, the names of the columns."""
        if not rows:
            return ""
        if self._format == "json":
            return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        first = not self._columns
        self._columns = self._columns or list(rows[0])
        if self._format in ("csv", "tsv"):
            return self._separated(rows, head=first)
        if self._format == "markdown":
            return self._markdown(rows, head=first)
        return self._table(rows, head=first)

    def _separated(self, rows: Sequence[Mapping[str, Any]], *, head: bool) -> str:
        from rnnctl.reports.rows import separated

        lines: list[list[Any]] = [self._columns] if head else []
        lines += [[row.get(name) for name in self._columns] for row in rows]
        return separated(lines, "\t" if self._format == "tsv" else ",")

    def _markdown(self, rows: Sequence[Mapping[str, Any]], *, head: bool) -> str:
        from rnnctl.reports.as_markdown import table_head, table_row

        lines = [table_head(self._columns, "l" * len(self._columns))] if head else []
        lines += [table_row([_shown(row.get(name)) for name in self._columns]) for row in rows]
        return "\n".join(lines) + "\n"

    def _table(self, rows: Sequence[Mapping[str, Any]], *, head: bool) -> str:
        """For people: the input's own columns and places in the text are left out."""
        wanted = ["item", "position", "region", "word", "text", self._unit]
        wanted += [f"entropy_{self._unit}", "unknown", "top"]
        names = [name for name in wanted if name in self._columns]
        cells = [[_shown(row.get(name)) for name in names] for row in rows]
        least = {"word": 16, "text": 24, self._unit: 8, "item": 6}
        widths = [
            max(least.get(name, 0), len(name), *(len(row[i]) for row in cells))
            for i, name in enumerate(names)
        ]
        left = ("word", "text", "top", "item")
        lines = [names, *cells] if head else cells
        return "".join(
            "  ".join(
                cell.ljust(width) if name in left else cell.rjust(width)
                for name, cell, width in zip(names, line, widths, strict=True)
            ).rstrip()
            + "\n"
            for line in lines
        )


def _shown(value: Any) -> str:
    """A cell for people."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list):
        return "  ".join(f"{token} {chance:.3f}" for token, chance in value)
    return inputs.one_line(str(value))
