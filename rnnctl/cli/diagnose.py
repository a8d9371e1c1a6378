"""`rnnctl diagnose`: how much early context does a model retain?"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rnnctl import catalog
from rnnctl.cli import console, inputs, kept
from rnnctl.cli.options import (
    OUTPUT,
    FormatOption,
    OutputOption,
    QuietOption,
    RunArgument,
    SeedOption,
    ThreadsOption,
)
from rnnctl.errors import UsageError, word
from rnnctl.wording import diagnostic

if TYPE_CHECKING:
    from rnnctl.results.diagnostics import DiagnosticsResult
    from rnnctl.results.pictures import Pictures
    from rnnctl.runs import Run
    from rnnctl.tasks.loading import Loaded

# The options of `rnnctl diagnose`.

TEXT = "Text"
WHAT = "What to measure"


class Spoilt(StrEnum):
    """What is done to the text before the context, in the order and letters of `--beyond`."""

    SHUFFLE = "shuffle"
    REVERSE = "reverse"
    REPLACE = "replace"


def _measurements(incomplete: str) -> list[str]:
    return [name for name in catalog.names("diagnostic") if name.startswith(incomplete)]


NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...",
        help="use, first_last, effect, hold, reach, gates, position; all that suit the run by "
        "default. "
        "With --show: more runs.",
        show_default=False,
        autocompletion=_measurements,
    ),
]
PresetOption = Annotated[
    Literal["quick", "full"],
    typer.Option(
        help="How much text is measured: quick takes up to half a minute, full a few minutes.",
        rich_help_panel=WHAT,
    ),
]
TextOption = Annotated[
    str | None,
    typer.Option(
        metavar="CORPUS",
        help="What `train` reads; by default the held-out text that the run keeps.",
        rich_help_panel=TEXT,
    ),
]
TextFieldOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The column with the text, in --text.", rich_help_panel=TEXT),
]
LabelFieldOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The column with the label, in --text.", rich_help_panel=TEXT
    ),
]
EncodingOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Encoding of plain text in --text; by default that of the training text.",
        rich_help_panel=TEXT,
    ),
]
ItemsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help='Evidence sentences for classifiers: {"labels": [A, B], "pairs": [[a, b], …]}.',
        rich_help_panel=TEXT,
    ),
]
BeyondOption = Annotated[
    list[Spoilt] | None,
    typer.Option(
        help="Also spoil the text beyond the context in this way (USE).",
        rich_help_panel=WHAT,
        show_default=False,
    ),
]
ShowOption = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Show this text with what the run's gates keep of it; measure nothing. With --html or "
        "--format json: also which word moved which prediction.",
        rich_help_panel=WHAT,
    ),
]
HtmlOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also write a page that works offline: what was measured, and a text word by word.",
        rich_help_panel=OUTPUT,
    ),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Print everything that was measured: numbers, curves, cross-checks, all warnings. "
        "Without it the table has at most 24 lines.",
        show_default=False,
    ),
]


def diagnose(
    run: RunArgument,
    names: NamesArgument = None,
    preset: PresetOption = "quick",
    text: TextOption = None,
    text_field: TextFieldOption = None,
    label_field: LabelFieldOption = None,
    encoding: EncodingOption = None,
    items: ItemsOption = None,
    beyond: BeyondOption = None,
    show: ShowOption = None,
    html: HtmlOption = None,
    format: FormatOption = "table",
    output: OutputOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure how much early context a run retains.

    Gives one number, the memory horizon in words with a 95 % interval, and one line for each
    question: USE (how much text the loss needs), FIRST→LAST (whether the first sentence of a
    document still counts in its last), EFFECT (whether early evidence still pushes the answer),
    HOLD (what can be read out of the state), REACH (whether the learning signal gets back), GATES
    (what the gates suggest), POSITION (classifiers: whether a sentence counts the same wherever it
    stands). `--verbose` prints all numbers, curves and warnings. A diagnosis of the run's own
    held-out text is kept in the run, for `rnnctl compare`.
    """
    console.configure(quiet=quiet)
    console.check_output(output)
    console.check_output(html, "--html")
    from rnnctl.machine import set_threads

    set_threads(threads)
    columns = _columns(text, text_field=text_field, label_field=label_field, encoding=encoding)
    if show is not None:
        measuring = {"--text": text, "--items": items, "--beyond": beyond}
        changed = {"--preset": preset != "quick", "--seed": seed != 0}
        _check_show({**measuring, **changed})
        _show([run, *(Path(name) for name in names or ())], show, html, format, output)
        return
    from rnnctl.diagnostics.diagnose import diagnose as measure
    from rnnctl.diagnostics.text import read_text
    from rnnctl.reports.diagnostics import brief
    from rnnctl.tasks.loading import load

    stdin = inputs.stdin(f"diagnose {word(run)} --text -") if text == "-" else None
    loaded = load(run)
    why_not = _why_not_kept(loaded.run, text, seed, items, bool(beyond))
    given = None if text is None else read_text(loaded, text, stdin, columns)
    result = measure(
        loaded,
        names=[name.lower() for name in names or ()],
        preset=preset,
        text=given,
        seed=seed,
        items=items,
        arms=("foreign", "zero", *(way.value for way in beyond or ())),
        tell=lambda name: console.note(f"measuring {diagnostic(name)} …"),
    )
    try:
        console.emit(result, format, output, blocks=None if verbose else brief)
    finally:  # shown first: keeping it may fail, and nobody measures twice for a full disk
        _keep(loaded.run, result, why_not)
    if html is not None:
        from rnnctl.diagnostics.pictures import pictures

        seen = None if loaded.labels else pictures([loaded], given)
        _write_page(html, result, seen)


