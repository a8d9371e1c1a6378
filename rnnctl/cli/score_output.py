"""How scores are written, one line for each text or token."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rnnctl.cli import inputs
from rnnctl.cli.answered import Answered
from rnnctl.cli.options import Format
from rnnctl.wording import plural

if TYPE_CHECKING:
    from rnnctl.inference.score import Scored, Tally
    from rnnctl.inference.scored_lines import ScoredLine

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
