"""Checkpoint folders: immutable once there, each with a sealed manifest of its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnctl import storage
from rnnctl.errors import CorruptRunError, RunError
from rnnctl.runs import seal
from rnnctl.runs.folders import write_directory

CHECKPOINTS = "checkpoints"
MANIFEST = "manifest.json"
VALUES_NAME = "state.json"
HINT = "`rnnctl train --resume RUN` goes on from the last good checkpoint, if there is one"


def write_checkpoint(folder: Path, name: str, files: Mapping[str, bytes]) -> str:
    """Write `folder/checkpoints/name` with `files`; return the checksum of its manifest."""
    entries = {
        file: {"sha256": seal.sha256_bytes(data), "size": len(data)} for file, data in files.items()
    }
    manifest = seal.seal({"name": name, "files": entries})
    parent = folder / CHECKPOINTS
    with storage.storing(parent):
        parent.mkdir(exist_ok=True)
    target = parent / name
    if target.exists():  # of a writer that was killed before it could be committed
        storage.remove(target)
    write_directory(target, {**files, MANIFEST: manifest})
    return seal.sha256_bytes(manifest)


def read_values(folder: Path, name: str) -> dict[str, Any]:
    """What `state.json` of a checkpoint says, its checksum unseen. RunError if it is unreadable."""
    path = folder / CHECKPOINTS / seal.safe_name(name, folder) / VALUES_NAME
    path = seal.inside(path, folder)
    return seal.parse_json(seal.read_limited(path, seal.MAX_RESULT), path)


def check_checkpoint(folder: Path, name: str, digest: str) -> dict[str, Path]:
    """Paths of the files of a checkpoint, each verified. CorruptRunError names the bad one."""
    home = seal.inside(folder / CHECKPOINTS / seal.safe_name(name, folder), folder)
    manifest = seal.inside(home / MANIFEST, folder)
    content = seal.unseal(manifest)
    if seal.sha256_bytes(manifest.read_bytes()) != digest or content.get("name") != name:
        raise CorruptRunError(f"{manifest} belongs to another checkpoint")
    entries = content.get("files")
    if not isinstance(entries, dict):
        raise CorruptRunError(f"{manifest} names no files")
    found = {}
    for file, entry in entries.items():
        path = seal.inside(home / seal.safe_name(file, manifest), folder)
        if not isinstance(entry, dict):
            raise CorruptRunError(f"{manifest} holds no checksum of {file}")
        check_file(path, str(entry.get("sha256")), entry.get("size"))
        found[file] = path
    return found


def check_file(path: Path, digest: str, size: object) -> Path:
    """`path` if it is there with that size and checksum. CorruptRunError otherwise."""
    if not path.is_file():
        raise CorruptRunError(f"{path} is missing", hint=HINT)
    try:
        actual, found = path.stat().st_size, seal.sha256_file(path)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error
    if actual != size:
        raise CorruptRunError(
            f"{path} is cut off or altered: {actual:,} bytes instead of {size}", hint=HINT
        )
    if found != digest:
        raise CorruptRunError(f"{path} is altered: its checksum does not fit", hint=HINT)
    return path


def remove_unreferenced(folder: Path, kept: set[str]) -> None:
    """Remove checkpoints that no commit refers to, and what killed writers left."""
    parent = folder / CHECKPOINTS
    storage.remove_leftovers(folder)
    if parent.is_dir():
        storage.remove_leftovers(parent)
        for path in parent.iterdir():
            if path.name not in kept and not path.name.startswith("."):
                storage.remove(path)
