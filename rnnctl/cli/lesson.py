"""`rnnctl lesson`: predict, measure, see; five short lessons on the claims of a lecture."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from rnnctl.cli import console
from rnnctl.cli.idle import Idle, idle
from rnnctl.cli.options import OUTPUT, Output, option, takes_groups
from rnnctl.cli.setting_options import SeedOption, ThreadsOption
from rnnctl.errors import UsageError, word

if TYPE_CHECKING:
    from rnnctl.lessons import Wish
    from rnnctl.results.teaching import LessonOutline, LessonResult

CHANGE = "One thing to change"

NumberArgument = Annotated[
    int | None,
    typer.Argument(metavar="[N]", help="Which lesson, 1 to 5. Without one, all are listed."),
]
PredictOption = Annotated[
    str | None,
    typer.Option(
        "--predict",
        metavar="LETTER",
        help="Your prediction (a, b, …), instead of typing it in.",
        show_default="asked for in a terminal, otherwise none",
    ),
]
TextOption = Annotated[
    Path | None,
    typer.Option(
        "--text",
        metavar="FILE",
        help="Plain text to learn from, of 100 kB or more.",
        show_default="the bundled paragraphs",
    ),
]
BudgetOption = Annotated[
    str,
    option("Options", "Training time of each model, such as 30s.", metavar="TIME"),
]
OutOption = Annotated[
    Path | None,
    option(
        OUTPUT,
        "Keep the trained runs in this folder; those of an earlier lesson are replaced.",
        metavar="DIR",
        show_default="the runs are not kept",
    ),
]
HoldOption = Annotated[
    list[str] | None,
    option(
        CHANGE,
        "Lesson 3: hold the gate forget, input or output at a value from 0 (shut) to 1 "
        "(open), or candidate at a value from -1 to 1. Can be given several times.",
        metavar="GATE=VALUE",
        show_default="forget=1 and others, one at a time",
    ),
]
ScaleOption = Annotated[
    float | None,
    option(
        CHANGE,
        "Lesson 1: factor by which the orthogonal recurrent matrix is multiplied.",
        min=0.01,
        max=100,
        show_default="3",
    ),
]
WordsOption = Annotated[
    int | None,
    option(
        CHANGE,
        "Lesson 2: largest number of words between the first sentence and the question.",
        min=4,
        max=400,
        show_default="60",
    ),
]
SizeOption = Annotated[
    int | None,
    option(CHANGE, "Lesson 4: units of both models.", min=8, max=2048, show_default="192"),
]
LengthOption = Annotated[
    int | None,
    option(CHANGE, "Lesson 5: the longest n that is trained on.", min=2, max=40, show_default="12"),
]


@idle(
    Idle(
        "predict text budget hold scale words hidden_size length out seed threads",
        lambda values: values["number"] is None,
        "without a lesson",
        "name one: rnnctl lesson 1",
    )
)
@takes_groups
def lesson(
    number: NumberArgument = None,
    *,
    predict: PredictOption = None,
    text: TextOption = None,
    budget: BudgetOption = "15s",
    hold: HoldOption = None,
    scale: ScaleOption = None,
    words: WordsOption = None,
    hidden_size: SizeOption = None,
    length: LengthOption = None,
    out: OutOption = None,
    to: Output,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
) -> None:
    """Ask what you expect, measure it on text, and show what came out.

    1 the gradient vanishes and explodes; 2 what the plain RNN forgets; 3 gates, one at a time;
    4 LSTM against GRU; 5 counting. Each lesson takes one to two minutes and ends with one thing
    to change. It reports what was measured, also where that contradicts the lecture.
    """
    if number is None:
        _list(to)
        return
    from rnnctl.cli.setting_options import seconds
    from rnnctl.lessons import Wish, check, outline

    if text is not None and not text.is_file():
        raise UsageError(f"there is no file {text}", hint="--text takes a file of plain text")
    wish = Wish(
        out=Path(),
        text=text,
        budget_s=seconds(budget, "--budget"),
        seed=seed,
        threads=threads,
        predict=None if predict is None else predict.strip().lower(),
        scale=scale,
        words=words,
        hold=_gates(hold or ()),
        hidden_size=hidden_size,
        length=length,
    )
    check(number, wish)
    result = _measured(number, wish, outline(number), out)
    to.emit(result)
    if result.runs:
        where = ", ".join(word(run) for run in result.runs.values())
        console.hint(f"the trained runs are in {where}: `rnnctl diagnose RUN` measures one")


def _measured(number: int, wish: Wish, asked: LessonOutline, out: Path | None) -> LessonResult:
    from dataclasses import replace

    from rnnctl.lessons import teach
    from rnnctl.results.teaching import LessonResult

    if wish.predict is None and _can_ask():
        wish = replace(wish, predict=_ask(asked))
    # A lesson is for its answer: runs that nobody asked for do not stay.
    with nullcontext(out) if out else TemporaryDirectory(prefix="rnnctl-lesson-") as folder:
        for event in teach(number, replace(wish, out=Path(folder))):
            if isinstance(event, LessonResult):
                return event if out else event.model_copy(update={"runs": {}})
            console.note(event)
    raise AssertionError("a lesson ends with its result")


def _can_ask() -> bool:
    """Whether somebody sits in front of it: nothing may wait for a pipe."""
    return (
        sys.stdin is not None
        and sys.stdin.isatty()
        and sys.stderr is not None
        and sys.stderr.isatty()
        and not console.is_quiet()
    )


def _ask(asked: LessonOutline) -> str | None:
    """The letter that is typed in; None for an empty line or the end of input."""
    from rnnctl.reports.as_table import as_table
    from rnnctl.reports.lessons import question

    console.note(as_table(question(asked), width=min(80, console.stdout_width())))
    letters = ", ".join(asked.answers)
    while True:
        sys.stderr.write(f"Your prediction ({letters}; Enter for none): ")
        sys.stderr.flush()
        typed = sys.stdin.readline().strip().lower()
        if not typed:
            return None
        if typed in asked.answers:
            return typed
        console.note(f"{typed!r} is not one of {letters}")


def _gates(given: list[str] | tuple[()]) -> dict[str, float]:
    """``forget=1`` as a name and a number."""
    found: dict[str, float] = {}
    for one in given:
        name, equals, value = one.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise UsageError(
                f"--hold {one}: this is not a gate and a value", hint="write it as --hold forget=1"
            )
    return found


def _list(to: Output) -> None:
    from rnnctl import machine
    from rnnctl.lessons import OUTLINES
    from rnnctl.results.base import Environment
    from rnnctl.results.teaching import LessonsResult

    listed = LessonsResult(environment=Environment(**machine.facts()), lessons=OUTLINES)
    to.emit(listed)
