"""`rnnctl generate`: continue a text, one token at a time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnnctl.cli import console, inputs
from rnnctl.cli.options import (
    DeviceOption,
    FormatOption,
    OutputOption,
    QuietOption,
    RunArgument,
    SeedOption,
    ThreadsOption,
)
from rnnctl.errors import DataError, UsageError

if TYPE_CHECKING:
    from rnnctl.inference.generate import Wish
    from rnnctl.inference.session import Session, Start

CHOICE = "Choice of tokens"
LENGTH = "Length and number"
SEPARATOR = "---\n"


def generate(
    run: RunArgument,
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="[PROMPT]", help="The text to continue; `-`: stdin.", show_default=False
        ),
    ] = None,
    length: Annotated[
        int, typer.Option(min=0, help="Most tokens to add.", rich_help_panel=LENGTH)
    ] = 500,
    count: Annotated[
        int, typer.Option(min=1, help="How many continuations.", rich_help_panel=LENGTH)
    ] = 1,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="Stop before this text; repeatable.", rich_help_panel=LENGTH
        ),
    ] = None,
    end: Annotated[
        bool | None,
        typer.Option(
            "--end/--no-end",
            help="Stop where the model ends the document; default for runs trained on documents.",
            rich_help_panel=LENGTH,
            show_default=False,
        ),
    ] = None,
    lines: Annotated[
        bool,
        typer.Option(
            "--lines",
            help="Every line of stdin is a prompt; one continuation per line, \\n for newlines.",
            rich_help_panel=LENGTH,
        ),
    ] = False,
    temperature: Annotated[
        float,
        typer.Option(help="0 takes the most probable token.", rich_help_panel=CHOICE),
    ] = 0.8,
    top_k: Annotated[
        int, typer.Option(help="The k most probable tokens; 0 is off.", rich_help_panel=CHOICE)
    ] = 0,
    top_p: Annotated[
        float,
        typer.Option(help="The most probable tokens up to p; 1 is off.", rich_help_panel=CHOICE),
    ] = 1.0,
    min_p: Annotated[
        float,
        typer.Option(
            help="Tokens at least p times as probable as the best; 0 is off.",
            rich_help_panel=CHOICE,
        ),
    ] = 0.0,
    repetition_penalty: Annotated[
        float,
        typer.Option(
            help="Over 1: tokens among the last 64 made become less likely.", rich_help_panel=CHOICE
        ),
    ] = 1.0,
    seed: SeedOption = 0,
    state_in: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Go on after a text that `score --state-out` has read."),
    ] = None,
    copied: Annotated[
        bool,
        typer.Option(
            "--copied",
            help="Find the longest stretch copied from the training text.",
        ),
    ] = False,
    format: FormatOption = "table",
    output: OutputOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Continue a text, one token at a time.

    The prompt is the argument, or standard input, or empty. Text is printed as it is made; several
    continuations are separated by a line `---`. The same seed gives the same text, and the first
    of many continuations is the same as one alone.
    """
    console.configure(quiet=quiet)
    from rnnctl.inference.sampling import Sampling

    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    if lines and (prompt not in (None, "-") or count > 1 or state_in):
        raise UsageError("--lines takes its prompts from standard input, one continuation each")
    text = "" if lines else _prompt(prompt)
    if lines:
        inputs.check([], f"generate {run} --lines")
    from rnnctl.inference.generate import Wish
    from rnnctl.inference.session import Session
    from rnnctl.tasks.loading import load
    from rnnctl.tasks.machine import set_threads

    set_threads(threads)
    session = Session(load(run, device=device), copied=copied or format != "table")
    end = session.by_document if end is None else end
    wish = Wish(length, tuple(stop or ()), end, seed, sampling)
    if lines:
        _continue_lines(session, wish, output, format == "json")
        return
    start = session.read(text, state_in)
    if start.unknown:
        console.note(f"tokens of the prompt that the model does not know: {start.unknown:,}")
    if format == "table":
        with inputs.output(output) as write:
            _speak(session, start, wish, count, write)
    else:
        console.emit(session.result(text, start, wish, count), format, output)


def _prompt(given: str | None) -> str:
    """The argument, or standard input if it is asked for or has something to say."""
    if given not in (None, "-"):
        return str(given)
    if given is None and (sys.stdin is None or sys.stdin.isatty()):
        return ""
    data = inputs.stdin("generate RUN -").read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise DataError(
            f"the prompt is not UTF-8: byte 0x{data[problem.start]:02x} at {problem.start}",
            hint="convert it, for instance with `iconv -t UTF-8`",
        ) from None


def _speak(session: Session, start: Start, wish: Wish, count: int, write: inputs.Write) -> None:
    """Print continuations, the first as it is made, the others when their turn comes."""
    text = ""
    for piece in session.in_order(start, wish, count):
        write(piece.text)
        text += piece.text
        if not piece.ended:
            continue
        write("" if text.endswith("\n") else "\n")
        if piece.stream + 1 < count:
            write(SEPARATOR)
        if session.looks_for_copies:
            from rnnctl.reports.inference import copied_sentence

            sample = session.sample(text, piece.ended)
            console.note(copied_sentence(sample, session.copied_note))
        text = ""


def _continue_lines(session: Session, wish: Wish, output: Path | None, as_json: bool) -> None:
    from rnnctl.inference.records import as_json as to_json

    with inputs.output(output) as write, inputs.reading(inputs.STDIN):
        for line in session.lines(inputs.stdin("generate RUN --lines"), wish):
            if as_json:
                write(to_json(line.fields()) + "\n")
                continue
            if line.error:
                console.warn(f"line {line.line}: {line.error}")
            write(inputs.one_line(line.text) + "\n")
