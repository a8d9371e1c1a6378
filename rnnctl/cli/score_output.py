"""How scores are written, one line for each text or token."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnctl.cli import inputs
from rnnctl.cli.options import Format
from rnnctl.wording import plural

if TYPE_CHECKING:
    from rnnctl.inference.score import Scored, Tally
    from rnnctl.inference.scored_lines import ScoredLine

LINE_ROW = "columns: nats, tokens, bits per byte, perplexity per token"
NATS_ROW = "columns: nats (of an unknown token with its spelling), token"


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
    """Scores as lines of a format."""

    format: Format
    token_text: Callable[[int], str]

    def tokens(self, part: Scored) -> str:
        """A line for each token."""
        texts = [self.token_text(token) for token in part.ids.tolist()]
        numbers = (part.ids, part.charged, part.spelling)
        rows = zip(texts, *(column.tolist() for column in numbers), strict=True)
        return "".join(self._token(*row) + "\n" for row in rows)

    def _token(self, text: str, token: int, nats: float, spelling: float) -> str:
        if self.format == "json":
            charges = {"nats": round(nats, 6), "spelling_nats": round(spelling, 6)}
            return json.dumps({"token": text, "id": token, **charges})
        if self.format == "markdown":
            return f"| {nats:.6f} | {_cell(text)} |"
        return f"{nats:.6f}\t{text}"

    def line(self, scored: ScoredLine) -> str:
        """A line for each text; its tokens below it where they are wanted."""
        if self.format == "json":
            fields = scored.fields()
            if scored.tokens is not None:
                texts = map(self.token_text, scored.tokens.ids.tolist())
                nats = (round(value, 6) for value in scored.tokens.charged.tolist())
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
