"""How likely given text is: nats, by token, by line or document, or as one endless text.

T tokens, N texts. Everything is scored, the first token too, which the model predicts from the
boundary symbol. Unknown tokens cost their `<unk>` and their spelling (DESIGN part 7). Sums are
float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl.data.text import utf8_length
from rnnctl.data.tokenizers import MalformedTextError, Tokenizer
from rnnctl.data.tokenizers.base import with_end
from rnnctl.errors import DataError, NotFiniteError, RunError, StorageError
from rnnctl.inference import state as states
from rnnctl.inference.memory import TextMemory, prepared
from rnnctl.inference.memory_settings import NOTHING, Memory
from rnnctl.inference.records import Record
from rnnctl.inference.state import RECENT, TextState, beginning
from rnnctl.machine import Arithmetic, keep_memory
from rnnctl.nn.engines import EngineChoice
from rnnctl.nn.models import LanguageModel
from rnnctl.nn.reading import can_read, in_groups
from rnnctl.results.inference import ScoredText, ScoreResult
from rnnctl.tasks.evaluation import document_nats
from rnnctl.tasks.loading import Loaded, environment

CHUNK = 1024  # tokens of one text that go through the model at once
LONG_TEXT = 8192  # tokens; longer texts are read in chunks, by themselves
CHUNK_BYTES = 1 << 16

Ids = NDArray[np.int32]


@dataclass(slots=True)
class Tally:
    """Sums over a text. `nats` include the spelling of unknown tokens, `unknown_nats`."""

    nats: float = 0.0
    tokens: int = 0
    chars: int = 0
    bytes: int = 0
    unknown: int = 0
    unknown_nats: float = 0.0

    def add(self, other: Tally) -> None:
        """Count `other` in."""
        self.nats += other.nats
        self.tokens += other.tokens
        self.chars += other.chars
        self.bytes += other.bytes
        self.unknown += other.unknown
        self.unknown_nats += other.unknown_nats

    @property
    def nats_per_token(self) -> float | None:
        return self.nats / self.tokens if self.tokens else None

    @property
    def perplexity(self) -> float | None:
        """Per token; None without tokens, or where it overflows a float."""
        mean = self.nats_per_token
        # The largest float64 is e to the 709.8.
        return None if mean is None or mean > 709 else math.exp(mean)

    @property
    def bits_per_byte(self) -> float | None:
        return self.nats / math.log(2) / self.bytes if self.bytes else None

    @property
    def bits_per_char(self) -> float | None:
        return self.nats / math.log(2) / self.chars if self.chars else None


@dataclass(frozen=True, slots=True)
class Scored:
    """A stretch of a text: its tokens, the model's nats of each and of its spelling, all (T,)."""

    ids: Ids
    nats: NDArray[np.float64]
    spelling: NDArray[np.float64]

    @property
    def charged(self) -> NDArray[np.float64]:
        """What each token costs in all (T,): these add up to the text's nats."""
        return self.nats + self.spelling


