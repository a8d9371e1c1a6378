"""`rnnctl diagnose`: how much early context does a model retain?"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rnnctl import catalog
from rnnctl.cli import beside, console, inputs
from rnnctl.cli import filter_options as f
from rnnctl.cli.idle import Idle, given, idle, missing
from rnnctl.cli.options import (
    OUTPUT,
    CurvesOption,
    LabelOption,
    Output,
    PlotOption,
    completed,
    labels,
    option,
    takes_groups,
)
from rnnctl.cli.setting_options import SeedOption, ThreadsOption
from rnnctl.errors import UsageError, word
from rnnctl.wording import diagnostic

if TYPE_CHECKING:
    from rnnctl.diagnostics.settings import Arm
    from rnnctl.results.diagnostics import DiagnosticsResult, SnapshotsResult
    from rnnctl.results.pictures import Pictures
    from rnnctl.runs import Run

# The options of `rnnctl diagnose`.

TEXT = "Text"
WHAT = "What to measure"
SCORER = "Any model"
TIMEOUT_S = 120.0  # for --scorer


class Spoilt(StrEnum):
    """What is done to the text before the context, in the order and letters of `--beyond`."""

    SHUFFLE = "shuffle"
    REVERSE = "reverse"
    REPLACE = "replace"


OptionalRunArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[RUN]",
        help="The folder of a trained run. Leave it out with --scorer.",
    ),
]
NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...",
        help="What to measure: use, first_last, effect, hold, reach, gates, position. With --show "
        "and --snapshots: more runs.",
        show_default="all that apply to the run",
        autocompletion=completed("diagnostic"),
    ),
]
PresetOption = Annotated[
    Literal["quick", "full"],
    option(WHAT, "How much text is measured: quick takes up to half a minute, full a few minutes."),
]
TextOption = Annotated[
    str | None,
    option(
        TEXT,
        "A text to measure on: anything that `train` reads.",
        metavar="CORPUS",
        show_default="the held-out text that the run keeps",
    ),
]
TextFieldOption = Annotated[
    str | None,
    option(
        TEXT,
        "Column of --text that holds the text.",
        metavar="NAME",
        show_default="found by its name and content",
    ),
]
LabelFieldOption = Annotated[
    str | None,
    option(
        TEXT,
        "Column of --text that holds the label.",
        metavar="NAME",
        show_default="found by its name and content",
    ),
]
EncodingOption = Annotated[
    str | None,
    option(
        TEXT,
        "Encoding of plain text in --text.",
        metavar="NAME",
        show_default="that of the training text",
    ),
]
ItemsOption = Annotated[
    Path | None,
    option(
        TEXT,
        'Evidence sentences for classifiers, as JSON: {"labels": [A, B], "pairs": [[a, b], …]}.',
        metavar="FILE",
    ),
]
BeyondOption = Annotated[
    list[Spoilt] | None,
    option(
        WHAT,
        "For USE: also measure with the text before the context shuffled, reversed or replaced. "
        "Can be given several times.",
    ),
]
ShowOption = Annotated[
    str | None,
    option(
        WHAT,
        "Show how much of this text the run's gates keep, and measure nothing. With --html, "
        "--format html or --format json: also which word changed which prediction.",
    ),
]
HtmlOption = Annotated[
    Path | None,
    option(
        OUTPUT,
        "Also write a page that works offline: the measurements, and a text word by word.",
        metavar="FILE",
    ),
]
ScorerOption = Annotated[
    str | None,
    option(
        SCORER,
        "Measure this program instead of a run: a command line that reads questions and "
        "writes nats (see rnnctl help scorer). Needs --text. Measures use, first_last and effect.",
        metavar="CMD",
    ),
]
ScorerTimeoutOption = Annotated[
    float,
    option(
        SCORER, "Longest time to wait for an answer of the program.", min=0.1, metavar="SECONDS"
    ),
]
DocumentsOption = Annotated[
    Literal["none", "paragraph", "line", "file"] | None,
    option(SCORER, "For --scorer: how plain text is cut into documents.", show_default="none"),
]
SnapshotsOption = Annotated[
    bool,
    option(
        WHAT,
        "Measure each snapshot that `train --snapshots` kept, to see when the model began to "
        "remember. Several runs are shown side by side.",
        "--snapshots",
    ),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Print everything that was measured: numbers, curves, cross-checks, all warnings. "
        "Without it the table has at most 24 lines.",
    ),
]


@idle(
    Idle("scorer_timeout documents", missing("scorer"), "without --scorer", "add --scorer CMD"),
    Idle(
        "label_field items show label threads cache",
        given("scorer"),
        "with --scorer, which says how likely text is and nothing else",
        "measure a run",
    ),
    Idle(
        "items beyond show scorer cache",
        given("snapshots"),
        "with --snapshots",
        "leave out --snapshots",
    ),
    Idle(
        "preset text items beyond plot curves label cache seed verbose",
        given("show"),
        "with --show, which measures nothing",
        "leave out --show",
    ),
    Idle(
        "text_field label_field encoding",
        missing("text"),
        "without --text",
        "add --text CORPUS",
    ),
    f.CACHE_IDLE,
)
@takes_groups
def diagnose(
    run: OptionalRunArgument = None,
    names: NamesArgument = None,
    *,
    preset: PresetOption = "quick",
    text: TextOption = None,
    text_field: TextFieldOption = None,
    label_field: LabelFieldOption = None,
    encoding: EncodingOption = None,
    items: ItemsOption = None,
    beyond: BeyondOption = None,
    show: ShowOption = None,
    remembers: f.CacheOptions,
    scorer: ScorerOption = None,
    scorer_timeout: ScorerTimeoutOption = TIMEOUT_S,
    documents: DocumentsOption = None,
    snapshots: SnapshotsOption = False,
    html: HtmlOption = None,
    plot: PlotOption = None,
    curves: CurvesOption = None,
    label: LabelOption = None,
    to: Output,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Measure how much early context a run retains.

    Prints one number, the memory horizon in words with a 95 % interval, and one line for each
    question: USE (how far back does text change the loss?), FIRST→LAST (does the first sentence of
    a document change the prediction of its last?), EFFECT (does an early word or sentence still
    change the answer?), HOLD (what can be read from the state?), REACH (how far back does the
    gradient arrive?), GATES (how long would the gates keep a value?), POSITION (classifiers: does
    the place of a sentence matter?). `--verbose` prints all numbers, curves and warnings. A
    diagnosis on the run's own held-out text is saved in the run, for `rnnctl compare`.

    With --snapshots, the snapshots of one or more runs are measured: loss, horizon, FIRST→LAST,
    HOLD and REACH, against the number of training tokens.

    With --scorer, any program that says how likely a text is can be measured: `rnnctl diagnose
    --scorer "python ngram.py" --text FILE`.
    """
    from rnnctl.machine import set_threads
    from rnnctl.reports.diagnostics import brief

    set_threads(threads)
    if scorer is None and run is None:
        raise UsageError("diagnose needs a run", hint="`rnnctl diagnose RUN`, or --scorer CMD")
    named = [str(one) for one in (run, *(names or ())) if one is not None]
    told = {"text_field": text_field, "label_field": label_field, "encoding": encoding}
    columns = {name: value for name, value in told.items() if value is not None}
    if show is not None:
        _show([Path(name) for name in named], show, html, to)
        return
    if snapshots:
        from rnnctl.reports.snapshots import brief as brief_snapshots

        course = _of_snapshots(named, text, columns, preset, seed, label)
        to.emit(course, blocks=None if verbose else brief_snapshots)
        beside.draw(plot, course)
        beside.write_curves(curves, course)
        beside.write_page(html, course)
        return
    arms: tuple[Arm, ...] = ("foreign", "zero", *(way.value for way in beyond or ()))
    emit = partial(to.emit, blocks=None if verbose else brief)
    seen: Pictures | None = None
    if scorer is not None or run is None:
        settings = (preset, seed, arms, scorer_timeout)
        result = _of_scorer(scorer or "", named, text, columns, documents or "none", *settings)
        emit(result)
    else:
        from rnnctl.diagnostics.diagnose import diagnose as measure
        from rnnctl.diagnostics.diagnose import why_apart, with_cache
        from rnnctl.diagnostics.material import read_text
        from rnnctl.diagnostics.pictures import pictures
        from rnnctl.tasks.loading import load

        called = labels(label, [run]).get(run.resolve())
        stdin = inputs.stdin(f"diagnose {word(run)} --text -") if text == "-" else None
        loaded = load(run)
        why_not = why_apart(loaded.run, text=text, seed=seed, items=items, beyond=bool(beyond))
        read = None if text is None else read_text(loaded, text, stdin, columns)
        own = measure(
            loaded,
            names=names or (),
            preset=preset,
            text=read,
            seed=seed,
            items=items,
            arms=arms,
            tell=_tell,
        )
        result = _called(own, called)
        if (cache := remembers.settings) is not None:
            console.note("measuring USE with a cache …")
            result = with_cache(loaded, result, cache, read)
        try:
            if to.format == "html":
                seen = beside.pictures_or_warning(partial(pictures, [loaded], read))
            emit(result, pictures=seen)
        finally:  # shown first: keeping it may fail, and nobody measures twice for a full disk
            _keep(loaded.run, own, why_not)
        if html is not None and to.format != "html":
            seen = beside.pictures_or_warning(partial(pictures, [loaded], read))
    beside.draw(plot, result)
    beside.write_curves(curves, result)
    beside.write_page(html, result, seen)


