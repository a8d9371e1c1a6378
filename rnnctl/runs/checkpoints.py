"""Checkpoint folders: immutable once there, each with a sealed manifest of its files.

A snapshot, the weights that a run had after so many tokens, is a checkpoint that holds weights and
nothing else. Its name says how much had been trained on: ``tokens-0000081920-step-000040``. So a
run tells which snapshots it has without opening one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rnnctl import __version__, integrity, storage
from rnnctl.config import problems_in_words
from rnnctl.errors import CorruptRunError, RunError, word
from rnnctl.storage import write_directory

CHECKPOINTS = "checkpoints"
MANIFEST = "manifest.json"
VALUES_NAME = "state.json"
_SNAPSHOT = re.compile(r"tokens-(\d{10,16})-step-(\d{6,13})\Z")


def write_checkpoint(folder: Path, name: str, files: Mapping[str, bytes]) -> str:
    """Write `folder/checkpoints/name` with `files`; return the checksum of its manifest."""
    entries = {
        file: {"sha256": integrity.digest(data), "size": len(data)} for file, data in files.items()
    }
    manifest = integrity.seal({"name": name, "files": entries})
    parent = folder / CHECKPOINTS
    with storage.storing(parent):
        parent.mkdir(exist_ok=True)
    target = parent / name
    if target.exists():  # of a writer that was killed before it could be committed
        storage.remove(target)
    write_directory(target, {**files, MANIFEST: manifest})
    return integrity.digest(manifest)


def read_values(folder: Path, name: str) -> dict[str, Any]:
    """What `state.json` of a checkpoint says, its checksum unseen. RunError if it is unreadable."""
    path = folder / CHECKPOINTS / integrity.safe_name(name, folder) / VALUES_NAME
    path = integrity.inside(path, folder)
    return integrity.read_json(path, limit=integrity.MAX_RESULT)


def check_checkpoint(folder: Path, name: str, digest: str) -> dict[str, Path]:
    """Paths of the files of a checkpoint, each verified. CorruptRunError names the bad one."""
    home = integrity.inside(folder / CHECKPOINTS / integrity.safe_name(name, folder), folder)
    manifest = integrity.inside(home / MANIFEST, folder)
    content = integrity.unseal(manifest)
    # The seal says that it is whole; only the run can say that it is the manifest it committed.
    if integrity.digest_of_file(manifest) != digest or content.get("name") != name:
        raise CorruptRunError(f"{manifest} belongs to another checkpoint")
    entries = content.get("files")
    if not isinstance(entries, dict):
        raise CorruptRunError(f"{manifest} names no files")
    found = {}
    for file, entry in entries.items():
        path = integrity.inside(home / integrity.safe_name(file, manifest), folder)
        if not isinstance(entry, dict):
            raise CorruptRunError(f"{manifest} holds no checksum of {file}")
        integrity.check_file(path, str(entry.get("sha256")), entry.get("size"), folder)
        found[file] = path
    return found


def remove_unreferenced(folder: Path, kept: set[str]) -> None:
    """Remove checkpoints that no commit refers to, and what killed writers left."""
    parent = folder / CHECKPOINTS
    storage.remove_leftovers(folder)
    if parent.is_dir():
        storage.remove_leftovers(parent)
        for path in parent.iterdir():
            if path.name not in kept and not path.name.startswith("."):
                storage.remove(path)


# `current.json`: what a run consists of right now. Renamed into place last: the commit point.

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


def _meant(folder: Path) -> str:
    """The run beside a folder that is not there whose name is nearest; else how to list runs."""
    beside = folder.parent.glob(f"*/{CURRENT_NAME}") if folder.parent.is_dir() else ()
    # Most often a name is mistyped: default names are long, and end in a time.
    near = get_close_matches(folder.name, [path.parent.name for path in beside], n=1)
    if near:
        return f"did you mean {word(folder.parent / near[0])}? `rnnctl runs` lists all runs"
    return "`rnnctl runs` lists the runs there are"


def read_current(folder: Path) -> Current:
    """What `folder` says about itself. RunError if it is no run or from a newer rnnctl."""
    path = folder / CURRENT_NAME
    if not folder.exists():
        raise RunError(f"{folder} does not exist", hint=_meant(folder))
    if not path.is_file():
        raise RunError(
            f"{folder} is not a run: it has no {CURRENT_NAME}",
            hint="`rnnctl runs` lists the runs there are; `rnnctl train` makes one",
        )
    content = migrate(integrity.unseal(path), path, RUN_SCHEMA, MIGRATIONS, key="run_schema")
    try:
        current = Current.model_validate(content)
    except ValidationError as error:
        raise CorruptRunError(f"{path} is not what rnnctl writes: {first_problem(error)}") from None
    _check_names(current, path)
    return current


def write_current(folder: Path, current: Current) -> None:
    storage.write_atomic(folder / CURRENT_NAME, integrity.seal(current.model_dump(mode="json")))


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
    # Step by step, so that each schema needs to know the next one only.
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
        integrity.safe_name(name, path)
    missing = {current.newest, current.before, current.best} - {None, *current.checkpoints}
    if missing:
        raise CorruptRunError(f"{path} names a checkpoint without a checksum: {missing}")


# -- snapshots -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The weights of `run` after `step` steps and `tokens` tokens, repeated readings counted.

    `digest` stands for the weights: equal ones are equal bit for bit.
    """

    run: Path
    tokens: int
    step: int
    digest: str

    @property
    def name(self) -> str:
        """What the snapshot's folder is called."""
        return snapshot_name(self.tokens, self.step)

    @property
    def weights_path(self) -> Path:
        """The verified weights, a safetensors file. CorruptRunError if they are damaged."""
        files = check_checkpoint(self.run, self.name, self.digest)
        if WEIGHTS_NAME not in files:
            raise CorruptRunError(f"snapshot {self.name} of {self.run} holds no {WEIGHTS_NAME}")
        return files[WEIGHTS_NAME]


def snapshot_name(tokens: int, step: int) -> str:
    """The name of the folder of a snapshot."""
    return f"tokens-{tokens:010d}-step-{step:06d}"


def is_snapshot(name: str) -> bool:
    """Whether a checkpoint of that name is a snapshot."""
    return _SNAPSHOT.match(name) is not None


def step_of(name: str) -> int:
    """After which step the snapshot of that name was taken."""
    match = _SNAPSHOT.match(name)
    assert match is not None
    return int(match[2])


def snapshots(run: Path, known: dict[str, str]) -> list[Snapshot]:
    """The snapshots among the checkpoints that `run` lists (name -> digest), by tokens."""
    found = [
        Snapshot(run, int(match[1]), int(match[2]), digest)
        for name, digest in known.items()
        if (match := _SNAPSHOT.match(name)) is not None
    ]
    return sorted(found, key=lambda one: (one.tokens, one.step))


def until(names: Iterable[str], step: int) -> set[str]:
    """Those names that are snapshots of `step` or before: what is later is taken again."""
    return {name for name in names if is_snapshot(name) and step_of(name) <= step}