class Scorer:
    """A language model ready for use. Raises RunError if the run is none.

    `ends` says whether a text's end is scored too, as a token: it is where the run was trained on
    documents, and cannot be where it was trained on one running text. `memory`: what the model has
    beside its state; each text begins with an empty one.
    """

    def __init__(self, loaded: Loaded, *, ends: bool = False, memory: Memory = NOTHING) -> None:
        if not isinstance(loaded.model, LanguageModel):
            raise RunError(
                f"{loaded.run.path} is a classifier, not a language model",
                hint="`rnnctl classify` uses it; train a language model with `rnnctl train`",
            )
        keep_memory()
        self.model = loaded.model
        self.tokenizer: Tokenizer = loaded.tokenizer
        # Whatever the training computed in: neighbours in a batch change a score by 1e-5 at most,
        # which bf16 cannot hold.
        self._arithmetic = Arithmetic(next(loaded.model.parameters()).device, bf16=False)
        self.ends = ends
        self.memory = prepared(loaded, memory)
        self.engine = EngineChoice(loaded.model)
        loaded.model.recurrent.keep_ready()

    def tally_texts(self, texts: Sequence[str]) -> list[Tally]:
        """The sums of each text, from a zero state; many short texts go through at once."""
        encoded = [self._encode(text) for text in texts]
        # A text with a memory is read by itself: what it learns is its own.
        most = 0 if self.memory else LONG_TEXT
        short = [i for i, (ids, _) in enumerate(encoded) if 0 < len(ids) <= most]
        sums = self._sums([encoded[i][0] for i in short])
        for i, nats in zip(short, sums, strict=True):
            encoded[i][1].nats += float(nats)
        for ids, tally in encoded:
            if len(ids) > most:
                tally.nats += float(sum(part.nats.sum() for part in Reading(self).score(ids)))
        return [tally for _, tally in encoded]

    def score_tokens(self, text: str) -> tuple[Scored, Tally]:
        """One text from a zero state, token by token, and its sums."""
        ids, tally = self._encode(text)
        spelling = self.tokenizer.spelling_by_token(text)
        spelling = np.append(spelling, np.zeros(len(ids) - len(spelling)))  # of the text's end
        parts = [part.nats for part in Reading(self).score(ids)]
        nats = np.concatenate(parts) if parts else np.zeros(0)
        tally.nats += float(nats.sum())
        return Scored(ids, nats, spelling), tally

    def _encode(self, text: str) -> tuple[Ids, Tally]:
        """Ids, and a tally that lacks the model's nats."""
        ids, unknown, spelling = self.tokenizer.encode_charged(text)
        if self.ends:
            ids = with_end(ids, self.tokenizer.boundary_id)
        size = utf8_length(text)
        return ids, Tally(spelling, len(ids), len(text), size, unknown, spelling)

    def _sums(self, documents: Sequence[Ids]) -> NDArray[np.float64]:
        if not documents:
            return np.zeros(0)
        offsets = np.cumsum([0, *map(len, documents)])
        self.engine.note(int(offsets[-1]))
        if can_read(self.model.recurrent):
            return self._read(documents, np.diff(offsets))
        nats = document_nats(
            self.model,
            np.concatenate(documents),
            offsets,
            self.tokenizer.boundary_id,
            self._arithmetic,
        )
        assert nats is not None  # nothing interrupts it
        return nats

    def _read(self, documents: Sequence[Ids], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """As `document_nats`, side by side."""

        def read(some: NDArray[np.int64]) -> NDArray[np.float64]:
            targets = np.concatenate([documents[index] for index in some])
            inputs, begins = np.roll(targets, 1), np.cumsum(lengths[some]) - lengths[some]
            inputs[begins] = self.tokenizer.boundary_id
            losses, _ = self.model.text_losses(inputs, targets, lengths[some])
            return np.add.reduceat(losses, begins, dtype=np.float64)

        nats = np.zeros(len(documents))
        for some, found in in_groups(self.model.recurrent, lengths, read):
            nats[some] = found
        return nats

    def chunk_nats(
        self, inputs: NDArray[np.int64], targets: NDArray[np.int64], state: tuple[torch.Tensor, ...]
    ) -> tuple[NDArray[np.float64], tuple[torch.Tensor, ...]]:
        """inputs, targets (T,) and a state (L, 1, H) -> nats (T,) and the state after."""
        device = self._arithmetic.device
        self.engine.note(len(inputs))
        if can_read(self.model.recurrent):
            losses, state = self.model.text_losses(inputs, targets, np.array([len(inputs)]), state)
            return losses.astype(np.float64), state
        nats, state = self.model.token_losses(
            torch.from_numpy(inputs).unsqueeze(1).to(device),
            torch.from_numpy(targets).unsqueeze(1).to(device),
            tuple(part.to(device) for part in state),
        )
        return nats[:, 0].double().cpu().numpy(), tuple(part.detach() for part in state)


class Reading:
    """One text read in pieces, of any length in constant memory, from a given state on.

    `feed` bytes as they come, then `finish`, or keep `after` for another day: reading a text in
    two sessions gives the nats of reading it in one.
    """

    def __init__(self, scorer: Scorer, before: TextState | None = None) -> None:
        before = before or beginning(scorer.model, scorer.tokenizer)
        self._scorer = scorer
        self._state = before.state
        self._last = before.last_token
        self._recent = before.recent
        self._memory = before.memory
        if self._memory is None and scorer.memory:
            self._memory = TextMemory(scorer.model, scorer.memory)
        self._encoder = scorer.tokenizer.stream(before.pending, begins=not before.tokens)
        self._tokens, self._bytes = before.tokens, before.bytes
        self.tally = Tally()

    def feed(self, data: bytes) -> Iterator[Scored]:
        """Score every token that is certain now. Raises MalformedTextError."""
        for start in range(0, len(data), CHUNK_BYTES):
            piece = data[start : start + CHUNK_BYTES]
            held = self._encoder.pending + piece
            ids = self._encoder.feed(piece)
            self._bytes += len(piece)
            self._count(held[: len(held) - len(self._encoder.pending)])
            yield from self.score(ids, self._encoder.charges)

    def finish(self) -> Iterator[Scored]:
        """Score what was pending."""
        held = self._encoder.pending
        ids = self._encoder.finish()
        self._count(held)
        yield from self.score(ids, self._encoder.charges)

    def score(self, ids: Ids, spelling: NDArray[np.float64] | None = None) -> Iterator[Scored]:
        """Read tokens (N,) and give the nats of each, at most CHUNK at a time.

        `spelling` (N,), of unknown ones, is passed on.
        """
        spelling = np.zeros(len(ids)) if spelling is None else spelling
        for start in range(0, len(ids), CHUNK):
            part = ids[start : start + CHUNK]
            targets = part.astype(np.int64)
            inputs = np.append(np.int64(self._last), targets[:-1])
            if self._memory is not None:
                nats, self._state = self._memory.read(inputs, targets, self._state)
            else:
                nats, self._state = self._scorer.chunk_nats(inputs, targets, self._state)
            self._last = int(part[-1])
            self._recent = (*self._recent, *part[-RECENT:].tolist())[-RECENT:]
            self._tokens += len(part)
            self.tally.tokens += len(part)
            self.tally.nats += float(nats.sum())
            yield Scored(part, nats, spelling[start : start + CHUNK])

    def _count(self, done: bytes) -> None:
        """Bytes whose tokens are certain now, and what unknown ones among them cost."""
        self.tally.bytes += len(done)
        # Counted in bytes: a piece may end in the middle of a character, and cannot be decoded.
        starts = np.frombuffer(done, dtype=np.uint8) & 0xC0 != 0x80  # all but continuation bytes
        self.tally.chars += int(starts.sum())
        spelling = self._encoder.unknown_nats - self.tally.unknown_nats
        self.tally.nats += spelling
        self.tally.unknown_nats = self._encoder.unknown_nats
        self.tally.unknown = self._encoder.unknown

    @property
    def after(self) -> TextState:
        """The state after all that was fed."""
        state = tuple(part.cpu() for part in self._state)
        pending = self._encoder.pending
        return TextState(
            state, self._last, pending, self._tokens, self._bytes, self._recent, self._memory
        )


# Whole texts from streams of bytes, with states kept from one to the next.


class TextReader:
    """Reads one text after the other; each begins anew, but the first may go on after a state.

    With `state_out` the state is kept there at the end, and with it what is no whole token yet.
    Raises StorageError at once where that cannot be.
    """

    def __init__(self, scorer: Scorer, state_in: Path | None, state_out: Path | None) -> None:
        self._scorer = scorer
        self._out = state_out
        # A fingerprint reads all weights: it is made only where a state is to be checked or kept.
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
            # Where the text goes on another day, what is pending may become part of a longer token:
            # it is kept with the state and not scored.
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


# Lines or paragraphs as they come, each a text of its own.


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
