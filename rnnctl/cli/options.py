"""The options of the commands.

The options of settings are made from the fields of `rnnctl.config`: a command that takes them ends
its parameters with ``**given: Any`` and is decorated with `takes_settings`. The other options that
several commands share stand here as annotated types: ``format: FormatOption = "table"``.

The help of a command groups its options by their `rich_help_panel`.
"""

from __future__ import annotations

import inspect
import keyword
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from rnnctl import catalog
from rnnctl.errors import UsageError
from rnnctl.wording import either

OUTPUT: Final = "Output"
MACHINE: Final = "Machine"

Format = str  # a name that the catalog lists

_Command = TypeVar("_Command", bound=Callable[..., Any])


# -- options that several commands share ----------------------------------------------------------


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
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="How the result is written: table (for people), json (for programs), markdown or html "
        "(a page for a browser).",
        rich_help_panel=OUTPUT,
        callback=listed("format"),
        autocompletion=completed("format"),
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the result to this file instead of standard output.",
        rich_help_panel=OUTPUT,
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Print no progress, notes and hints. Warnings and errors are still printed.",
        rich_help_panel=OUTPUT,
    ),
]
CurvesOption = Annotated[
    Path | None,
    typer.Option(
        "--curves",
        metavar="PLACE",
        help="Also write every curve as rows: one table where PLACE ends in .csv, .tsv or "
        ".parquet, else a folder with a .csv for each.",
        rich_help_panel=OUTPUT,
    ),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="RUN=NAME",
        help="What a run is called in tables, pictures and curves. Once for each run.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed", min=0, metavar="N", help="Seed of all random numbers.", rich_help_panel=MACHINE
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Where to compute: auto, cpu, cuda, cuda:1, mps.",
        rich_help_panel=MACHINE,
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        metavar="N",
        help="CPU threads.",
        show_default="one for each core",
        rich_help_panel=MACHINE,
    ),
]
RunArgument = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="The folder of a trained run.", show_default=False),
]


LINE_FORMATS: Final = ("table", "json", "markdown")


def line_format(format: str) -> str:
    """The format of a line for each text. UsageError for one of whole reports."""
    if format not in LINE_FORMATS:
        raise UsageError(
            f"--format {format} is for reports, and here a line is written for each text",
            hint=f"write {either(LINE_FORMATS)}",
        )
    return format


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
                f"--label {one}: {run} is not among the runs", hint="name it as in the call"
            )
        if name in found.values():
            raise UsageError(f"--label {one}: there is another {name!r}", hint="use other names")
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


# -- options made from settings -------------------------------------------------------------------


def takes_settings(
    *, without: Container[str] = (), hidden: bool = False
) -> Callable[[_Command], _Command]:
    """Give a command an option for every setting, in the place of its last parameter (`**given`).

    `without` are fields that the command sets by itself. `hidden` options work and are left out of
    the help.
    """

    def decorate(command: _Command) -> _Command:
        signature = inspect.signature(command, eval_str=True)
        *own, last = signature.parameters.values()
        assert last.kind is inspect.Parameter.VAR_KEYWORD
        made = list(_setting_parameters(without, hidden))
        positional = [one for one in own if one.kind is not inspect.Parameter.KEYWORD_ONLY]
        rest = [one for one in own if one.kind is inspect.Parameter.KEYWORD_ONLY]
        parameters = [*positional, *rest, *made]
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters}
        return command

    return decorate


def _setting_parameters(without: Container[str], hidden: bool) -> Iterator[inspect.Parameter]:
    from rnnctl import config

    seen: set[str] = set()
    for section, name, field in config.settings():
        option = config.option(name, field)
        if option is None or name in without or option.name in seen:
            continue
        seen.add(option.name)
        if name == config.DROPOUT_FIELDS[0]:
            yield _parameter("dropout", float, config.DROPOUT, config.DROPOUT.default, "", hidden)
        kind, limits = config.kind_of(field)
        if name.endswith("_s"):
            option = replace(option, metavar=option.metavar or "TIME")
        if "TIME" in option.metavar:
            kind, limits = str, ""
        more: dict[str, Any] = {}
        if name == "task":  # a former name is understood as well, and no help shows it
            option = replace(option, metavar=f"<{'|'.join(catalog.names(name))}>")
            kind, more = str, {"callback": listed(name), "autocompletion": completed(name)}
        if name == "class_weights":
            kind, limits = str, ""
        default = config.default_in_words(section, name, field)
        yield _parameter(
            parameter_of(name, option.name), kind, option, default, limits, hidden, **more
        )


