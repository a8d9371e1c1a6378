"""Files that can be made again: where they live, and writing them whole or not at all.

There are two kinds of them: small *records* (`remember`, `recall`) and *folders* (`kept_folder`).
Both are found by the `integrity.key` of what they were made of, and used only if they are what was
written.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any

from rnnctl import integrity
from rnnctl.errors import RunError
from rnnctl.storage import remove_leftovers, storing, sync_file, temporary, write_atomic

# Up to this size files are hashed whenever they are opened, beyond it only if they were touched.
ALWAYS_HASHED = 64 << 20
HINT = "free some space, or choose another folder for the cache with RNNCTL_CACHE"


def cache_directory() -> Path:
    """``RNNCTL_CACHE``, or the platform's directory for a user's caches.

    Where nothing can be written to the latter it is a folder of this process, gone when it ends.
    """
    chosen = os.environ.get("RNNCTL_CACHE")
    return _at_home(chosen) if chosen else _usable(_usual())


@lru_cache
def _usable(usual: Path) -> Path:
    try:
        usual.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=usual):
            return usual
    except OSError:
        instead = tempfile.mkdtemp(prefix="rnnctl-cache-")
    atexit.register(shutil.rmtree, instead, ignore_errors=True)
    return Path(instead)


def cache_is_lost() -> str:
    """A sentence where the cache is kept for this process only; else empty."""
    usual = _usual()
    if os.environ.get("RNNCTL_CACHE") or cache_directory() == usual:
        return ""
    return (
        f"using a cache for this command only, since {usual} cannot be written to "
        "(RNNCTL_CACHE names another folder)"
    )


def _usual() -> Path:
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


# -- small records ----------------------------------------------------------------------------


def remember(path: Path, content: dict[str, Any]) -> None:
    """Keep a record of the cache, sealed. Raises: StorageError."""
    write_cached(path, integrity.seal(content, ascii_only=True))


def recall(path: Path) -> dict[str, Any] | None:
    """What was remembered there; None where there is nothing, or not what was written."""
    try:
        return integrity.unseal(path, limit=integrity.MAX_RESULT)
    except RunError:
        return None


# -- folders ----------------------------------------------------------------------------------

_CONTENTS = "files.json"


def kept_folder(final: Path, make: Callable[[Path], None]) -> Path:
    """A folder of the cache that `make` fills: made once, then found again while it is unaltered.

    It is whole or absent under its name. Several may make the same at once: the first one stays.
    Raises: StorageError, and what `make` raises.
    """
    if is_intact(final):
        return final
    with storage_errors(final.parent):
        final.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(final.parent)
    with temporary(final) as new:
        with storage_errors(final.parent):
            # Texts may be private, and the folder of a cache may be open to others.
            new.mkdir(mode=0o700)
        with storage_errors(new):
            make(new)
            files = {str(p.relative_to(new)): _described(p) for p in files_below(new)}
            remember(new / _CONTENTS, {"files": files})
        with storage_errors(final):
            _publish(new, final)
    return final


def _publish(new: Path, final: Path) -> None:
    """Rename into place; what is there already stays if it is intact, and goes if it is not."""
    try:
        new.rename(final)
    except OSError:
        # A folder that is there cannot be renamed onto: another process was faster, or it is
        # damaged.
        if is_intact(final):
            return
        with temporary(final) as damaged:
            final.rename(damaged)
        new.rename(final)


def files_below(folder: Path) -> list[Path]:
    """All that was made, but not what `datasets` locks."""
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".lock"]
    return [p for p in found if p != folder / _CONTENTS]


def is_intact(folder: Path) -> bool:
    """Whether a folder that `kept_folder` made holds what was made, and nothing else.

    Small folders are hashed each time, in large ones the files that were touched.
    """
    try:
        said = (recall(folder / _CONTENTS) or {})["files"]
        always = sum(file["size"] for file in said.values()) <= ALWAYS_HASHED
        return [str(p.relative_to(folder)) for p in files_below(folder)] == list(said) and all(
            _unaltered(folder / name, file, always=always) for name, file in said.items()
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False


def _described(path: Path) -> dict[str, Any]:
    """What `_unaltered` compares a file with. It is on the disk by then."""
    sync_file(path)
    stat = path.stat()
    digest = integrity.digest_of_file(path)
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": digest}


def _unaltered(path: Path, said: dict[str, Any], *, always: bool) -> bool:
    """Whether a file is what it was; `always` hashes it even if size and time are the same."""
    stat = path.stat()
    if stat.st_size != said["size"]:
        return False
    if not always and stat.st_mtime_ns == said["mtime_ns"]:
        return True
    return bool(integrity.digest_of_file(path) == said["sha256"])
