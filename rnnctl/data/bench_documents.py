"""What the documents of memory tasks look like, and what guessing reaches on each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnctl.data.documents import Document

LETTERS = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"
COPIED = 10
"""Symbols to copy, as in Arjovsky et al. 2016."""
ORDERS = ("XX", "XY", "YX", "YY")
THINGS = ("key", "door", "book", "lamp", "coat", "boat", "stone", "ring")
COLOURS = ("red", "blue", "green", "black", "white", "brown", "grey", "yellow")
FILLER = (
    ("a", "the", "one", "every", "some", "this", "that", "another"),
    ("farmer", "doctor", "child", "sailor", "teacher", "singer", "driver", "baker"),
    ("saw", "met", "heard", "knew", "found", "liked", "helped", "called"),
    ("my", "your", "her", "his", "our", "their", "its", "no"),
    ("sister", "brother", "friend", "cousin", "uncle", "aunt", "guest", "dog"),
)
"""Five words a sentence, none of which is a thing or a colour."""

Rng = np.random.Generator
Options = dict[str, float]


@dataclass(frozen=True, slots=True)
class BenchTask:
    """A parsed specification: the task's name and all its options, defaults filled in."""

    name: str
    options: Options

    def __getitem__(self, option: str) -> int:
        return int(self.options[option])


def _text(alphabet: str, codes: NDArray[np.intp]) -> str:
    return "".join(alphabet[code] for code in codes)


def recall(task: BenchTask, rng: Rng, count: int) -> Iterator[Document]:
    """A symbol, then `lag` random digits; labelled with the symbol."""
    for _ in range(count):
        symbol = LETTERS[int(rng.integers(task["symbols"]))]
        noise = _text(DIGITS, rng.integers(task["distractors"], size=task["lag"]))
        yield Document(text=symbol + noise, label=symbol)


def recall_chance(task: BenchTask) -> dict[str, float]:
    """One of the symbols."""
    return {"accuracy": 1 / task["symbols"], "answer_nats": math.log(task["symbols"])}


def temporal_order(task: BenchTask, rng: Rng, count: int) -> Iterator[Document]:
    """The marks lie in the second and in the sixth tenth of the text (1997: 10–20, 50–60)."""
    tenth = task["length"] // 10
    for _ in range(count):
        order = ORDERS[int(rng.integers(4))]
        text = list(_text("abcd", rng.integers(4, size=task["length"])))
        for mark, start in zip(order, (tenth, 5 * tenth), strict=True):
            text[start + int(rng.integers(tenth))] = mark
        yield Document(text="".join(text), label=order)


def order_chance(task: BenchTask) -> dict[str, float]:
    """One of four orders."""
    return {"accuracy": 0.25, "answer_nats": math.log(4)}


def copy(task: BenchTask, rng: Rng, count: int) -> Iterator[Document]:
    """Ten symbols, `lag` dots, a colon, the ten symbols again."""
    for _ in range(count):
        symbols = _text(LETTERS, rng.integers(task["symbols"], size=COPIED))
        yield Document(text=symbols + "." * task["lag"] + ":" + symbols)


def copy_chance(task: BenchTask) -> dict[str, float]:
    """The first ten symbols cannot be known; a model without memory guesses the last ten too."""
    tokens, nats = 2 * COPIED + task["lag"] + 2, math.log(task["symbols"])  # colon and boundary
    return {
        "accuracy": 1 / task["symbols"],
        "answer_nats": nats,
        "loss_nats_memoryless": 2 * COPIED * nats / tokens,
        "loss_nats_best": COPIED * nats / tokens,
    }


def paragraph_recall(task: BenchTask, rng: Rng, count: int) -> Iterator[Document]:
    """A claim, filler of at least `words` words, the claim again."""
    sentences = -(-task["words"] // len(FILLER))
    for _ in range(count):
        thing, colour = THINGS[int(rng.integers(8))], COLOURS[int(rng.integers(8))]
        drawn = rng.integers(8, size=(sentences, len(FILLER)))
        filler = " . ".join(
            " ".join(words[code] for words, code in zip(FILLER, row, strict=True)) for row in drawn
        )
        claim = f"the {thing} is {colour} ."
        yield Document(text=f"{claim} {filler} . {claim}")


def paragraph_chance(task: BenchTask) -> dict[str, float]:
    """Per sentence of filler five times ln 8; thing and colour ln 8 each, the first time."""
    nats = math.log(8)
    sentences = -(-task["words"] // len(FILLER))
    tokens = 10 + 6 * sentences + 1  # two claims of five tokens, the boundary
    best = (5 * sentences + 2) * nats / tokens
    return {
        "accuracy": 1 / 8,
        "answer_nats": nats,
        "loss_nats_memoryless": best + 2 * nats / tokens,
        "loss_nats_best": best,
    }


def copy_lag(task: BenchTask, rng: Rng, count: int) -> Iterator[Document]:
    """A text of `count` symbols: each repeats the one `lag` before it with probability q."""
    lag, symbols = task["lag"], task["symbols"]
    text = rng.integers(symbols, size=count + lag)
    copied = rng.random(count + lag) < task.options["q"]
    for block in range(lag, count + lag, lag):  # lag apart: a whole block may be copied at once
        end = min(block + lag, count + lag)
        text[block:end] = np.where(
            copied[block:end], text[block - lag : end - lag], text[block:end]
        )
    yield Document(text=_text(LETTERS, text[lag:]))


def copy_lag_chance(task: BenchTask) -> dict[str, float]:
    """Entropy of the source given the symbol `lag` back, and without it."""
    symbols, q = task["symbols"], task.options["q"]
    other = (1 - q) / symbols
    same = q + other
    entropy = -same * math.log(same)
    if other > 0:
        entropy -= (symbols - 1) * other * math.log(other)
    memoryless = math.log(symbols)
    return {
        "accuracy": 1 / symbols,
        "answer_nats": memoryless,
        "loss_nats_memoryless": memoryless,
        "loss_nats_best": entropy,
    }