def _parameter(
    name: str, kind: Any, option: Any, default: str, limits: str, hidden: bool, **more: Any
) -> inspect.Parameter:
    placeholder = {int: "N", float: "X", str: "TEXT"}.get(kind)
    concerns = {"lm": " For language models.", "classify": " For classifiers."}
    help = option.help + concerns.get(option.task, "")
    if option.levels:
        help += f" For --level {either(option.levels)}."
    flag = option.name.removeprefix("--")
    made = typer.Option(
        f"--{flag}/--no-{flag}" if kind is bool else option.name,
        metavar=option.metavar or placeholder,
        help=f"{help}  [default: {default}{f'; {limits}' if limits else ''}]",
        show_default=False,
        rich_help_panel=option.panel,
        hidden=hidden,
        **more,
    )
    annotation = Annotated[kind | None, made]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


Given = dict[str, dict[str, Any]]  # section -> field -> value


def parameter_of(field: str, option: str) -> str:
    """What a setting is called in Python: as its option, or as its field where Python forbids it.

    ``layers`` for --layers, ``start_from`` for --from.
    """
    name = option.removeprefix("--").replace("-", "_")
    return field if keyword.iskeyword(name) else name


def settings_given(values: Mapping[str, Any]) -> Given:
    """The settings among a command's parameters that were given: section -> field -> value."""
    from rnnctl import config

    given: Given = {}
    if values.get("sources"):
        given["corpus"] = {"sources": tuple(map(_absolute, values["sources"]))}
    for section, name, field in config.settings():
        option = config.option(name, field)
        if option is None:
            continue
        value = values.get(parameter_of(name, option.name))
        if value is None and name in config.DROPOUT_FIELDS:
            value = values.get("dropout")
        if value is not None:
            _put(given.setdefault(section, {}), name, option.name, value)
    return given


def _put(into: dict[str, Any], name: str, option: str, value: Any) -> None:
    if name == "start_from":
        into[name] = str(Path(value).absolute())
    elif name == "class_weights":
        into[name] = _class_weights(value)
    elif name == "evaluate_every":
        into[name] = int(value) if _is_count(value) else None
    elif name == "evaluate_every_s":
        hint = "write a number of steps, such as 200, or a time, such as 30s"
        into[name] = None if _is_count(value) else seconds(value, option, hint)
    elif name.endswith("_s"):
        into[name] = seconds(value, option)
    else:
        into[name] = value


def _class_weights(given: str | Path | Mapping[str, float]) -> Any:
    """ "balanced", or the weights by label that a file holds. UsageError for what is neither."""
    if given == "balanced" or isinstance(given, Mapping):
        return given
    path = Path(given)
    hint = "say balanced, or name a file with a line `label,weight` for each label"
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8"
        raise UsageError(f"--class-weights {path}: {reason}", hint=hint) from None
    weights: dict[str, float] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        label, _, text = line.replace("\t", ",").rpartition(",")
        try:
            weight = float(text)
        except ValueError:
            weight = 0.0
        if not label.strip() or not 0 < weight < float("inf"):
            raise UsageError(
                f"--class-weights {path}:{number}: {line.strip()!r:.60} is not a label, a comma "
                "and a number above 0",
                hint=hint,
            )
        weights[label.strip()] = weight
    if not weights:
        raise UsageError(f"--class-weights {path}: the file is empty", hint=hint)
    return weights


def _is_count(text: str) -> bool:
    return text.isdecimal() and int(text) > 0


def _absolute(source: str) -> str:
    """A path as it is seen from anywhere, so that the run can be resumed from anywhere."""
    path = Path(source)
    try:
        return os.path.normpath(path.absolute()) if path.exists() else source
    except OSError:  # the opening of the corpus says what is wrong with it
        return source


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|)\Z")


def seconds(text: str, option: str, hint: str = "write it like 75s, 10m or 2h") -> float:
    """Seconds of `75s`, `10m`, `1.5h` or `75`. UsageError for anything else, and for nothing."""
    match = _TIME.match(text.strip())
    value = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if value <= 0:
        raise UsageError(f"{option} {text} is not a time", hint=hint)
    return value
