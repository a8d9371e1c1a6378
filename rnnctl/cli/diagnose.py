"""`rnnctl diagnose`: how much early context does a model retain?"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rnnctl import catalog
from rnnctl.cli import console, inputs, kept
from rnnctl.cli import filter_options as f
from rnnctl.cli.idle import Idle, idle
from rnnctl.cli.options import (
    OUTPUT,
    CurvesOption,
    FormatOption,
    LabelOption,
    OutputOption,
    QuietOption,
    SeedOption,
    ThreadsOption,
    labels,
)
from rnnctl.errors import RnnctlError, UsageError, word
from rnnctl.wording import diagnostic

if TYPE_CHECKING:
    from rnnctl.diagnostics.material import Text
    from rnnctl.diagnostics.settings import Arm
    from rnnctl.results.diagnostics import DiagnosticsResult, SnapshotCourse, SnapshotsResult
    from rnnctl.results.pictures import Pictures
    from rnnctl.runs import Run
    from rnnctl.tasks.loading import Loaded

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


def _measurements(incomplete: str) -> list[str]:
    return [name for name in catalog.names("diagnostic") if name.startswith(incomplete)]


OptionalRunArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[RUN]", help="The run. None with --scorer.", show_default=False),
]
NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...",
        help="use, first_last, effect, hold, reach, gates, position; all that suit the run by "
        "default. "
        "With --show and --snapshots: more runs.",
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
        help="Show this text with what the run's gates keep of it; measure nothing. With --html, "
        "--format html or --format json: also which word moved which prediction.",
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
ScorerOption = Annotated[
    str | None,
    typer.Option(
        metavar="CMD",
        help="Measure this program in the place of a run: a command line that reads questions and "
        "writes nats (rnnctl help scorer). Needs --text; use, first_last and effect.",
        rich_help_panel=SCORER,
    ),
]
ScorerTimeoutOption = Annotated[
    float,
    typer.Option(
        min=0.1,
        metavar="SECONDS",
        help="How long the program may be silent.",
        rich_help_panel=SCORER,
    ),
]
DocumentsOption = Annotated[
    Literal["none", "paragraph", "line", "file"] | None,
    typer.Option(
        help="How plain text is cut into documents for --scorer; by default not at all (none).",
        show_default=False,
        rich_help_panel=SCORER,
    ),
]
PlotOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also draw what was measured by distance, in this one .svg, .png or .pdf file.",
        rich_help_panel=OUTPUT,
    ),
]
SnapshotsOption = Annotated[
    bool,
    typer.Option(
        "--snapshots",
        help="Measure each snapshot that `train --snapshots` kept: when memory arises. More runs "
        "may be named, which are shown side by side.",
        rich_help_panel=WHAT,
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


def _without_scorer(values: Mapping[str, object]) -> bool:
    return not values["scorer"]


@idle(
    Idle(
        ("scorer_timeout", "documents"),
        _without_scorer,
        "has no effect without --scorer",
        "leave it out, or add --scorer CMD",
    ),
    Idle(
        ("label_field", "items", "show", "label", "threads", "cache"),
        lambda values: bool(values["scorer"]),
        "has no effect with --scorer, which says how likely text is and nothing else",
        "leave it out, or measure a run",
    ),
    Idle(
        ("items", "beyond", "show", "scorer", "cache"),
        lambda values: bool(values["snapshots"]),
        "has no effect with --snapshots",
        "leave out one of the two",
    ),
    f.MEMORY_IDLE[0],
)
def diagnose(
    run: OptionalRunArgument = None,
    names: NamesArgument = None,
    preset: PresetOption = "quick",
    text: TextOption = None,
    text_field: TextFieldOption = None,
    label_field: LabelFieldOption = None,
    encoding: EncodingOption = None,
    items: ItemsOption = None,
    beyond: BeyondOption = None,
    show: ShowOption = None,
    cache: f.CacheOption = 0,
    cache_theta: f.CacheTheta = f.THETA,
    cache_weight: f.CacheWeight = f.WEIGHT,
    scorer: ScorerOption = None,
    scorer_timeout: ScorerTimeoutOption = TIMEOUT_S,
    documents: DocumentsOption = None,
    snapshots: SnapshotsOption = False,
    html: HtmlOption = None,
    plot: PlotOption = None,
    curves: CurvesOption = None,
    label: LabelOption = None,
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

    With --snapshots the snapshots of one run, or of several, are measured: loss, horizon,
    FIRST→LAST, HOLD and REACH against the tokens of the training.

    With --scorer any program is measured that says how likely a text is: `rnnctl diagnose --scorer
    "python ngram.py" --text FILE`.
    """
    console.configure(quiet=quiet)
    console.check_output(output)
    for path, option in ((html, "--html"), (plot, "--plot")):
        console.check_output(path, option)
    if plot is not None:
        from rnnctl.reports.charts import check_ending

        check_ending(plot)
    from rnnctl.machine import set_threads

    set_threads(threads)
    if scorer is None and run is None:
        raise UsageError("diagnose needs a run", hint="`rnnctl diagnose RUN`, or --scorer CMD")
    from rnnctl.reports.diagnostics import brief

    columns = _columns(text, text_field=text_field, label_field=label_field, encoding=encoding)
    if scorer is not None or run is None:
        how = _Outside(scorer or "", scorer_timeout, text, documents, columns)
        asked = ([str(run)] if run else []) + (names or [])
        ways: tuple[Arm, ...] = ("foreign", "zero", *(way.value for way in beyond or ()))
        result = _of_scorer(how, asked, preset, seed, ways)
        console.emit(result, format, output, blocks=None if verbose else brief)
        _draw(plot, result)
        _write_curves(curves, result)
        _write_page(html, result, None)
        return
    if snapshots:
        how_far = _Snapshots(text, columns, preset, seed, label)
        found = _of_snapshots([str(run), *(names or ())], how_far)
        from rnnctl.reports.snapshots import brief as brief_snapshots

        console.emit(found, format, output, blocks=None if verbose else brief_snapshots)
        _draw(plot, found)
        _write_curves(curves, found)
        _write_page(html, found, None)
        return
    called = labels(label, [run]).get(run.resolve())
    if show is not None:
        measuring: dict[str, object] = {
            "--text": text,
            "--items": items,
            "--beyond": beyond,
            "--plot": plot,
        }
        measuring |= {"--curves": curves, "--label": label, "--cache": cache}
        changed = {"--preset": preset != "quick", "--seed": seed != 0, "--verbose": verbose}
        _check_show({**measuring, **changed})
        _show([run, *(Path(name) for name in names or ())], show, html, format, output)
        return
    from rnnctl.diagnostics.diagnose import diagnose as measure
    from rnnctl.diagnostics.material import read_text
    from rnnctl.tasks.loading import load

    stdin = inputs.stdin(f"diagnose {word(run)} --text -") if text == "-" else None
    loaded = load(run)
    wanted = [name.lower() for name in names or ()]
    _check_about(loaded, wanted, items, beyond)
    why_not = _why_not_kept(loaded.run, text, seed, items, bool(beyond))
    given = None if text is None else read_text(loaded, text, stdin, columns)
    result = measure(
        loaded,
        names=wanted,
        preset=preset,
        text=given,
        seed=seed,
        items=items,
        arms=("foreign", "zero", *(way.value for way in beyond or ())),
        tell=lambda name: console.note(f"measuring {diagnostic(name)} …"),
    )
    shown = _called(result, called)
    if cache:
        from rnnctl.diagnostics.diagnose import with_cache
        from rnnctl.inference.memory import Cache

        console.note("measuring USE with a cache …")
        shown = with_cache(loaded, shown, Cache(cache, cache_theta, cache_weight), given)
    seen = _pictures(loaded, given) if format == "html" else None
    try:
        console.emit(shown, format, output, blocks=None if verbose else brief, pictures=seen)
    finally:  # shown first: keeping it may fail, and nobody measures twice for a full disk
        _keep(loaded.run, result, why_not)
    _draw(plot, shown)
    _write_curves(curves, shown)
    if html is not None:
        _write_page(html, shown, seen or _pictures(loaded, given))