def _write_page(html: Path, result: DiagnosticsResult | None, seen: Pictures | None) -> None:
    from rnnctl.reports.page import diagnosis

    console.write_file(html, diagnosis(result, seen), "--html")
    console.note(f"the page is {html}")


def _check_show(given: Mapping[str, object]) -> None:
    """UsageError for what --show does not do."""
    for option, value in given.items():
        if value:
            raise UsageError(
                f"{option} is for measuring, and --show measures nothing",
                hint=f"leave out {option}, or --show",
            )


def _columns(text: str | None, **asked: str | None) -> dict[str, str]:
    """How to read --text, as far as it was said. UsageError where there is no --text."""
    columns = {name: value for name, value in asked.items() if value is not None}
    if columns and text is None:
        option = "--" + next(iter(columns)).replace("_", "-")
        raise UsageError(
            f"{option} is about --text, which is not given",
            hint=f"add --text CORPUS, or leave out {option}",
        )
    return columns


# `rnnctl diagnose RUN… --show TEXT`: a text coloured by what each run's gates keep of it.


def _show(
    paths: Sequence[Path], text: str, html: Path | None, format: str, output: Path | None
) -> None:
    """The text with every run: on a page, as data, or as a picture in text."""
    from rnnctl.tasks.loading import load

    runs = [load(path) for path in paths]
    for run in runs:
        if run.config.model.bidirectional:
            raise UsageError(
                f"{run.run.path} reads in both directions: its gates are not about a past",
                hint="look at a run that was trained with --no-bidirectional",
            )
    if html is not None or format != "table":
        from rnnctl.diagnostics.pictures import pictures

        seen = pictures(runs, text)
        for warning in seen.warnings:
            console.warn(warning.text)
        if html is not None:
            _write_page(html, _kept_diagnosis(runs[0].run) if len(runs) == 1 else None, seen)
        if format != "table":
            console.emit(seen, format, output)
            return
    _show_gates(runs, text, output)


def _kept_diagnosis(run: Run) -> DiagnosticsResult | None:
    """What was measured of the run before, if it was."""
    from rnnctl.results.diagnostics import DiagnosticsResult

    found = run.present_result("diagnose")
    return None if found is None else DiagnosticsResult.model_validate_json(json.dumps(found))


def _show_gates(runs: Sequence[Loaded], text: str, output: Path | None) -> None:
    """Print `text` with the gates of every run under it. Raises UsageError for an empty text."""
    from rich.console import Console

    from rnnctl.diagnostics import show
    from rnnctl.diagnostics.traceable import ExactModel

    views = []
    for loaded in runs:
        ids = loaded.tokenizer.encode(text)
        if len(ids) == 0:
            raise UsageError("there is no text to show", hint="write it after --show")
        view = show.look(
            ExactModel(loaded.model), ids, loaded.tokenizer.token_bytes, name=loaded.run.path.name
        )
        views.append(view)
    screen = output is None
    width, color = console.stdout_width(), screen and console.wants_color(sys.stdout)
    canvas = Console(width=width, force_terminal=color, no_color=not color, highlight=False)
    with canvas.capture() as written:
        for line in show.render(views, width=width, color=color):
            canvas.print(line, soft_wrap=True)
    if output is None:
        console.stdout_write(written.get(), flush=True)
    else:
        console.write_file(output, written.get())


def _why_not_kept(run: Run, text: str | None, seed: int, items: Path | None, beyond: bool) -> str:
    """Why what is about to be measured is not for the run to keep; "" if it is."""
    from rnnctl.diagnostics import keep as kept_diagnosis

    other = text is not None and kept_diagnosis.has_own_text(run)
    return kept_diagnosis.why_apart(other_text=other, seed=seed, items=items, beyond=beyond)


def _keep(run: Run, result: DiagnosticsResult, why_not: str) -> None:
    """Keep a diagnosis, alone or as a part of the one that is there."""
    from rnnctl.diagnostics import keep as kept_diagnosis

    found = why_not or kept_diagnosis.to_keep(run, result)
    if isinstance(found, str):
        console.note(f"not kept in {run.path}: {found}; `-o FILE` writes it to a file")
        return
    kept.keep(run, "diagnose", found)