def _tell(name: str) -> None:
    console.note(f"measuring {diagnostic(name)} …")


def _called(result: DiagnosticsResult, name: str | None) -> DiagnosticsResult:
    """The result with the run under the name that it was given."""
    if name is None:
        return result
    return result.model_copy(update={"model": result.model.model_copy(update={"id": name})})


def _keep(run: Run, result: DiagnosticsResult, why_not: str) -> None:
    """Keep a diagnosis, alone or as a part of the one that is there."""
    from rnnctl.diagnostics.diagnose import to_keep

    found = why_not or to_keep(run, result)
    if isinstance(found, str):
        console.note(f"not kept in {run.path}: {found}; `-o FILE` writes it to a file")
    else:
        beside.keep(run, "diagnose", found)


def _of_scorer(
    scorer: str,
    names: Sequence[str],
    text: str | None,
    columns: Mapping[str, str],
    documents: Literal["none", "paragraph", "line", "file"],
    preset: str,
    seed: int,
    arms: Sequence[Arm],
    timeout: float,
) -> DiagnosticsResult:
    """Measure a program. UsageError without a text, which nobody has kept for it."""
    if text is None:
        raise UsageError("--scorer needs a text to ask about", hint="add --text FILE")
    if not scorer.strip():
        raise UsageError("--scorer is empty", hint="give a command line: --scorer 'python my.py'")
    from rnnctl.diagnostics import scorer as outside

    wanted = [name.lower() for name in names]
    outside.chosen_names(wanted)  # before anything is read or started
    stdin = inputs.stdin("diagnose --scorer CMD --text -") if text == "-" else None
    read = outside.read_scorer_text(text, stdin, columns, documents)
    result = outside.diagnose_scorer(
        scorer, read, wanted, preset=preset, seed=seed, arms=arms, timeout=timeout, tell=_tell
    )
    console.note(outside.said(result))
    return result


