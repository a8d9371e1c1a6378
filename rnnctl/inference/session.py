"""What `rnnctl generate` does with a run: read prompts, continue them, look for copies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnctl.data.packing import Reads
from rnnctl.inference import state as states
from rnnctl.inference.generate import STREAMS, Continuation, Ending, Generator, Piece, Wish
from rnnctl.inference.lines import UTF_8, Encoding
from rnnctl.inference.memory_settings import NOTHING, Memory
from rnnctl.inference.records import RecordReader, Wanted
from rnnctl.inference.score import Scorer
from rnnctl.inference.state import TextState
from rnnctl.inference.training_text import NOT_KNOWN, CopyFinder, by_document
from rnnctl.results.inference import GenerateResult, Sample
from rnnctl.tasks.loading import Loaded, environment

NOT_LOOKED_FOR = "it was not looked for; --copied does"


@dataclass(frozen=True, slots=True)
class Start:
    """Where continuations begin, and how many tokens of the prompt were unknown."""

    state: TextState
    unknown: int


@dataclass(frozen=True, slots=True)
class LineContinuation:
    """The continuation of one line, or why there is none."""

    line: int
    prompt: str
    text: str = ""
    ended: str = ""
    unknown: int = 0
    error: str = ""

    def fields(self) -> dict[str, Any]:
        """As a JSON object."""
        if self.error:
            return {"line": self.line, "error": self.error}
        said = {"line": self.line, "prompt": self.prompt, "unknown": self.unknown}
        return {**said, "text": self.text, "ended": self.ended}


class Session:
    """A language model's run at work. Raises RunError if it is none."""

    def __init__(self, loaded: Loaded, *, copied: bool, memory: Memory = NOTHING) -> None:
        self.loaded = loaded
        self._generator = Generator(Scorer(loaded, memory=memory))
        self._copies = CopyFinder(loaded) if copied else None
        self.by_document = by_document(loaded)

    @property
    def looks_for_copies(self) -> bool:
        return self._copies is not None

    @property
    def copied_note(self) -> str:
        """Why copies are not known; empty where they are."""
        if self._copies is None:
            return NOT_LOOKED_FOR
        return "" if self._copies.known else NOT_KNOWN

    def read(
        self,
        prompt: str,
        state_in: Path | None = None,
        tell: Callable[[int], None] | None = None,
    ) -> Start:
        """The state after the prompt, itself after the text of `state_in`.

        `tell` is called now and then with the number of bytes that were read.
        """
        model, tokenizer = self._generator.model, self.loaded.tokenizer
        before = None
        if state_in is not None:
            owner = states.fingerprint(model, tokenizer)
            before = states.load(state_in, model, tokenizer, owner)
        return Start(self._generator.read(prompt, before, tell), tokenizer.spelling_nats(prompt)[0])

    def go_on(self, before: Start | None, text: str) -> Start:
        """The state after more text, behind what was read and said before; None: behind nothing."""
        state = None if before is None else before.state
        read = self._generator.read(text, state)
        return Start(read, self.loaded.tokenizer.spelling_nats(text)[0])

    def unwritable(self, text: str) -> list[str]:
        """The characters of `text` that no token of the model contains, escaped."""
        tokenizer = self.loaded.tokenizer
        tokens = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
        written = set("".join(token.decode("utf-8", "ignore") for token in tokens))
        # Between its tokens such a model writes spaces and line ends, which are in none of them.
        if tokenizer.level == "word":
            written |= set(" \n")
        # A tokenizer with a token for each byte can write any character, byte by byte.
        single = {token for token in tokens if len(token) == 1}
        return [
            repr(char)
            for char in dict.fromkeys(text)
            if char not in written and any(bytes([b]) not in single for b in char.encode())
        ]

    def in_order(self, start: Start, wish: Wish, count: int) -> Iterator[Piece]:
        """Pieces of `count` continuations, one continuation after the other."""
        for first in range(0, count, STREAMS):
            some = [start.state] * min(STREAMS, count - first)
            yield from _in_turn(self._generator.generate(some, wish, first=first), first)

    def result(self, prompt: str, start: Start, wish: Wish, count: int) -> GenerateResult:
        """`count` continuations as a record."""
        made: list[Continuation] = []
        for first in range(0, count, STREAMS):
            some = [start.state] * min(STREAMS, count - first)
            made += self._generator.continuations(some, wish, first=first)
        how = wish.sampling
        return GenerateResult(
            environment=environment(self.loaded),
            seed=wish.seed,
            run=str(self.loaded.run.path),
            prompt=prompt,
            unknown_in_prompt=start.unknown,
            temperature=how.temperature,
            top_k=how.top_k,
            top_p=how.top_p,
            min_p=how.min_p,
            repetition_penalty=how.repetition_penalty,
            length=wish.length,
            stop=wish.stop,
            samples=tuple(self.sample(one.text, one.ended) for one in made),
            copied_note=self.copied_note,
        )

    def sample(self, text: str, ended: Ending) -> Sample:
        """A continuation as a record, with what it has copied."""
        found = None if self._copies is None else self._copies.find(text)
        return Sample(text=text, ended=ended, copied=found)

    def lines(
        self, streams: Iterable[Reads], wish: Wish, encoding: Encoding = UTF_8
    ) -> Iterator[LineContinuation]:
        """Every line is a prompt; those that can be read at once are continued together."""
        wanted = Wanted(kind="text", encoding=encoding)
        windows = (some for one in streams for some in RecordReader(wanted).windows(one))
        done = 0
        for records in windows:
            for begin in range(0, len(records), STREAMS):
                some = records[begin : begin + STREAMS]
                # A line that cannot be read is continued as an empty one and left out below: so the
                # others keep their random numbers.
                starts = [self.read(record.text) for record in some]
                prompts = [start.state for start in starts]
                made = self._generator.continuations(prompts, wish, first=done)
                done += len(some)
                for record, start, one in zip(some, starts, made, strict=True):
                    if record.error:
                        yield LineContinuation(record.line, "", error=record.error)
                        continue
                    yield LineContinuation(
                        record.line, record.text, one.text, one.ended, start.unknown
                    )


def _in_turn(pieces: Iterable[Piece], turn: int) -> Iterator[Piece]:
    """Interleaved pieces in order of their streams; the stream whose turn it is waits for none."""
    held: dict[int, list[Piece]] = {}
    for piece in pieces:
        if piece.stream != turn:
            held.setdefault(piece.stream, []).append(piece)
            continue
        yield piece
        ended = bool(piece.ended)
        while ended:
            turn += 1
            waiting = held.pop(turn, [])
            yield from waiting
            ended = bool(waiting) and bool(waiting[-1].ended)
