"""`current.json`: what a run consists of right now. Renamed into place last: the commit point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rnnctl import __version__, storage
from rnnctl.config import problems_in_words
from rnnctl.errors import CorruptRunError, RunError
from rnnctl.runs import seal

CURRENT_NAME = "current.json"
WEIGHTS_NAME = "model.safetensors"
RUN_SCHEMA = 1

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]

# Older schema -> function that turns its content into that of the next one. Applied in memory;
# the file changes when the run is next written.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


class FileEntry(BaseModel):
    """Checksum and size of one file, bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    sha256: Digest
    size: Count


class Current(BaseModel):
    """The files that belong to the run, and which checkpoints count."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    run_schema: int = RUN_SCHEMA
    rnnctl: str = __version__
    files: dict[str, FileEntry] = {}
    checkpoints: dict[str, Digest] = Field({}, description="name -> checksum of its manifest")
    newest: str | None = None
    before: str | None = None
    best: str | None = Field(None, description="folder that holds the best weights")
    finished: bool = False
    log_bytes: Count = 0
    log_crc: Count = 0


def weights_of(current: Current) -> str:
    """What stands for the weights in use: they are the same as long as it is. "" without any."""
    name = current.best or current.newest
    if name is not None:
        return current.checkpoints[name]
    entry = current.files.get(WEIGHTS_NAME)
    return entry.sha256 if entry else ""


def read_current(folder: Path) -> Current:
    """What `folder` says about itself. RunError if it is no run or from a newer rnnctl."""
    path = folder / CURRENT_NAME
    if not folder.exists():
        raise RunError(f"{folder} does not exist", hint="`rnnctl runs` lists the runs there are")
    if not path.is_file():
        raise RunError(
            f"{folder} is not a run: it has no {CURRENT_NAME}",
            hint="`rnnctl runs` lists the runs there are; `rnnctl train` makes one",
        )
    content = migrate(seal.unseal(path), path, RUN_SCHEMA, MIGRATIONS, key="run_schema")
    try:
        current = Current.model_validate(content)
    except ValidationError as error:
        raise CorruptRunError(f"{path} is not what rnnctl writes: {first_problem(error)}") from None
    _check_names(current, path)
    return current


def write_current(folder: Path, current: Current) -> None:
    storage.write_atomic(folder / CURRENT_NAME, seal.seal(current.model_dump(mode="json")))


def migrate(
    content: dict[str, Any],
    path: Path,
    newest: int,
    steps: dict[int, Callable[[dict[str, Any]], dict[str, Any]]],
    *,
    key: str,
) -> dict[str, Any]:
    """Bring `content` of an older schema up to date; refuse a newer one."""
    version = content.get(key)
    if not isinstance(version, int):
        raise CorruptRunError(f"{path} does not say which schema it has ({key})")
    if version > newest:
        raise RunError(
            f"{path} was written by a newer rnnctl ({content.get('rnnctl', 'unknown')}): "
            f"{key} {version}, and this is rnnctl {__version__} with {newest}",
            hint="install that version or a newer one: pip install --upgrade rnnctl",
        )
    while version < newest:
        if version not in steps:
            raise RunError(f"{path} is of {key} {version}, which this rnnctl cannot read")
        content = steps[version](content)
        version += 1
    return content | {key: newest}


def first_problem(error: ValidationError) -> str:
    """The first problems of a validation in one line: ``training.lr must be more than 0``."""
    return "; ".join(f"{where} {problem}" for where, _, problem in problems_in_words(error))


def _check_names(current: Current, path: Path) -> None:
    named = [*current.files, *current.checkpoints]
    named += [n for n in (current.newest, current.before, current.best) if n is not None]
    for name in named:
        seal.safe_name(name, path)
    missing = {current.newest, current.before, current.best} - {None, *current.checkpoints}
    if missing:
        raise CorruptRunError(f"{path} names a checkpoint without a checksum: {missing}")