def _called(result: DiagnosticsResult, name: str | None) -> DiagnosticsResult:
    """The result with the run under the name that it was given."""
    if name is None:
        return result
    return result.model_copy(update={"model": result.model.model_copy(update={"id": name})})


# `rnnctl diagnose RUN… --snapshots`: when memory arises.


@dataclass(frozen=True, slots=True)
class _Snapshots:
    """How the snapshots of runs are measured, and what the runs are called."""

    text: str | None
    columns: Mapping[str, str]
    preset: str
    seed: int
    label: Sequence[str] | None


def _of_snapshots(named: Sequence[str], how: _Snapshots) -> SnapshotsResult:
    """Measure the snapshots of every run; what a run keeps of them is not measured again."""
    known = catalog.names("diagnostic")
    measurements = [n for n in named[1:] if n.lower().replace("-", "_") in known]
    runs = [Path(name) for name in named if name not in measurements]
    given = labels(how.label, runs)
    from rnnctl.diagnostics import snapshots as work

    if how.text == "-":
        raise UsageError(
            "--snapshots reads its text for each of them, which standard input cannot give twice",
            hint="write it to a file first",
        )
    for path in runs:
        work.check_snapshots(path)
    courses, last = [], None
    for path in runs:
        made, last = _course(path, tuple(name.lower() for name in measurements), how)
        name = given.get(path.resolve()) or _short(path, runs)
        courses.append(made.model_copy(update={"label": name}))
    assert last is not None
    return work.gather(courses, last, preset=how.preset, seed=how.seed)


