"""The inside of a model along texts: states and gates of every layer, token by token, or pooled.

A language model reads the document's start (``<eos>``) and then the text: its first row is the
state from which the first token is predicted, and the row of each token the state from which the
next one is. A classifier reads the text, cut as in training, and then the document's end. What is
found comes in stretches, so that a text of any length is read in constant memory.

A classifier that reads in both directions has no states "so far", but pooled ones: its texts come
whole, and the second half of its units has read backwards.

Axes: T rows, one for each token that was read; L layers that are wanted; H units of all directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl.data.tokenizers import Tokenizer
from rnnctl.errors import RunError, UsageError
from rnnctl.inference.classify import part_read
from rnnctl.machine import keep_memory
from rnnctl.nn.cells import State
from rnnctl.nn.engines import EngineChoice
from rnnctl.nn.models import Classifier
from rnnctl.nn.reading import can_read, can_read_inside, each
from rnnctl.tasks.loading import Loaded
from rnnctl.wording import either

Pool = Literal["mean", "last", "max"]
Values = dict[str, NDArray[np.float32]]

NUMBERS = 5 << 22  # that a thread holds at once: 80 MB
FEW = 256  # tokens that a thread reads at once where it reads text after text
CHUNK = 1024  # tokens of one text that go through the model at once
WORTH_IT = 4096  # tokens from which on the compiled passes pay: without them a step is slow


class Read(NamedTuple):
    """Tokens to be read: ids (T,), and places (T, 4) in the text as it was read (UTF-8, newlines as
    ``\\n``): first character, end, first byte, end. own (T,): false for the document's start, which
    stands nowhere in the text, and true for all else.
    """

    ids: NDArray[np.int32]
    places: NDArray[np.int64]
    own: NDArray[np.bool_]


class Stretch(NamedTuple):
    """Rows of one text: what was read, and values (T, L, H) by name. `last`: the text is over."""

    read: Read
    values: Values
    last: bool

    @property
    def is_finite(self) -> bool:
        """Whether all of it are finite numbers; a plain RNN's states may overflow with relu."""
        return all(bool(np.isfinite(value).all()) for value in self.values.values())


