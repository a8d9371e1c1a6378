"""Continuing texts, many streams at once, handed out as they are made.

B streams, V vocabulary. What a stream says depends on its prompt, the seed and its number only.
"""

from __future__ import annotations

import codecs
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl.data.tokenizers import Tokenizer
from rnnctl.inference.memory import MemoryStepper
from rnnctl.inference.sampling import Sampling, Uniforms, choose
from rnnctl.inference.score import Reading, Scorer
from rnnctl.inference.state import RECENT, TextState
from rnnctl.nn.models import LanguageModel
from rnnctl.nn.stepping import Stepper, StepWeights

STREAMS = 64
PROMPT_PIECE = 1 << 16  # bytes of a prompt between two reports of progress
GAIN = 0.25  # what a token generated gains by compiled passes, of what one that is read gains

Ending = Literal["", "length", "stop", "end"]


@dataclass(frozen=True, slots=True)
class Wish:
    """How to continue. `length` in tokens; `stop`: texts that end a continuation, left out of it;
    `end`: whether the model's own end of a document ends it."""

    length: int = 500
    stop: tuple[str, ...] = ()
    end: bool = False
    seed: int = 0
    sampling: Sampling = field(default_factory=Sampling)


class Piece(NamedTuple):
    """Text that a stream has just said. `ended` says why it says no more."""

    stream: int
    text: str
    ended: Ending = ""


@dataclass(slots=True)
class Continuation:
    """A stream: what it was given and what it has said."""

    stream: int
    ids: list[int] = field(default_factory=list)
    text: str = ""
    ended: Ending = ""


class _Texts:
    """What tokens write, remembered; None for those that are no whole characters by themselves."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.bytes = tokenizer.token_bytes
        self.whole = functools.cache(self._whole)

    def _whole(self, token: int) -> str | None:
        try:
            return self.bytes(token).decode("utf-8")
        except UnicodeDecodeError:
            return None


class _Speaker:
    """Tokens of one stream to text: whole characters only, nothing that may begin a stop text."""

    def __init__(self, texts: _Texts, stop: tuple[str, ...]) -> None:
        self._texts = texts
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._broken = False  # whether the decoder holds part of a character
        self._stop = tuple(text for text in stop if text)
        self._held = ""

    def say(self, token: int) -> tuple[str, bool]:
        """The text that is certain after this token, and whether a stop text has been reached."""
        text = None if self._broken else self._texts.whole(token)
        if text is None:
            text = self._decoder.decode(self._texts.bytes(token))
            self._broken = bool(self._decoder.getstate()[0])
        if not self._stop:
            return text, False
        self._held += text
        places = [place for text in self._stop if (place := self._held.find(text)) >= 0]
        if places:
            return self._held[: min(places)], True
        # Held back until it is known whether it begins a stop text, which is never shown.
        keep = max((_overlap(self._held, text) for text in self._stop), default=0)
        cut = len(self._held) - keep
        said, self._held = self._held[:cut], self._held[cut:]
        return said, False

    def rest(self) -> str:
        """What was held back, when no more comes."""
        return self._held + self._decoder.decode(b"", True)


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`, but not all of it."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)


class Generator:
    """A language model ready to continue texts. Raises RunError if the run is none."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.model: LanguageModel = scorer.model
        self._tokenizer = scorer.tokenizer
        self._prepared: dict[tuple[bool, str], StepWeights] = {}

    def _weights(self, streams: int) -> StepWeights:
        """Ready for one stream, or for several; made when they are first needed."""
        # One stream is a vector, several are a matrix: each is fastest in a layout of its own.
        kind = streams > 1, self.model.recurrent.engine
        if kind not in self._prepared:
            self._prepared[kind] = StepWeights(self.model, streams)
        return self._prepared[kind]

    def read(
        self,
        prompt: str,
        before: TextState | None = None,
        tell: Callable[[int], None] | None = None,
    ) -> TextState:
        """The state after a prompt, `last_token` not yet fed. Unknown characters do not matter.

        `tell` is called now and then with the number of bytes that were read.
        """
        reading, data = Reading(self._scorer, before), prompt.encode("utf-8")
        for begin in range(0, len(data), PROMPT_PIECE):
            for _ in reading.feed(data[begin : begin + PROMPT_PIECE]):
                pass
            if tell is not None:
                tell(min(len(data), begin + PROMPT_PIECE))
        for _ in reading.finish():
            pass
        return reading.after

    def generate(
        self, prompts: Sequence[TextState], wish: Wish, *, first: int = 0
    ) -> Iterator[Piece]:
        """Continue all prompts at once; pieces of different streams come interleaved.

        `first` is the number of the first stream: it moves the streams' random numbers along.
        """
        if not prompts or wish.length == 0:
            yield from (Piece(first + i, "", "length") for i in range(len(prompts)))
            return
        self._scorer.engine.note(len(prompts) * wish.length * GAIN)
        batch = _Batch(self._weights(len(prompts)), self._tokenizer, prompts, wish, first)
        for _ in range(wish.length):
            yield from batch.step()
            if batch.empty:
                return
        yield from batch.close()

    def continuations(
        self, prompts: Sequence[TextState], wish: Wish, *, first: int = 0
    ) -> list[Continuation]:
        """As `generate`, but all of it at the end."""
        made = [Continuation(first + i) for i in range(len(prompts))]
        for piece in self.generate(prompts, wish, first=first):
            one = made[piece.stream - first]
            one.text += piece.text
            one.ended = piece.ended or one.ended
        return made


