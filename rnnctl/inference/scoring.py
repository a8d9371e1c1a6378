"""Whole texts from streams of bytes, with states kept from one to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from rnnctl.data.tokenizers import MalformedTextError
from rnnctl.errors import DataError, NotFiniteError, StorageError
from rnnctl.inference import state as states
from rnnctl.inference.environment import environment
from rnnctl.inference.score import Reading, Scored, Scorer, Tally
from rnnctl.results.inference import ScoredText, ScoreResult
from rnnctl.tasks.loading import Loaded


class TextReader:
    """Reads one text after the other; each begins anew, but the first may go on after a state.

    With `state_out` the state is kept there at the end, and with it what is no whole token yet.
    Raises StorageError at once where that cannot be.
    """

    def __init__(self, scorer: Scorer, state_in: Path | None, state_out: Path | None) -> None:
        self._scorer = scorer
        self._out = state_out
        self._owner = ""
        if state_out is not None and not state_out.resolve().parent.is_dir():
            raise StorageError(
                f"cannot write {state_out}: its folder does not exist", hint="make the folder first"
            )
        if state_in or state_out:
            self._owner = states.fingerprint(scorer.model, scorer.tokenizer)
        self._before = None
        if state_in is not None:
            self._before = states.load(state_in, scorer.model, scorer.tokenizer, self._owner)
        self.read_before = self._before.tokens if self._before else 0
        self.pending = 0

    def read(self, name: str, chunks: Iterable[bytes], tally: Tally) -> Iterator[Scored]:
        """Score a text as it comes; at the end its sums are added to `tally`.

        Raises DataError, NotFiniteError.
        """
        reading = Reading(self._scorer, self._before)
        place = _Place(name)
        try:
            for data in chunks:
                place.note(data)
                yield from place.finite(reading.feed(data))
            if self._out is None:
                yield from place.finite(reading.finish())
        except MalformedTextError as problem:
            raise place.error(problem, len(self._before.pending) if self._before else 0) from None
        if self._out is not None:
            states.save(self._out, reading.after, self._owner)
            self.pending = len(reading.after.pending)
        tally.add(reading.tally)


class _Place:
    """Counts lines and tokens, to say where a text is malformed, or too much for the model."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._before = self._bytes = self._lines = 0
        self._data = b""
        self._tokens = 0

    def finite(self, parts: Iterable[Scored]) -> Iterator[Scored]:
        """The same stretches; NotFiniteError at the first token that has no finite loss."""
        for part in parts:
            bad = np.flatnonzero(~np.isfinite(part.nats))
            if len(bad):
                raise NotFiniteError(f"{self._name}: token {self._tokens + bad[0] + 1:,}")
            self._tokens += len(part.ids)
            yield part

    def note(self, data: bytes) -> None:
        self._lines += self._data.count(b"\n")
        self._before, self._bytes = self._bytes, self._bytes + len(data)
        self._data = data

    def error(self, problem: MalformedTextError, earlier: int) -> DataError:
        """`earlier`: bytes that the encoder had seen before this text."""
        offset = max(0, problem.offset - earlier)
        line = 1 + self._lines + self._data[: max(0, offset - self._before)].count(b"\n")
        return DataError(
            f"{self._name}:{line}: byte {offset + 1} of the text is not valid UTF-8 "
            f"({problem.reason})",
            hint="if the text is in another encoding, name it: --encoding cp1252 (Windows), "
            "latin-1, shift_jis, gb18030, …",
        )


def score_streams(
    loaded: Loaded, reader: TextReader, sources: Iterable[tuple[str, Iterable[bytes]]]
) -> ScoreResult:
    """Every source as one text, and the sum of all. Raises DataError."""
    texts, total = [], Tally()
    for name, chunks in sources:
        tally = Tally()
        for _ in reader.read(name, chunks, tally):
            pass
        texts.append(scored_text(name, tally))
        total.add(tally)
    return ScoreResult(
        environment=environment(loaded),
        run=str(loaded.run.path),
        texts=tuple(texts),
        total=scored_text("total" if len(texts) > 1 else texts[0].source, total),
        read_before=reader.read_before,
        pending_bytes=reader.pending,
    )


def scored_text(source: str, tally: Tally) -> ScoredText:
    """Sums as a record."""
    return ScoredText(
        source=source,
        nats=tally.nats,
        tokens=tally.tokens,
        chars=tally.chars,
        bytes=tally.bytes,
        unknown=tally.unknown,
        spelling_nats=tally.unknown_nats,
        nats_per_token=tally.nats_per_token,
        perplexity=tally.perplexity,
        bits_per_char=tally.bits_per_char,
        bits_per_byte=tally.bits_per_byte,
    )