def _short(path: Path, runs: Sequence[Path]) -> str:
    """The last part of a path where that tells the runs apart, else all of it."""
    names = [run.resolve().name for run in runs]
    name = path.resolve().name
    return name if names.count(name) == 1 else str(path)


def _course(path: Path, names: tuple[str, ...], how: _Snapshots) -> tuple[SnapshotCourse, Loaded]:
    """One run's snapshots, with what is kept of them; kept again after each."""
    from rnnctl.diagnostics import snapshots as work
    from rnnctl.diagnostics.material import read_text
    from rnnctl.results.diagnostics import SnapshotCourse
    from rnnctl.runs import Run

    run = Run.open(path)
    before = None if how.text else _kept_course(run, names, how)
    course = SnapshotCourse(
        run=str(path),
        label=path.resolve().name,
        cell=run.config.model.cell,
        init=run.config.model.init,
        distance_unit=before.distance_unit if before else "words",
        text=before.text if before else "",
        measured=names,
        points=(),
    )
    steps = work.course(
        path,
        names,
        preset=how.preset,
        seed=how.seed,
        text=lambda loaded: read_text(loaded, how.text, None, how.columns) if how.text else None,
        known={point.digest: point for point in before.points} if before else {},
        tell=console.note,
    )
    model = None
    for point, model, result in steps:
        more: dict[str, object] = {"points": (*course.points, point)}
        if result is not None:
            more |= {"distance_unit": result.data.distance_unit, "text": result.data.sha256}
        course = course.model_copy(update=more)
        if result is not None and how.text is None:
            found = work.gather([course], model, preset=how.preset, seed=how.seed)
            kept.keep(run, "snapshots", found)
    assert model is not None
    return course, model


def _kept_course(run: Run, names: tuple[str, ...], how: _Snapshots) -> SnapshotCourse | None:
    """What the run keeps of its snapshots, if it was measured in the same way."""
    from rnnctl import __version__
    from rnnctl.results.diagnostics import SnapshotsResult

    found = run.present_result("snapshots")
    if found is None:
        return None
    result = SnapshotsResult.model_validate_json(json.dumps(found))
    (course,) = result.courses
    alike = (result.preset, result.seed, result.environment.rnnctl, course.measured)
    return course if alike == (how.preset, how.seed, __version__, names) else None


def _write_curves(place: Path | None, result: DiagnosticsResult | SnapshotsResult) -> None:
    if place is not None:
        from rnnctl.reports.curves import save_curves

        console.note(f"curves in {place}: {', '.join(save_curves(result, place))}")


@dataclass(frozen=True, slots=True)
class _Outside:
    """A program to be asked, and the text to ask it about."""

    scorer: str
    timeout: float
    text: str | None
    documents: Literal["none", "paragraph", "line", "file"] | None
    columns: Mapping[str, str]