def _recent(prompts: Sequence[TextState]) -> NDArray[np.int64]:
    """The last tokens of each prompt (B, W), ending together; -1 before the beginning."""
    out = np.full((len(prompts), max(len(prompt.recent) for prompt in prompts)), -1)
    for row, prompt in zip(out, prompts, strict=True):
        row[len(row) - len(prompt.recent) :] = prompt.recent
    return out


class _Batch:
    """The streams that still talk, one row each."""

    def __init__(
        self,
        weights: StepWeights,
        tokenizer: Tokenizer,
        prompts: Sequence[TextState],
        wish: Wish,
        first: int,
    ) -> None:
        coordinates = zip(*(prompt.state for prompt in prompts), strict=True)
        state = tuple(torch.cat(parts, dim=1) for parts in coordinates)
        # All streams of a generator have a memory, or none has.
        memories = [prompt.memory for prompt in prompts if prompt.memory is not None]
        self._stepper: Stepper | MemoryStepper = (
            MemoryStepper(memories, state) if memories else Stepper(weights, state)
        )
        self._tokenizer = tokenizer
        self._wish = wish
        self._last = np.array([prompt.last_token for prompt in prompts])
        self._rows = np.arange(len(prompts))  # the streams that the rows belong to
        self._first = first
        # By the streams' numbers, so that each says the same with any others beside it.
        self._uniforms = Uniforms(wish.seed, len(prompts), first=first)
        texts = _Texts(tokenizer)
        self._speakers = [_Speaker(texts, wish.stop) for _ in prompts]
        self._recent = _recent(prompts)

    @property
    def empty(self) -> bool:
        return len(self._rows) == 0

    def step(self) -> Iterator[Piece]:
        """One token for each row."""
        logits = self._stepper.step(self._last)
        if self._tokenizer.unknown_id is not None:
            logits[:, self._tokenizer.unknown_id] = -np.inf  # it stands for nothing one could say
        self._last = choose(logits, self._wish.sampling, self._recent, self._uniforms.next())
        if self._wish.sampling.repetition_penalty != 1.0:
            said = np.concatenate([self._recent, self._last[:, None]], axis=1)
            self._recent = said[:, -RECENT:]
        alive = []
        for row, token in zip(self._rows.tolist(), self._last.tolist(), strict=True):
            piece = self._piece(row, token)
            alive.append(not piece.ended)
            if piece.text or piece.ended:
                yield piece
        if not all(alive):
            self._drop(np.array(alive))

    def close(self) -> Iterator[Piece]:
        """Let the rows that are left say what they held back: their length is reached."""
        for row in self._rows:
            yield Piece(self._first + int(row), self._speakers[row].rest(), "length")

    def _piece(self, row: int, token: int) -> Piece:
        stream = self._first + row
        if self._wish.end and token == self._tokenizer.boundary_id:
            return Piece(stream, self._speakers[row].rest(), "end")
        text, stopped = self._speakers[row].say(token)
        return Piece(stream, text, "stop" if stopped else "")

    def _drop(self, alive: NDArray[np.bool_]) -> None:
        self._rows, self._last = self._rows[alive], self._last[alive]
        self._recent = self._recent[alive]
        kept = np.flatnonzero(alive)
        self._stepper.keep(kept)
        self._uniforms.keep(kept)
