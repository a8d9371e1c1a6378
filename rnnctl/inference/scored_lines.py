"""Lines or paragraphs as they come, each a text of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rnnctl.errors import NotFiniteError
from rnnctl.inference.records import Record
from rnnctl.inference.score import Scored, Scorer, Tally


@dataclass(frozen=True, slots=True)
class ScoredLine:
    """A record and its sums; both None where the record holds an error."""

    record: Record
    tally: Tally | None
    tokens: Scored | None = None

    def fields(self) -> dict[str, Any]:
        """What is added to the record in JSON."""
        if self.tally is None:
            return {"error": self.record.error, "line": self.record.line}
        return {
            "nats": round(self.tally.nats, 6),
            "tokens": self.tally.tokens,
            "bytes": self.tally.bytes,
            "bits_per_byte": _rounded(self.tally.bits_per_byte),
            "perplexity": _rounded(self.tally.perplexity),
            "unknown": self.tally.unknown,
        }


def scored_lines(
    scorer: Scorer, windows: Iterable[list[Record]], *, per_token: bool = False
) -> Iterator[list[ScoredLine]]:
    """Scores in the order of the records, one window at a time. NotFiniteError."""
    for records in windows:
        if per_token:
            yield [_token_by_token(scorer, record) for record in records]
            continue
        tallies = iter(scorer.tally_texts([r.text for r in records if not r.error]))
        yield [ScoredLine(r, None if r.error else _finite(next(tallies), r)) for r in records]


def _token_by_token(scorer: Scorer, record: Record) -> ScoredLine:
    if record.error:
        return ScoredLine(record, None)
    tokens, tally = scorer.score_tokens(record.text)
    return ScoredLine(record, _finite(tally, record), tokens)


def _finite(tally: Tally, record: Record) -> Tally:
    if not math.isfinite(tally.nats):
        raise NotFiniteError(record.where)
    return tally


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
