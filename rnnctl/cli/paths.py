"""What a path on the command line means, the same for every option of every command.

An option or an argument takes paths if its placeholder in the help says so (RUN, CORPUS, FILE, DIR
or FOLDER). For all of these:

* ``~`` and ``~/x`` are in the home folder, also where the shell leaves them alone (``--run=~/x``);
  ``~draft.txt`` is the name of a file.
* ``.`` and ``..`` stand for the folders themselves, under their own names.
* An empty value, such as that of an unset variable, is refused.
* A file to be written is never one of the inputs, and never a file of a run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnctl.errors import UsageError

_PLACES = re.compile(r"\b(?:RUN|CORPUS|FILE|DIR|FOLDER)\b")
WRITTEN = ("output", "html", "plot", "each", "state_out", "onnx")
"""Parameters that name files to be written."""
_MAY_BE_EMPTY = ("prompt", "train")


def takes_paths(parameter: Any) -> bool:
    """Whether the values of a command's parameter are paths."""
    return bool(_PLACES.search(parameter.metavar or ""))


def refuse_empty(parameters: list[Any], given: dict[str, Any]) -> None:
    """UsageError for a value without a character. `given` are values as they were typed."""
    for parameter in parameters:
        value = given.get(parameter.name)
        values = value if isinstance(value, list | tuple) else [value]
        if "" in values and parameter.name not in _MAY_BE_EMPTY:
            raise UsageError(
                f"{called(parameter)} is empty",
                hint="an unset shell variable is often the reason; leave the option out, or give "
                "it a value",
            )


def as_meant(value: Any) -> Any:
    """A value, or each of several, with the home folder and the folder's name filled in."""
    if isinstance(value, list | tuple):
        return type(value)(as_meant(one) for one in value)
    if not isinstance(value, str | Path):
        return value
    text = str(value)
    if text == "~" or text.startswith(("~/", "~" + os.sep)):
        text = _home() + text[1:]
    elif Path(text).name in ("", ".."):  # "." and what ends in ".." have no name of their own
        text = os.path.abspath(text)  # noqa: PTH100 - resolve() would follow links too
    return type(value)(text)


def _home() -> str:
    found = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    if found == "~":
        raise UsageError(
            "`~` means the home folder, and there is none", hint="set HOME, or write the whole path"
        )
    return found


def refuse_overwriting(parameters: list[Any], values: dict[str, Any]) -> None:
    """UsageError for a file to be written that is one of the inputs, or belongs to a run."""
    inputs = list(_inputs(parameters, values))
    for parameter in parameters:
        target = values.get(parameter.name)
        if parameter.name not in WRITTEN or not target or str(target) == "-":
            continue
        where = Path(target).resolve()
        option = called(parameter)
        for folder in where.parents:
            # The checksums of a run say which files are its own; a stranger among them looks like
            # damage.
            if (folder / "current.json").is_file():
                raise UsageError(
                    f"{option} {target} is inside the run {folder}",
                    hint="write it to another folder: a run must hold only its own files",
                )
        for path in inputs:
            # Beside the files of a folder of texts a new file is welcome, in the place of one it is
            # not.
            if where == path or (path.is_dir() and where.exists() and path in where.parents):
                raise UsageError(
                    f"{option} {target} would overwrite an input", hint=f"give {option} a new name"
                )


def _inputs(parameters: list[Any], values: dict[str, Any]) -> Iterator[Path]:
    for parameter in parameters:
        if takes_paths(parameter) and parameter.name not in (*WRITTEN, "run_root"):
            value = values.get(parameter.name)
            for one in value if isinstance(value, list | tuple) else [value]:
                if one is not None and str(one) != "-" and os.path.lexists(one):
                    yield Path(one).resolve()


def called(parameter: Any, value: Any = None) -> str:
    """``--output`` or ``RUN``: how the help calls a parameter; of one that is off ``--no-end``."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name).strip("[].")
    names = parameter.secondary_opts if value is False else ()
    return str(max(names or parameter.opts, key=len))
