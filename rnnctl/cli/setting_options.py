"""The options that are made from the settings of `rnnctl.config`, each of which is declared there.

A command that takes all of them ends its parameters with ``**given: Any`` and is decorated with
`takes_settings`. One that takes a few declares these with `of_setting`.
"""

from __future__ import annotations

import inspect
import keyword
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from rnnctl import catalog, config
from rnnctl.cli.options import completed, listed
from rnnctl.errors import UsageError
from rnnctl.wording import either

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from rnnctl.config import Option
    from rnnctl.tasks.base import TaskKind

_Command = TypeVar("_Command", bound=Callable[..., Any])


def takes_settings(command: _Command) -> _Command:
    """Give a command an option for every setting, in the place of its last parameter."""
    signature = inspect.signature(command, eval_str=True)
    *own, last = signature.parameters.values()
    assert last.kind is inspect.Parameter.VAR_KEYWORD
    parameters = [*own, *_setting_parameters()]
    # typer reads both, the one for defaults and the other for types.
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def setting_names() -> list[str]:
    """The settings that are options, as parameters in Python."""
    return [one.name for one in _setting_parameters()]


def of_setting(name: str, panel: str = "", **more: Any) -> Any:
    """What `Annotated` takes for one setting of another command than `train`.

    `panel` heads it in the help, if not the setting's own.
    """
    field = next(field for _, known, field in config.settings() if known == name)
    option = config.option(name, field)
    assert option is not None
    _, _, option, made = _typed(name, field, option)
    unsaid = {"show_default": option.default} if option.default else {}
    return typer.Option(
        option.name,
        metavar=option.metavar or None,
        help=option.help,
        rich_help_panel=panel or option.panel,
        **{**unsaid, **made, **more},
    )


def _setting_parameters() -> Iterator[inspect.Parameter]:
    # Two fields may share an option (--evaluate-every takes steps or a time): one parameter.
    seen: set[str] = set()
    for section, name, field in config.settings():
        option = config.option(name, field)
        if option is None or option.name in seen:
            continue
        seen.add(option.name)
        if name == config.DROPOUT_FIELDS[0]:
            yield _parameter("dropout", float, config.DROPOUT, config.DROPOUT.default, "")
        kind, limits, option, more = _typed(name, field, option)
        default = default_in_words(section, name, field, option)
        yield _parameter(parameter_of(name, option.name), kind, option, default, limits, **more)


def _typed(name: str, field: FieldInfo, option: Option) -> tuple[Any, str, Option, dict[str, Any]]:
    """The type of a setting on the command line, its range in words, its option, and the rest."""
    if name == "task":  # a former name is understood as well, and no help shows it
        option = replace(option, metavar=f"<{'|'.join(catalog.names(name))}>")
        return str, "", option, {"callback": listed(name), "autocompletion": completed(name)}
    if name.endswith("_s"):
        option = replace(option, metavar=option.metavar or "TIME")
    if "TIME" in option.metavar or name == "class_weights":
        return str, "", option, {}
    return *config.kind_of(field), option, {}


SeedOption = Annotated[int, of_setting("seed", min=0)]
DeviceOption = Annotated[str, of_setting("device")]
ThreadsOption = Annotated[int | None, of_setting("threads", min=1)]


def default_in_words(section: str, name: str, field: FieldInfo, known: Option) -> str:
    """What a setting is without its option: ``64``, or ``lm: 64 (char, byte), 35 (word, bpe)``."""
    from rnnctl.tasks.base import OWN_TASKS

    by_task = {
        kind.name: kind.in_words.get(name, kind.level)
        if name == "level"
        else _by_level(kind, section, name, field, known)
        for kind in OWN_TASKS
        if known.labelled in (None, kind.labelled)
    }
    if len(set(by_task.values())) == 1:
        return next(iter(by_task.values()))
    said = "; ".join(f"{task}: {said}" for task, said in by_task.items())
    return f"{said}; with --steps or --epochs: no limit" if name == "budget_s" else said


def _by_level(kind: TaskKind, section: str, name: str, field: FieldInfo, known: Option) -> str:
    levels: dict[str, list[str]] = {}
    for level, recipe in kind.recipes.items():
        if not known.levels or level in known.levels:
            value = recipe.get(section, {}).get(name, field.default)
            written = known.default if value is None else config.value_in_words(name, value)
            said = kind.in_words.get(name, written)
            levels.setdefault(said, []).append(level)
    if len(levels) == 1:
        return next(iter(levels))
    return ", ".join(f"{value} ({', '.join(names)})" for value, names in levels.items())


def _parameter(
    name: str, kind: Any, option: Any, default: str, limits: str, **more: Any
) -> inspect.Parameter:
    placeholder = {int: "N", float: "X", str: "TEXT"}.get(kind)
    concerns = {None: "", False: " For language models.", True: " For classifiers."}
    help = option.help + concerns[option.labelled]
    if option.levels:
        help += f" For --level {either(option.levels)}."
    flag = option.name.removeprefix("--")
    made = typer.Option(
        f"--{flag}/--no-{flag}" if kind is bool else option.name,
        metavar=option.metavar or placeholder,
        help=f"{help}  [default: {default}{f'; {limits}' if limits else ''}]",
        rich_help_panel=option.panel,
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
    if name == "start_from" or (name == "vectors" and not config.is_vectors_word(value)):
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
    hint = "use balanced, or a file with one line `label,weight` for each label"
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
