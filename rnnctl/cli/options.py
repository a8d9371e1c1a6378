"""The options that several commands share, as annotated types: ``format: FormatOption = "table"``.

Those of settings are made in `cli.setting_options`. The help of a command groups its options by
their `rich_help_panel`. Nothing here takes long to import: every command's help needs it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, get_type_hints

import typer

from rnnctl import catalog
from rnnctl.cli import console
from rnnctl.errors import UsageError

if TYPE_CHECKING:
    from rnnctl.results.base import Result

OUTPUT: Final = "Output"

Format = str  # a name that the catalog lists

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Code = TypeVar("_Code", int, None)


def option(panel: str, help: str, *names: str, **more: Any) -> Any:
    """What `Annotated` takes for an option of a command; `panel` heads it in the help.

    `names`: how it is written; without any, as its parameter. `more`: as typer has it.
    """
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


def takes_groups(command: Callable[..., _Code]) -> Callable[..., _Code]:
    """Lets options that several commands share be declared, and handed on, together.

    A group is a dataclass whose fields are annotated as options are. A parameter of such a type
    stands for all of its fields: the command line has these, and the command is given the group.
    """
    signature = inspect.signature(command, eval_str=True)
    kinds = {one.name: one.annotation for one in signature.parameters.values()}
    kinds = {name: kind for name, kind in kinds.items() if is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for one in signature.parameters.values():
        parameters += group_parameters(one.annotation) if one.name in kinds else [one]

    @wraps(command)
    def called(**values: Any) -> _Code:
        for name, kind in kinds.items():
            values[name] = kind(*(values.pop(field.name) for field in fields(kind)))
        return command(**values)

    # What typer reads, instead of the command's own.
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called


def group_parameters(kind: Any) -> list[inspect.Parameter]:
    """The options of a group, as parameters of a command."""
    hints = get_type_hints(kind, include_extras=True)
    only = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(one.name, only, default=one.default, annotation=hints[one.name])
        for one in fields(kind)
    ]


def listed(kind: str) -> Callable[[str | None], str | None]:
    """Checks that a value is a name which the catalog lists under `kind`; gives today's name."""

    def check(value: str | None) -> str | None:
        if value is None:
            return None
        value = catalog.today(kind, value)
        catalog.check(kind, value)
        return value

    return check


def completed(kind: str) -> Callable[[str], list[str]]:
    """Completes a half-written name of that kind in a shell."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in catalog.names(kind) if name.startswith(incomplete)]

    return complete


FormatOption = Annotated[
    str,
    option(
        OUTPUT,
        "Format of the result: table (for people), json (for programs), markdown, or html (a "
        "page for a browser).",
        metavar="FORMAT",
        callback=listed("format"),
        autocompletion=completed("format"),
    ),
]
OutputOption = Annotated[
    Path | None,
    option(
        OUTPUT,
        "Write the result to this file instead of standard output.",
        "--output",
        "-o",
        metavar="FILE",
    ),
]
QuietOption = Annotated[
    bool,
    option(
        OUTPUT,
        "Print no progress, notes or hints. Warnings and errors are still printed.",
        "--quiet",
        "-q",
    ),
]


@dataclass(frozen=True)
class Output:
    """How and where a command writes its result. `cli.app` obeys `quiet` before it runs."""

    format: FormatOption = "table"
    output: OutputOption = None
    quiet: QuietOption = False

    def emit(self, result: Result, **more: Any) -> None:
        """Write it; `more`: as `console.emit` takes it."""
        console.emit(result, self.format, self.output, **more)


def _drawable(path: Path | None) -> Path | None:
    """UsageError, before any work is done, for a picture of a kind that cannot be drawn."""
    if path is not None:
        from rnnctl.reports.charts import check_ending

        check_ending(path)
    return path


PlotOption = Annotated[
    Path | None,
    option(
        OUTPUT,
        "Also draw the measurements into this .svg, .png or .pdf file.",
        metavar="FILE",
        callback=_drawable,
    ),
]
CurvesOption = Annotated[
    Path | None,
    option(
        OUTPUT,
        "Also write all curves as tables: one file if PLACE ends in .csv, .tsv or .parquet, "
        "otherwise a folder with one .csv file for each curve.",
        metavar="PLACE",
    ),
]
LabelOption = Annotated[
    list[str] | None,
    option(
        OUTPUT,
        "Name of a run in tables, pictures and curves. Can be given once for each run.",
        metavar="RUN=NAME",
    ),
]


def dry_run(panel: str, form: str = "") -> Any:
    """What `Annotated` takes for `--dry-run` of a command that trains; `form`: what is printed."""
    text = "Only print what would be trained and about how long it takes; train nothing."
    return option(panel, f"{text} {form}".strip(), "--dry-run")


RunArgument = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="The folder of a trained run."),
]


def labels(given: Sequence[str] | None, runs: Iterable[Path]) -> dict[Path, str]:
    """Names of runs from ``RUN=NAME``, by the runs' resolved paths.

    UsageError for another form, a run that is not among `runs`, or a name that is given twice.
    """
    known = {run.resolve() for run in runs}
    found: dict[Path, str] = {}
    for one in given or ():
        run, _, name = one.rpartition("=")
        if not run or not name.strip():
            raise UsageError(
                f"--label {one}: not a run and its name", hint="for example: --label runs/a=LSTM"
            )
        path = Path(run).resolve()
        if path not in known:
            raise UsageError(
                f"--label {one}: {run} is not among the runs", hint="write it as in the command"
            )
        if name in found.values():
            raise UsageError(
                f"--label {one}: another run is already called {name!r}", hint="use another name"
            )
        found[path] = name
    return found


def may_stand_alone(option: str, values: tuple[str, ...]) -> Callable[[_Command], _Command]:
    """Lets an option of a command be given without its value, which then is the first of `values`.

    Only one of `values` behind it is its value: ``--explain notes.txt`` reads that file.
    """

    def decorate(command: _Command) -> _Command:
        known = getattr(command, "values_left_out", {})
        command.values_left_out = {**known, option: values}  # type: ignore[attr-defined]
        return command

    return decorate


def filled_in(arguments: list[str], left_out: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Arguments of a command line with the values that were left out."""
    made: list[str] = []
    for place, argument in enumerate(arguments):
        if argument == "--":
            return made + arguments[place:]
        made.append(argument)
        values = left_out.get(argument, ())
        if values and arguments[place + 1 : place + 2] not in [[value] for value in values]:
            made.append(values[0])
    return made
