"""Files that can be made again: where they live, and writing them whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rnnctl.errors import StorageError

# Up to this size files are hashed whenever they are opened, beyond it only if they were touched.
ALWAYS_HASHED = 64 << 20
_ABANDONED_S = 24 * 3600.0
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def cache_directory() -> Path:
    """``RNNCTL_CACHE``, or the platform's directory for a user's caches. Not created here."""
    chosen = os.environ.get("RNNCTL_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local"))
    elif sys.platform == "darwin":
        base = Path("~/Library/Caches")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return base.expanduser() / "rnnctl"


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` of writing below `path` into a `StorageError` that says why."""
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno in _FULL else error.strerror or str(error)
        raise StorageError(
            f"cannot write {path}: {reason}",
            hint="free some space or choose another place (RNNCTL_CACHE sets the cache directory)",
        ) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, flush it to the disk, rename it. Raises: StorageError."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)  # there only if it was not renamed


@contextmanager
def building(final: Path, sound: Callable[[Path], bool]) -> Iterator[Path]:
    """A new directory to fill, renamed to `final` at the end of the block.

    It is whole or absent under that name. Several may build the same: the first one that is
    `sound` stays. Raises: StorageError.
    """
    folder = final.parent
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        temporary = tempfile.mkdtemp(prefix=temporary_prefix("build"), dir=folder)
    path = Path(temporary)
    try:
        yield path
        with storage_errors(final):
            _publish(path, final, sound)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _publish(building: Path, final: Path, sound: Callable[[Path], bool]) -> None:
    """Rename into place; what is there already stays if it is sound, and goes if it is not."""
    try:
        building.rename(final)
    except OSError:
        if sound(final):
            return
        damaged = building.with_name(f"{building.name}-damaged")
        final.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
        building.rename(final)


def _here() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def temporary_prefix(kind: str) -> str:
    """How the name begins of what is not yet whole; says whose it is."""
    return f".{kind}-{_here()}-{os.getpid()}-"


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left unfinished: of this machine's dead ones, or a day old."""
    for path in [*folder.glob(".build-*"), *folder.glob(".spool-*")]:
        _, *owner = path.name.split("-")
        try:
            old = time.time() - path.stat().st_mtime > _ABANDONED_S
        except OSError:
            continue
        dead = len(owner) > 1 and owner[0] == _here() and not process_lives(int(owner[1]))
        if old or dead:
            shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):
                path.unlink(missing_ok=True)


def process_lives(pid: int) -> bool:
    """Whether a process of that number is there (it may be somebody else's)."""
    if pid <= 0 or pid > 2**31 - 1:
        return False
    if os.name == "nt":  # there, asking with signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
