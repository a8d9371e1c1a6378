"""`rnnctl generate`: continue a text, one token at a time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rnnctl.cli import console, inputs
from rnnctl.cli import generate_options as o
from rnnctl.cli.filter_options import StateIn
from rnnctl.cli.options import (
    DeviceOption,
    Format,
    FormatOption,
    OutputOption,
    QuietOption,
    RunArgument,
    SeedOption,
    ThreadsOption,
)
from rnnctl.errors import DataError, UsageError, word

if TYPE_CHECKING:
    from rnnctl.inference.generate import Wish
    from rnnctl.inference.session import Session, Start

SEPARATOR = "---\n"


def generate(
    run: RunArgument,
    prompt: o.Prompt = None,
    length: o.Length = 500,
    count: o.Count = 1,
    stop: o.Stop = None,
    end: o.End = None,
    lines: o.Lines = False,
    temperature: o.Temperature = 0.8,
    top_k: o.TopK = 0,
    top_p: o.TopP = 1.0,
    min_p: o.MinP = 0.0,
    repetition_penalty: o.RepetitionPenalty = 1.0,
    seed: SeedOption = 0,
    state_in: StateIn = None,
    copied: o.Copied = False,
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
        raise UsageError(
            "--lines takes its prompts from standard input, one continuation each",
            hint="leave out --count, --state-in and the prompt, or leave out --lines",
        )
    if lines and copied:
        raise UsageError("--lines looks for no copies", hint="leave out --copied, or --lines")
    text = "" if lines else _prompt(prompt)
    if lines:
        inputs.check([], f"generate {word(run)} --lines")
    from rnnctl.inference.generate import Wish
    from rnnctl.inference.session import Session
    from rnnctl.machine import set_threads
    from rnnctl.tasks.loading import load

    set_threads(threads)
    session = Session(load(run, device=device), copied=copied or (format != "table" and not lines))
    end = session.by_document if end is None else end
    wish = Wish(length, tuple(stop or ()), end, seed, sampling)
    if lines:
        _continue_lines(session, wish, output, format)
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
    data = inputs.whole_text("generate RUN -")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise DataError(
            f"the prompt is not UTF-8: byte {problem.start + 1} is 0x{data[problem.start]:02x}",
            hint="convert it, for instance with `iconv -f LATIN1 -t UTF-8`",
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


def _continue_lines(session: Session, wish: Wish, output: Path | None, format: Format) -> None:
    """A continuation for every line; of one that cannot be read the error, beside or in it."""
    from rnnctl.inference.records import as_json
    from rnnctl.reports.as_markdown import table_head, table_row

    with inputs.output(output) as write, inputs.reading(inputs.STDIN):
        if format == "markdown":
            write(table_head(("line", "prompt", "continuation"), "rll") + "\n")
        for line in session.lines(inputs.stdin("generate RUN --lines"), wish):
            if format == "json":
                write(as_json(line.fields()) + "\n")
                continue
            if line.error:
                console.warn(f"line {line.line}: {line.error}")
            text = inputs.one_line(line.text)
            if format == "markdown":
                text = table_row((str(line.line), inputs.one_line(line.prompt), text))
            write(text + "\n")
