"""Memory tasks of known difficulty as corpora: ``task:NAME[:option=value[,option=value…]]``.

Every symbol is one character without spaces between, so that the default ``--level char`` makes
one token of each and a lag of 60 is 60 tokens; *paragraph-recall* is English and wants
``--level word``. Everything is drawn from a generator seeded by ``seed=``: the same specification
always gives the same documents.

==================  ==============  ===========================================================
name                trained as      a document
==================  ==============  ===========================================================
recall              classify        a symbol, then `lag` random digits; the label is the symbol
temporal-order      classify        X or Y twice among a–d; the label is their order (4 classes)
copy                lm              10 symbols, `lag` dots, a colon, the 10 symbols again
paragraph-recall    lm              "the key is red . …filler… the key is red ."
copy-lag            lm, running     x(t) = x(t − lag) with probability q, else any symbol
==================  ==============  ===========================================================

Recall and temporal order are *classification* corpora: the answer is read from the last state, so
accuracy is the measurement, each document is back-propagated whole whatever ``--bptt`` is, and no
loss is spent on guessing distractors. The others are language-model corpora; their documents must
fit into ``--bptt``, for truncation cuts the path that the task is about.

`chance` gives what a model without memory reaches. Sources of the tasks: Hochreiter & Schmidhuber
1997 (temporal order), Arjovsky et al. 2016 (copy); delayed recall and the others are ours.
"""

from __future__ import annotations

import difflib
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rnnctl.data.corpus import Corpus
from rnnctl.data.documents import SPLITS, Document
from rnnctl.data.readers import SchemeReader
from rnnctl.errors import DataError, UsageError

# -- documents of each task ----------------------------------------------------------------------

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


# -- the tasks -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kind:
    trained_as: Literal["lm", "classify"]
    level: Literal["char", "word"]
    defaults: Options
    limits: dict[str, tuple[float, float]]
    make: Callable[[BenchTask, Rng, int], Iterator[Document]]
    chance: Callable[[BenchTask], dict[str, float]]


_SIZES: Options = {"train": 20_000, "valid": 1_000, "test": 1_000, "seed": 0}
_SIZE_LIMITS = {"train": (1, 1e8), "valid": (0, 1e8), "test": (0, 1e8), "seed": (0, 2**31)}
_KINDS: dict[str, _Kind] = {
    "recall": _Kind(
        "classify",
        "char",
        {"lag": 60, "symbols": 8, "distractors": 8, **_SIZES},
        {"lag": (0, 1e5), "symbols": (2, 26), "distractors": (1, 10), **_SIZE_LIMITS},
        recall,
        recall_chance,
    ),
    "temporal-order": _Kind(
        "classify",
        "char",
        {"length": 50, **_SIZES},
        {"length": (10, 1e5), **_SIZE_LIMITS},
        temporal_order,
        order_chance,
    ),
    "copy": _Kind(
        "lm",
        "char",
        {"lag": 50, "symbols": 8, **_SIZES},
        {"lag": (0, 1e5), "symbols": (2, 26), **_SIZE_LIMITS},
        copy,
        copy_chance,
    ),
    "paragraph-recall": _Kind(
        "lm",
        "word",
        {"words": 60, **_SIZES, "train": 5_000},
        {"words": (1, 1e5), **_SIZE_LIMITS},
        paragraph_recall,
        paragraph_chance,
    ),
    "copy-lag": _Kind(
        "lm",
        "char",
        {"lag": 10, "symbols": 20, "q": 0.9, **_SIZES, "train": 400_000, "valid": 20_000},
        {"lag": (1, 1e5), "symbols": (2, 26), "q": (0, 1), **_SIZE_LIMITS},
        copy_lag,
        copy_lag_chance,
    ),
}


def parse(spec: str) -> BenchTask:
    """Read ``task:NAME[:option=value…]``; raises UsageError naming what is wrong in it."""
    name, *rest = spec.removeprefix("task:").split(":")
    kind = _KINDS.get(name)
    if kind is None:
        raise UsageError(f"there is no task {name!r} in {spec!r}", hint=_suggest(name, _KINDS))
    options = dict(kind.defaults)
    for part in ",".join(rest).split(","):
        if part:
            key, value = _option(part, kind, spec)
            options[key] = value
    return BenchTask(name, options)