def _of_scorer(
    how: _Outside, names: Sequence[str], preset: str, seed: int, arms: Sequence[Arm]
) -> DiagnosticsResult:
    """Measure a program. UsageError without a text, which nobody has kept for it."""
    if how.text is None:
        raise UsageError("--scorer needs a text to ask about", hint="add --text FILE")
    if not how.scorer.strip():
        raise UsageError("--scorer is empty", hint="give a command line: --scorer 'python my.py'")
    from rnnctl.diagnostics import scorer as outside

    wanted = [name.lower() for name in names]
    outside.chosen_names(wanted)  # before anything is read or started
    stdin = inputs.stdin("diagnose --scorer CMD --text -") if how.text == "-" else None
    result = outside.diagnose_scorer(
        how.scorer,
        outside.read_scorer_text(how.text, stdin, how.columns, how.documents or "none"),
        wanted,
        preset=preset,
        seed=seed,
        arms=arms,
        timeout=how.timeout,
        tell=lambda name: console.note(f"measuring {diagnostic(name)} …"),
    )
    console.note(outside.said(result))
    return result


def _draw(plot: Path | None, result: DiagnosticsResult | SnapshotsResult) -> None:
    if plot is not None:
        from rnnctl.reports.charts import save_plot

        console.note(f"drawn in {plot}: {', '.join(save_plot(result, plot))}")


def _pictures(loaded: Loaded, text: Text | None) -> Pictures | None:
    """What the run does with a passage; None, with a warning, where there is none to show."""
    from rnnctl.diagnostics.pictures import pictures

    try:
        return pictures([loaded], text)
    except RnnctlError as problem:
        console.warn(f"the page shows no text word by word: {problem.message}")
        return None


def _write_page(
    html: Path | None,
    result: DiagnosticsResult | SnapshotsResult | Pictures,
    seen: Pictures | None,
) -> None:
    if html is not None:
        from rnnctl.reports import render

        console.write_file(html, render(result, "html", pictures=seen), "--html")
        console.note(f"the page is {html}")


def _check_show(given: Mapping[str, object]) -> None:
    """UsageError for what --show does not do."""
    for option, value in given.items():
        if value:
            raise UsageError(
                f"{option} is for measuring, and --show measures nothing",
                hint=f"leave out {option}, or --show",
            )


def _check_about(
    loaded: Loaded, names: Sequence[str], items: Path | None, beyond: Sequence[Spoilt] | None
) -> None:
    """UsageError for an option about a measurement that is not taken of this run."""
    if items is not None and not loaded.labels:
        raise UsageError(
            "--items has no effect here: it is evidence for classifiers, and this run is none",
            hint="leave it out",
        )
    if beyond and (loaded.labels or (names and "use" not in names)):
        raise UsageError(
            "--beyond has no effect here: it is about USE, which is not measured",
            hint="leave it out; USE is about the loss of language models",
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
    if html is not None or format != "table":
        from rnnctl.diagnostics.pictures import pictures

        seen = pictures(runs, text)
        for warning in seen.warnings:
            console.warn(warning.text)
        kept_before = _kept_diagnosis(runs[0].run) if len(runs) == 1 else None
        _write_page(html, kept_before or seen, seen)
        if format == "html":
            console.emit(kept_before or seen, format, output, pictures=seen)
            return
        if format != "table":
            console.emit(seen, format, output)
            return
        if any(run.config.model.bidirectional for run in runs):
            return  # there is no picture in text of gates that know the future
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
    from rnnctl.diagnostics.subject import ExactModel

    for loaded in runs:
        if loaded.config.model.bidirectional:
            raise UsageError(
                f"{loaded.run.path} reads in both directions: its gates are not about a past",
                hint="look at a run that was trained with --no-bidirectional",
            )
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
    from rnnctl.diagnostics import diagnose as kept_diagnosis

    other = text is not None and kept_diagnosis.has_own_text(run)
    return kept_diagnosis.why_apart(other_text=other, seed=seed, items=items, beyond=beyond)


def _keep(run: Run, result: DiagnosticsResult, why_not: str) -> None:
    """Keep a diagnosis, alone or as a part of the one that is there."""
    from rnnctl.diagnostics import diagnose as kept_diagnosis

    found = why_not or kept_diagnosis.to_keep(run, result)
    if isinstance(found, str):
        console.note(f"not kept in {run.path}: {found}; `-o FILE` writes it to a file")
        return
    kept.keep(run, "diagnose", found)
