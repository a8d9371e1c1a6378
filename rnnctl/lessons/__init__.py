"""Five lessons: a question, a prediction, a measurement with the functions that commands use.

`outlines` lists them, `teach` measures one. What is claimed and what is measured are kept apart:
the numbers decide, also against the lecture. Nothing here prints or asks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rnnctl.errors import UsageError
from rnnctl.results.teaching import LessonOutline, LessonResult

if TYPE_CHECKING:
    from rnnctl.lessons.labs import Measured

DEFAULT_BUDGET_S: Final = 15.0  # of training, for each model


@dataclass(frozen=True)
class Wish:
    """What somebody wants of a lesson. None: the lesson's own value.

    `out`: the folder that the runs are kept in; `text`: a file to read instead of the bundled
    paragraphs; `budget_s`: seconds of training of each model. The last five are the one thing that
    a lesson can change: `scale` (1), `words` (2), `hold` (3), `hidden_size` (4), `length` (5).
    """

    out: Path
    text: Path | None = None
    budget_s: float = DEFAULT_BUDGET_S
    seed: int = 0
    threads: int | None = None
    predict: str | None = None
    scale: float | None = None
    words: int | None = None
    hold: Mapping[str, float] = field(default_factory=dict)
    hidden_size: int | None = None
    length: int | None = None


OUTLINES: Final = (
    LessonOutline(
        number=1,
        title="the gradient vanishes, and explodes",
        question="A plain RNN with PyTorch's initial weights, before any training, reads your "
        "text. Take the gradient of the loss of one character with respect to the state 50 "
        "characters earlier. How large is it, compared with the gradient one character earlier?",
        answers={
            "a": "more than a tenth",
            "b": "between a tenth and a millionth",
            "c": "less than a millionth",
        },
        claim="the gradient of a plain RNN vanishes or explodes; that of an LSTM arrives",
        change="--scale",
    ),
    LessonOutline(
        number=2,
        title="what the plain RNN forgets",
        question="The first sentence of a paragraph says which of eight colours a thing has. "
        "Sentences of your text follow. At the end a classifier, which sees only the last state, "
        "must name the colour. Which cells still know it at the end of the longest paragraphs?",
        answers={
            "a": "none of the three",
            "b": "LSTM or GRU (or both), but not the plain RNN",
            "c": "the plain RNN too",
        },
        claim="a plain RNN forgets what a paragraph said first; gates keep it",
        change="--words",
    ),
    LessonOutline(
        number=3,
        title="gates, one at a time",
        question="An LSTM is trained on your text. Then every forget gate is held open (at 1), so "
        "that the cell never forgets anything. What happens to the loss on new text?",
        answers={
            "a": "it falls, because more is remembered",
            "b": "it changes by less than 1 %",
            "c": "it rises, because forgetting was needed",
        },
        claim="the forget gate decides what the cell throws away, and the model needs that",
        change="--hold",
    ),
    LessonOutline(
        number=4,
        title="LSTM against GRU",
        question="At the same hidden size a GRU has three quarters of an LSTM's multiply-adds. "
        "How many times as fast does it train on this machine?",
        answers={
            "a": "less than 1.05 times as fast",
            "b": "1.05 to 1.25 times as fast",
            "c": "more than 1.25 times as fast",
        },
        claim="the GRU does the same with two gates and is faster",
        change="--hidden-size",
    ),
    LessonOutline(
        number=5,
        title="counting beyond the training length",
        question="Three cells learn strings of n times a and then n times b, for every n up to a "
        "limit. A cell counts correctly if it expects the end of the string exactly after the n-th "
        "b. Which cell counts furthest beyond the limit?",
        answers={
            "a": "none: all three fail at the limit, or before",
            "b": "the LSTM",
            "c": "the GRU or the plain RNN, or two of them equally",
        },
        claim="a cell state can count, also beyond the lengths that it was trained on",
        change="--length",
    ),
)


def outline(number: int) -> LessonOutline:
    """Raises UsageError for a lesson that does not exist."""
    for one in OUTLINES:
        if one.number == number:
            return one
    raise UsageError(f"there is no lesson {number}", hint="`rnnctl lesson` lists 1 to 5")


def check(number: int, wish: Wish) -> None:
    """UsageError for what this lesson does not take, or cannot do."""
    one = outline(number)
    given = {
        "--scale": wish.scale, "--words": wish.words, "--hold": wish.hold or None,
        "--hidden-size": wish.hidden_size, "--length": wish.length,
    }  # fmt: skip
    for option, value in given.items():
        if value is not None and option != one.change:
            raise UsageError(
                f"lesson {number} does not take {option}", hint=f"it can change {one.change}"
            )
    if wish.text is not None and number == 5:
        raise UsageError("lesson 5 makes its own text", hint="leave out --text")
    if wish.predict is not None and wish.predict not in one.answers:
        listed = ", ".join(one.answers)
        raise UsageError(
            f"{wish.predict!r} is not an answer to lesson {number}",
            hint=f"the answers are {listed}",
        )
    if wish.hold:
        from rnnctl.nn.cells import LSTM, held

        held(LSTM, wish.hold)


def teach(number: int, wish: Wish) -> Iterator[str | LessonResult]:
    """Measure a lesson: says what it is doing; the last item is the result.

    Raises UsageError for what the lesson does not take, and what a training raises.
    """
    check(number, wish)
    from rnnctl import machine
    from rnnctl.lessons import labs
    from rnnctl.machine import set_threads
    from rnnctl.results.base import Environment

    began = time.perf_counter()
    threads = set_threads(wish.threads)
    found: Measured = yield from labs.LABS[number](wish)
    one = outline(number)
    yield LessonResult(
        environment=Environment(threads=threads, **machine.facts()),
        seed=wish.seed,
        timing={"total_s": round(time.perf_counter() - began, 1)},
        outline=one,
        prediction=wish.predict,
        **vars(found),
    )
