"""Lines or paragraphs as they come, each a text of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rnnctl.errors import NotFiniteError
from rnnctl.inference.lines import Line
from rnnctl.inference.records import Record, RecordReader
from rnnctl.inference.score import Scored, Scorer, Tally
from rnnctl.wording import plural


@dataclass(frozen=True, slots=True)
class ScoredLine:
    """A record and its sums; both None where the record holds an error."""

    record: Record
    tally: Tally | None
    tokens: Scored | None = None

    def fields(self) -> dict[str, Any]:
        """What is added to the record in JSON."""
        if self.tally is None:
            return {"line": self.record.line, "error": self.record.error}
        return {
            "nats": round(self.tally.nats, 6),
            "tokens": self.tally.tokens,
            "bytes": self.tally.bytes,
            "bits_per_byte": _rounded(self.tally.bits_per_byte),
            "perplexity": _rounded(self.tally.perplexity),
            "unknown": self.tally.unknown,
        }


def scored_lines(
    scorer: Scorer, windows: Iterable[list[Line]], reader: RecordReader, *, per_token: bool = False
) -> Iterator[list[ScoredLine]]:
    """Scores in the order of the lines, one window at a time. NotFiniteError."""
    for lines in windows:
        records = list(reader.read(lines))
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
        raise NotFiniteError(f"line {record.line}")
    return tally


def paragraphs(windows: Iterable[list[Line]], max_bytes: int) -> Iterator[list[Line]]:
    """Lines between blank lines, joined; a paragraph has the number of its first line.

    One that is longer than `max_bytes`, or holds a line with a problem, has a problem.
    """
    held, size = list[Line](), 0
    for window in windows:
        whole = []
        for line in window:
            if line.problem or line.data.strip():
                held.append(line)
                size += len(line.data) + 1
                if size > max_bytes + 1:  # keep that it is too long, not what it holds
                    held = [_joined(held, max_bytes)]
            elif held:
                whole.append(_joined(held, max_bytes))
                held, size = [], 0
        if whole:
            yield whole
    if held:
        yield [_joined(held, max_bytes)]


def _joined(lines: list[Line], max_bytes: int) -> Line:
    problem = next((line.problem for line in lines if line.problem), "")
    size = sum(len(line.data) + 1 for line in lines) - 1
    if size > max_bytes and not problem:
        problem = f"paragraph of more than {plural(max_bytes, 'byte')}"
    data = b"" if problem else b"\n".join(line.data for line in lines)
    return Line(lines[0].number, data, problem)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