class Inside:
    """Reads texts with a run's model, for the `parts` and `layers` that are wanted.

    `parts`: names among h, c and the cell's gates; None: all of them. `layers`: numbers from 1, the
    lowest; None: all. `whole`: texts are looked at as wholes, pooled, and nobody asks where their
    tokens stand. Raises RunError for a model that reads in both directions and is not to be pooled,
    UsageError for a part or a layer that there is not.
    """

    def __init__(
        self,
        loaded: Loaded,
        parts: Sequence[str] | None = None,
        layers: Sequence[int] | None = None,
        *,
        whole: bool = False,
    ) -> None:
        recurrent = loaded.model.recurrent
        self.both_ways = recurrent.directions == 2
        if self.both_ways and not whole:
            raise RunError(
                f"{loaded.run.path} reads in both directions: its state at a token also depends on "
                "the text after that token",
                hint="--pool mean, last or max gives one vector for each text; for the states of "
                "tokens train a run with --no-bidirectional",
            )
        keep_memory()
        self._whole_only = whole
        self.tokenizer: Tokenizer = loaded.tokenizer
        self.parts = _parts(parts, (*recurrent.cell.state_names, *recurrent.cell.gate_names))
        self.layers = _layers(layers, recurrent.num_layers)
        self.units = recurrent.hidden_size * recurrent.directions
        self._model = loaded.model
        self._corpus = loaded.config.corpus
        self._engine = EngineChoice(loaded.model, WORTH_IT)
        gates, states = recurrent.cell.gate_count, len(recurrent.cell.state_names)
        # Numbers for each unit and token: what is read before it is handed on, in rows of their
        # own and then in the texts' order, and what a layer gets from below.
        read = 1 if set(self.parts) <= {"h"} else states + gates
        kept = len(self.layers) * (read + len(self.parts)) + 2 * gates
        self._most = max(64, NUMBERS // (kept * self.units))  # tokens at once

    @property
    def ends(self) -> bool:
        """Whether a document's end is read, as classifiers do, and not its start."""
        return isinstance(self._model, Classifier)

    def texts(self, texts: Iterable[str]) -> Iterator[Stretch]:
        """The stretches of each text, from an empty state, text after text."""
        # PyTorch's own kernels read one text after the other: many at once only take memory.
        some = self._most if can_read_inside(self._model.recurrent) else min(FEW, self._most)
        most = some * torch.get_num_threads()
        waiting: list[Read] = []
        tokens = 0  # that wait
        for text in texts:
            read = self._whole(text)
            if waiting and tokens + len(read.ids) > most:
                yield from self._side_by_side(waiting)
                waiting, tokens = [], 0
            if len(read.ids) > self._most and not self.both_ways:
                yield from self._handed_on([read])
            else:
                waiting.append(read)
                tokens += len(read.ids)
        yield from self._side_by_side(waiting)

    def stream(self, chunks: Iterable[bytes]) -> Iterator[Stretch]:
        """The stretches of one text, of any length, that comes as bytes. For language models.

        Raises MalformedTextError.
        """
        yield from self._handed_on(self._reads(chunks))

    def _reads(self, chunks: Iterable[bytes]) -> Iterator[Read]:
        """What is certain of a text that comes as bytes, after the document's start."""
        encoder = self.tokenizer.stream()
        yield self._start()
        before = np.zeros(4, np.int64)
        for data in chain(chunks, [None]):
            held = encoder.pending + (data or b"")
            ids = encoder.finish() if data is None else encoder.feed(data)
            text = held[: len(held) - len(encoder.pending)].decode("utf-8")
            places = find_places(self.tokenizer, text, ids) + before
            before += np.repeat([len(text), len(text.encode("utf-8"))], 2)
            yield Read(ids, places, np.ones(len(ids), bool))

    def _handed_on(self, reads: Iterable[Read]) -> Iterator[Stretch]:
        """One text in pieces, each from the state after the one before."""
        state: State | None = None
        for read in reads:
            for some in _cut(read, min(CHUNK, self._most)):
                self._engine.note(len(some.ids))
                lengths = np.array([len(some.ids)], dtype=np.int64)
                values, state = self._read(some.ids, lengths, state)
                yield Stretch(some, values, last=False)
        none = np.empty((0, len(self.layers), self.units), np.float32)
        nothing = Read(np.empty(0, np.int32), np.empty((0, 4), np.int64), np.empty(0, bool))
        yield Stretch(nothing, dict.fromkeys(self.parts, none), last=True)

    def _side_by_side(self, reads: Sequence[Read]) -> Iterator[Stretch]:
        """Short texts, many at once, each from an empty state."""
        if not reads:
            return
        sizes = np.array([len(read.ids) for read in reads], dtype=np.int64)
        self._engine.note(int(sizes.sum()))
        can_read(self._model.recurrent)  # imports numba, here: not in several threads at once
        # Neighbours go together, so that they come out in order.
        share = sizes.sum() / torch.get_num_threads()
        group = ((np.cumsum(sizes) - sizes) // max(share, 1)).astype(np.int64)
        parts = [np.flatnonzero(group == number) for number in np.unique(group)]

        def work(some: NDArray[np.int64]) -> Values:
            ids = np.concatenate([reads[index].ids for index in some])
            return self._read(ids, sizes[some])[0]

        for some, values in zip(parts, each(work, parts), strict=True):
            ends = np.cumsum(sizes[some])
            for index, end in zip(some.tolist(), ends.tolist(), strict=True):
                begin = end - int(sizes[index])
                own = {name: value[begin:end] for name, value in values.items()}
                yield Stretch(reads[index], own, last=True)

    def _read(
        self, ids: NDArray[np.int32], lengths: NDArray[np.int64], state: State | None = None
    ) -> tuple[Values, State]:
        """Texts joined, ids (T,) and lengths (B,) -> the parts (T, L, H), and the state after."""
        layers = [number - 1 for number in self.layers]
        found, state = self._model.inside(ids, lengths, self.parts, layers, state)
        return {name: value.float().cpu().numpy() for name, value in found.items()}, state

    def _start(self) -> Read:
        """The document's start, which stands before the text."""
        ids = np.array([self.tokenizer.boundary_id], np.int32)
        return Read(ids, np.zeros((1, 4), np.int64), np.zeros(1, bool))

    def _whole(self, text: str) -> Read:
        """A text as the model reads it, with the document's start or end."""
        ids = self.tokenizer.encode(text)
        if self._whole_only:  # a pooled row stands nowhere in particular
            places = np.zeros((len(ids), 4), np.int64)
        else:
            places = find_places(self.tokenizer, text, ids)
        read = Read(ids, places, np.ones(len(ids), bool))
        if not self.ends:
            start = self._start()
            return Read(
                np.concatenate([start.ids, ids]),
                np.concatenate([start.places, places]),
                np.concatenate([start.own, read.own]),
            )
        kept = part_read(self._corpus)
        end = np.repeat([len(text), len(text.encode("utf-8"))], 2)
        return Read(
            np.append(ids[kept], np.int32(self.tokenizer.boundary_id)),
            np.concatenate([places[kept], end[None]]),
            np.ones(len(ids[kept]) + 1, bool),
        )


class Pooled:
    """One vector for each text: the mean, the largest or the last of its rows, unit by unit.

    The document's start is no row of the text, and counts only where there is no other. Of units
    that have read backwards (`both_ways`: the second half) the last row is the text's first.
    """

    def __init__(self, pool: Pool, *, both_ways: bool = False) -> None:
        self._pool, self._both_ways = pool, both_ways
        self._clear()

    def _clear(self) -> None:
        self.tokens = 0
        self._kept: dict[str, NDArray[np.float64]] = {}

    def add(self, stretch: Stretch) -> tuple[int, Values] | None:
        """Take in some rows; at the end of a text how many counted, and (L, H) by name."""
        own = stretch.read.own
        if len(own) and not self.tokens and not own.any():  # only the document's start so far
            self._kept = {name: value[-1].astype(float) for name, value in stretch.values.items()}
        elif own.any():
            self._take({name: value[own] for name, value in stretch.values.items()})
            self.tokens += int(own.sum())
        if not stretch.last:
            return None
        count = max(1, self.tokens) if self._pool == "mean" else 1
        made = {name: (value / count).astype(np.float32) for name, value in self._kept.items()}
        tokens = self.tokens
        self._clear()
        return tokens, made

    def _take(self, values: Values) -> None:
        for name, rows in values.items():
            before = self._kept.get(name) if self.tokens else None
            if self._pool == "mean":
                found = rows.sum(0, dtype=np.float64)
                found = found if before is None else before + found
            elif self._pool == "max":
                found = rows.max(0).astype(float)
                found = found if before is None else np.maximum(before, found)
            else:
                found = rows[-1].astype(float)
                if self._both_ways:  # such a text comes whole
                    half = found.shape[-1] // 2
                    found[..., half:] = rows[0][..., half:]
            self._kept[name] = found


def find_places(tokenizer: Tokenizer, text: str, ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where each of `ids` = `tokenizer.encode(text)` stands (T, 4): the characters that it touches,
    first and end, and its bytes in UTF-8, first and end."""
    spans = tokenizer.spans(text, ids).reshape(-1, 2)
    if text.isascii():
        return np.concatenate([spans, spans], 1)
    data = np.frombuffer(text.encode("utf-8"), np.uint8)
    begun = np.concatenate([[0], np.cumsum(data & 0xC0 != 0x80)])  # characters before each byte
    first = begun[np.minimum(spans[:, 0] + 1, len(data))] - 1
    return np.column_stack([np.maximum(first, 0), begun[spans[:, 1]], spans])


def _cut(read: Read, most: int) -> Iterator[Read]:
    for begin in range(0, len(read.ids), most):
        some = slice(begin, begin + most)
        yield Read(read.ids[some], read.places[some], read.own[some])


def _parts(wanted: Sequence[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    if wanted is None:
        return known
    for name in wanted:
        if name not in known:
            raise UsageError(
                f"this cell has no {name!r} inside", hint=f"its parts are {', '.join(known)}"
            )
    if not wanted:
        raise UsageError("no part is named", hint=f"choose {either(known)}")
    return tuple(name for name in known if name in wanted)


def _layers(wanted: Sequence[int] | None, count: int) -> tuple[int, ...]:
    if wanted is None:
        return tuple(range(1, count + 1))
    for number in wanted:
        if not 1 <= number <= count:
            raise UsageError(
                f"there is no layer {number}",
                hint=f"the layers are 1 (the lowest) to {count}"
                if count > 1
                else "there is one: 1",
            )
    if not wanted:
        raise UsageError("no layer is named", hint=f"for example: --layers {count}")
    return tuple(sorted(set(wanted)))