def _of_snapshots(
    named: Sequence[str],
    text: str | None,
    columns: Mapping[str, str],
    preset: str,
    seed: int,
    label: Sequence[str] | None,
) -> SnapshotsResult:
    """Measure the snapshots of every run; the other names are those of measurements."""
    if text == "-":
        raise UsageError(
            "--snapshots reads its text several times, which standard input does not allow",
            hint="write it to a file first",
        )
    # Runs and measurements stand in one list: what is a measurement's name is no run.
    known = catalog.names("diagnostic")
    measurements = [n for n in named[1:] if n.lower().replace("-", "_") in known]
    paths = [Path(name) for name in named if name not in measurements]
    called = labels(label, paths)
    from rnnctl.diagnostics.snapshots import Wish, diagnose_snapshots

    return diagnose_snapshots(
        paths,
        Wish(tuple(name.lower() for name in measurements), text, columns, preset, seed),
        labels=called,
        tell=console.note,
        keep=lambda run, found: beside.keep(run, "snapshots", found),
    )


def _show(paths: Sequence[Path], text: str, html: Path | None, to: Output) -> None:
    """A text with what each run's gates keep of it: on a page, as data, or as a picture in text."""
    from rnnctl.diagnostics import show
    from rnnctl.diagnostics.diagnose import kept
    from rnnctl.tasks.loading import load

    runs = [load(path) for path in paths]
    if html is not None or to.format != "table":
        from rnnctl.diagnostics.pictures import pictures

        seen = pictures(runs, text)
        for warning in seen.warnings:
            console.warn(warning.text)
        page = (kept(runs[0].run) if len(runs) == 1 else None) or seen
        beside.write_page(html, page, seen)
        if to.format != "table":
            to.emit(page if to.format == "html" else seen, pictures=seen)
            return
        if any(run.config.model.bidirectional for run in runs):
            return  # there is no picture in text of gates that know the future
    color = not console.is_file(to.output) and console.wants_color(sys.stdout)
    console.write(show.picture(runs, text, width=console.stdout_width(), color=color), to.output)
