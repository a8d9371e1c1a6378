"""`rnnctl generate`: continue a text, one token at a time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from rnnctl.cli import console, inputs
from rnnctl.cli import filter_options as f
from rnnctl.cli.idle import Idle, given, idle
from rnnctl.cli.options import (
    OUTPUT,
    Output,
    RunArgument,
    option,
    takes_groups,
)
from rnnctl.cli.setting_options import SeedOption
from rnnctl.errors import DataError, UsageError, word
from rnnctl.wording import plural

if TYPE_CHECKING:
    from rnnctl.inference.generate import Wish
    from rnnctl.inference.lines import Encoding
    from rnnctl.inference.session import Session, Start

SEPARATOR = "---\n"
LENGTH, CHOICE = "Length and number", "Choice of tokens"
WAIT_S = 2.0  # without a prompt, before it is said what is waited for

Prompt = Annotated[
    str | None,
    typer.Argument(
        metavar="[PROMPT]",
        help="The text to continue. - reads it from standard input.",
        show_default="standard input if it is a pipe or a file, otherwise no text",
    ),
]
Length = Annotated[int, option(LENGTH, "Add at most N tokens.", min=0)]
Count = Annotated[int, option(LENGTH, "Write N continuations.", min=1)]
Stop = Annotated[
    list[str] | None,
    option(
        LENGTH,
        "Stop before this text would be written. Can be given several times. A line end is "
        "$'\\n' in most shells.",
    ),
]
End = Annotated[
    bool | None,
    option(
        LENGTH,
        "Stop where the model predicts the end of the document.",
        "--end/--no-end",
        show_default="yes if the run was trained on documents",
    ),
]
Lines = Annotated[
    bool,
    option(
        LENGTH,
        "Take each line of standard input as a prompt, and write one line for each.",
        "--lines",
    ),
]
Temperature = Annotated[
    float,
    option(
        CHOICE,
        "Below 1, probable tokens become more probable, above 1 less; 0 always takes the most "
        "probable one.",
    ),
]
TopK = Annotated[int, option(CHOICE, "Choose among the N most probable tokens; 0 is off.")]
TopP = Annotated[
    float,
    option(
        CHOICE, "Choose among the most probable tokens whose probabilities add up to X; 1 is off."
    ),
]
MinP = Annotated[
    float,
    option(
        CHOICE,
        "Choose among tokens at least X times as probable as the most probable one; 0 is off.",
    ),
]
RepetitionPenalty = Annotated[
    float,
    option(
        CHOICE,
        "Above 1, the last 64 tokens (also those of the prompt) become less probable; 1 is off.",
    ),
]
Copied = Annotated[
    bool,
    option(
        OUTPUT,
        "Also report the longest stretch that was copied from the training text (always "
        "reported with --format json).",
        "--copied",
    ),
]


@idle(
    Idle(
        "top_k top_p min_p seed",
        lambda values: values["temperature"] == 0,
        "with --temperature 0, which always takes the most probable token",
        "give a higher --temperature",
    ),
    Idle(
        "count state_in",
        given("lines"),
        "with --lines, which writes one continuation for each line",
        "leave out --lines",
    ),
    Idle(
        "prompt",
        lambda values: values["lines"] and values["prompt"] != "-",
        "with --lines, which reads its prompts from standard input",
        "leave out --lines",
    ),
    Idle("copied", given("lines"), "with --lines, which looks for no copies", "leave out --lines"),
    Idle(
        "stop temperature top_k top_p min_p repetition_penalty seed count",
        lambda values: values["length"] == 0,
        "with --length 0, which writes nothing",
        "give a --length",
    ),
    f.rows_only(given("lines")),
    *f.MEMORY_IDLE,
)
@takes_groups
def generate(
    run: RunArgument,
    prompt: Prompt = None,
    *,
    length: Length = 500,
    count: Count = 1,
    stop: Stop = None,
    end: End = None,
    lines: Lines = False,
    temperature: Temperature = 0.8,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition_penalty: RepetitionPenalty = 1.0,
    seed: SeedOption = 0,
    remembers: f.MemoryOptions,
    state_in: f.StateIn = None,
    copied: Copied = False,
    to: Output,
    machine: f.MachineOptions,
) -> None:
    """Continue a text, one token at a time.

    Text is printed while it is generated. Several continuations are separated by a line `---`. The
    same seed gives the same text, and the first of several continuations is the same as a single
    one. In a terminal, without a PROMPT, you type a beginning, read its continuation, and type on.
    """
    from rnnctl.inference.sampling import Sampling

    # Checked first: PyTorch takes seconds to load, and a wrong number needs none of it.
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    if lines:
        inputs.check([], f"generate {word(run)} --lines")
    from rnnctl.inference.generate import Wish
    from rnnctl.inference.session import Session

    looked = copied or (to.format != "table" and not lines)
    session = Session(machine.load(run), copied=looked, memory=remembers.memory)
    _check_stops(session, stop or ())
    end = session.by_document if end is None else end
    wish = Wish(length, tuple(stop or ()), end, seed, sampling)
    encoding = f.encoding_of(session.loaded, None)
    if lines:
        _continue_lines(session, wish, encoding, to)
        return
    text = _prompt(prompt, encoding)
    simple = to.format == "table" and to.output is None and count == 1 and state_in is None
    if prompt is None and simple and inputs.at_a_terminal() and console.stdout_is_terminal():
        _chat(session, wish)
        return
    start = session.read(text, state_in, _tell_progress(len(text.encode())))
    if start.unknown:
        console.note(f"unknown tokens in the prompt: {start.unknown:,}")
    if to.format == "table":
        with inputs.output(to.output) as write:
            _speak(session, start, wish, count, write)
    else:
        to.emit(session.result(text, start, wish, count))


def _chat(session: Session, wish: Wish) -> None:
    """Continue what a person types, line after line, each as what comes behind all before it."""
    start: Start | None = None
    what = "type the beginning of a text and press Enter; Enter alone continues the text"
    for turn, typed in enumerate(inputs.typed_lines(what)):
        start = session.go_on(start, typed)
        # Another seed each turn: the same random numbers make a model repeat itself.
        said = _speak(session, start, replace(wish, seed=wish.seed + turn), 1, _to_screen)
        start = session.go_on(start, said)


def _to_screen(text: str) -> None:
    console.stdout_write(text, flush=True)


def _check_stops(session: Session, stops: Sequence[str]) -> None:
    """UsageError for a text that the model can never write."""
    for text in stops:
        strange = session.unwritable(text)
        if strange:
            escape = "; for a line end, write --stop $'\\n'" if "\\" in text else ""
            raise UsageError(
                f"--stop {text} has no effect: the model never writes {' '.join(strange)}",
                hint=f"leave it out, or give a text of characters from the training text{escape}",
            )


def _prompt(given: str | None, encoding: Encoding) -> str:
    """The argument, or standard input if it is asked for or has something to say."""
    if given not in (None, "-"):
        return str(given)
    if given is None and (sys.stdin is None or inputs.at_a_terminal()):
        return ""
    with _saying_after(WAIT_S, "reading the prompt from standard input, up to its end"):
        data = inputs.whole_text("generate RUN -", encoding)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise DataError(
            f"the prompt is not UTF-8: byte {problem.start + 1} is 0x{data[problem.start]:02x}",
            hint="convert it, for instance with `iconv -f LATIN1 -t UTF-8`",
        ) from None


@contextmanager
def _saying_after(seconds: float, text: str) -> Iterator[None]:
    """Print a note if the block takes longer than that."""
    timer = threading.Timer(seconds, console.note, [text])
    # Else Ctrl-C would wait for it.
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _tell_progress(size: int) -> Callable[[int], None]:
    """Says every few seconds how much of a prompt of `size` bytes was read."""
    last = time.monotonic()

    def tell(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= WAIT_S:
            last = time.monotonic()
            console.note(
                f"reading the prompt: {100 * done / max(1, size):.0f} % of {size / 1e6:.1f} MB"
            )

    return tell


def _speak(session: Session, start: Start, wish: Wish, count: int, write: inputs.Write) -> str:
    """Print continuations, the first as it is made, the others when their turn comes.

    Returns the last one.
    """
    text = said = ""
    for piece in session.in_order(start, wish, count):
        write(piece.text)
        text += piece.text
        if not piece.ended:
            continue
        # The shell's prompt, or the separator, begins a line of its own.
        write("" if text.endswith("\n") else "\n")
        if piece.stream + 1 < count:
            write(SEPARATOR)
        if session.looks_for_copies:
            from rnnctl.reports.inference import copied_sentence

            sample = session.sample(text, piece.ended)
            console.note(copied_sentence(sample, session.copied_note))
        said, text = text, ""
    return said


def _continue_lines(session: Session, wish: Wish, encoding: Encoding, to: Output) -> None:
    """A continuation for every line; of one that cannot be read the error, beside or in it."""
    from rnnctl.inference.records import as_json
    from rnnctl.reports.as_markdown import table_head, table_row

    with inputs.output(to.output) as write, inputs.reading(inputs.STDIN):
        if to.format == "markdown":
            write(table_head(("line", "prompt", "continuation"), "rll") + "\n")
        answered = failed = 0
        opened = inputs.opened([], "generate RUN --lines")
        for line in session.lines((source.stream for source in opened), wish, encoding):
            answered, failed = answered + 1, failed + bool(line.error)
            if to.format == "json":
                write(as_json(line.fields()) + "\n")
                continue
            if line.error:
                console.warn(f"line {line.line}: {line.error}")
            text = inputs.one_line(line.text)
            if to.format == "markdown":
                text = table_row((str(line.line), inputs.one_line(line.prompt), text))
            write(text + "\n")
    if failed and failed == answered:
        raise DataError(
            f"none of {plural(answered, 'line')} could be read: nothing was continued",
            hint="see the error of each line",
        )
