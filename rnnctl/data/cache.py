"""Files that can be made again: where they live, and writing them whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from rnnctl.storage import remove_leftovers, storing, temporary, write_atomic

# Up to this size files are hashed whenever they are opened, beyond it only if they were touched.
ALWAYS_HASHED = 64 << 20
HINT = "free some space or choose another place (RNNCTL_CACHE sets the cache directory)"


def cache_directory() -> Path:
    """``RNNCTL_CACHE``, or the platform's directory for a user's caches. Not created here."""
    chosen = os.environ.get("RNNCTL_CACHE")
    if chosen:
        return _at_home(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local"))
    elif sys.platform == "darwin":
        base = Path("~/Library/Caches")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return _at_home(str(base)) / "rnnctl"


def _at_home(path: str) -> Path:
    """A path with its ``~`` filled in; among the temporary files where there is no home folder."""
    found = os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser() raises where there is none
    return Path(tempfile.gettempdir()) if found.startswith("~") else Path(found)


def storage_errors(path: Path) -> AbstractContextManager[None]:
    """Turn an `OSError` of writing below `path` into a `StorageError` that says why."""
    return storing(path, HINT)


def write_cached(path: Path, data: bytes) -> None:
    """Write a file of the cache, whole or not at all. Raises: StorageError."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    write_atomic(path, data, private=True, hint=HINT)


@contextmanager
def building(final: Path, sound: Callable[[Path], bool]) -> Iterator[Path]:
    """A new directory to fill, renamed to `final` at the end of the block.

    It is whole or absent under that name. Several may build the same: the first one that is
    `sound` stays. Raises: StorageError.
    """
    folder = final.parent
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    with temporary(final) as path:
        with storage_errors(folder):
            path.mkdir(mode=0o700)
        yield path
        with storage_errors(final):
            _publish(path, final, sound)


def _publish(building: Path, final: Path, sound: Callable[[Path], bool]) -> None:
    """Rename into place; what is there already stays if it is sound, and goes if it is not."""
    try:
        building.rename(final)
    except OSError:
        if sound(final):
            return
        with temporary(final) as damaged:
            final.rename(damaged)
        building.rename(final)


def described(path: Path) -> dict[str, Any]:
    """What `unaltered` compares a file with."""
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": _sha256(path)}


def unaltered(path: Path, said: dict[str, Any], *, always: bool) -> bool:
    """Whether a file is what it was; `always` hashes it even if size and time are the same."""
    stat = path.stat()
    if stat.st_size != said["size"]:
        return False
    if not always and stat.st_mtime_ns == said["mtime_ns"]:
        return True
    return bool(_sha256(path) == said["sha256"])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_CONTENTS = "files.json"


def kept_folder(final: Path, make: Callable[[Path], None]) -> Path:
    """A folder of the cache that `make` fills: made once, then found again while it is unaltered.

    Raises: StorageError, and what `make` raises.
    """
    if not _intact(final):
        with building(final, _intact) as folder, storage_errors(folder):
            make(folder)
            files = {str(p.relative_to(folder)): described(p) for p in files_below(folder)}
            write_cached(folder / _CONTENTS, json.dumps(files).encode())
    return final


def files_below(folder: Path) -> list[Path]:
    """All that was made, but not what `datasets` locks."""
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".lock"]
    return [p for p in found if p != folder / _CONTENTS]


def _intact(folder: Path) -> bool:
    try:
        said = json.loads((folder / _CONTENTS).read_bytes())
        always = sum(file["size"] for file in said.values()) <= ALWAYS_HASHED
        return [str(p.relative_to(folder)) for p in files_below(folder)] == list(said) and all(
            unaltered(folder / name, file, always=always) for name, file in said.items()
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False