def _option(part: str, kind: _Kind, spec: str) -> tuple[str, float]:
    key, _, text = part.partition("=")
    if key not in kind.defaults:
        raise UsageError(f"no option {key!r} in {spec!r}", hint=_suggest(key, kind.defaults))
    low, high = kind.limits[key]
    # The only option that is a share.
    whole = key != "q"
    hint = f"for example {key}={kind.defaults[key]:g}"
    try:
        value = float(int(text) if whole else float(text))
    except ValueError:
        number = "a whole number" if whole else "a number"
        raise UsageError(f"{key!r} in {spec!r} is not {number}: {text!r}", hint=hint) from None
    if not low <= value <= high:
        raise UsageError(f"{key}={text} in {spec!r} is outside {low:g} to {high:g}", hint=hint)
    return key, value


def _suggest(given: str, known: dict[str, _Kind] | Options) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    listing = ", ".join(known)
    return f"did you mean {close[0]!r}? known: {listing}" if close else f"known: {listing}"


def trained_as(spec: str) -> Literal["lm", "classify"]:
    """The `--task` under which the corpus makes sense."""
    return _KINDS[parse(spec).name].trained_as


def level(spec: str) -> Literal["char", "word"]:
    """The `--level` at which distances mean what the specification says."""
    return _KINDS[parse(spec).name].level


def recipe(spec: str) -> dict[str, dict[str, Any]]:
    """Settings under which the corpus tests memory, by section of a RunConfig.

    A classifier reads forwards and answers from its last state, without dropout (pooling and
    reading backwards would read the symbol off directly); the documents of a language model fit
    into ``bptt`` four times.
    """
    task = parse(spec)
    kind = _KINDS[task.name]
    model: dict[str, Any] = {"task": kind.trained_as}
    training: dict[str, Any] = {"weight_decay": 0.0}
    if kind.trained_as == "classify":
        model |= {"pool": "last", "bidirectional": False}
        model |= {"dropout_embedding": 0.0, "dropout_output": 0.0}
        # An average of weights would lag behind what is learnt all of a sudden.
        training |= {"decay": "constant", "patience": None, "average": 0.0}
        return {"corpus": {"max_tokens": None}, **_sections(kind, model, training)}
    tokens = {
        "copy": 2 * COPIED + task.options.get("lag", 0) + 2,
        "copy-lag": task.options.get("lag", 0),
        "paragraph-recall": 1.2 * task.options.get("words", 0) + 17,
    }[task.name]
    return _sections(kind, model, training | {"bptt": max(64, 4 * math.ceil(tokens))})


def _sections(
    kind: _Kind, model: dict[str, Any], training: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    tokenizer = {"level": kind.level, "min_count": 1}
    return {"tokenizer": tokenizer, "model": model, "training": training}


def is_running(spec: str) -> bool:
    """Whether the corpus is one running text rather than documents."""
    return parse(spec).name == "copy-lag"


def task_documents(spec: str) -> dict[str, list[Document]]:
    """The documents of "train", "valid" and "test"; labelled where `trained_as` is "classify".

    The options ``train``, ``valid`` and ``test`` are numbers of documents, and of tokens for the
    running text of copy-lag. Raises UsageError for a specification that `parse` refuses.
    """
    task = parse(spec)
    # Two tasks of the same seed are not to draw the same numbers. Python's own hash is another in
    # each process.
    salt = zlib.crc32(task.name.encode())
    found: dict[str, list[Document]] = {}
    for part, split in enumerate(SPLITS):
        # A generator for each split, so that more documents of one leave the others as they are.
        rng = np.random.default_rng([task["seed"], part, salt])
        make = _KINDS[task.name].make
        found[split] = list(make(task, rng, task[split])) if task[split] else []
    return found


def chance(spec: str) -> dict[str, float]:
    """What a model without memory reaches, and the best possible.

    Keys: ``accuracy`` and ``answer_nats`` (loss) at the answer by guessing; for language-model
    corpora ``loss_nats_memoryless`` and ``loss_nats_best``, the mean nats per token (document
    boundaries counted) of a model that knows all but the answer, and of one that knows that too.
    """
    task = parse(spec)
    return _KINDS[task.name].chance(task)


def open_task(spec: str, task: str, cache: Path) -> Corpus:
    """The corpus of a specification. DataError if it is for another `task`, UsageError."""
    if trained_as(spec) != task:
        raise DataError(
            f"{spec} is a corpus for --task {trained_as(spec)}, not for {task}",
            hint="leave out --task: the corpus determines it",
        )
    corpus = Corpus.from_documents(task_documents(spec), description=spec)
    return replace(corpus, running=is_running(spec))


TASK = SchemeReader(open_task)
