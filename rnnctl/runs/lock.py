"""One writer per run: a file lock that the system takes back when its owner dies."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from rnnctl.errors import RunLockedError
from rnnctl.runs.seal import inside
from rnnctl.storage import storing

LOCK_NAME = "lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run for writing. RunLockedError names the process that holds it already."""
    path = inside(folder / LOCK_NAME, folder)
    with storing(path):
        file = path.open("a+b")
    with file:
        if not (_try_lock(file) and _is_still(file, path)):
            raise RunLockedError(
                f"{folder} is being written by process {_owner(path)}",
                hint="wait for it, or end it (Ctrl-C there keeps its best weights)",
            )
        with storing(path):
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
            file.flush()
        yield


@contextmanager
def replacing(folder: Path) -> Iterator[None]:
    """Hold the run at `folder`, if there is one, while another takes its place.

    Windows renames no folder in which a file is open: there the lock is asked for and let go.
    """
    with ExitStack() as held:
        if any(folder.glob("*")):
            held.enter_context(locked(folder))
        if os.name == "nt":
            held.close()
        yield


def _is_still(file: IO[bytes], path: Path) -> bool:
    """Whether `path` is that file, and not one of a run that took its place meanwhile."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def is_held(folder: Path) -> bool:
    """Whether some process holds the run now; a lock file that a dead one left does not count."""
    try:
        with (folder / LOCK_NAME).open("r+b") as file:
            return not _try_lock(file)
    except OSError:
        return False


def _owner(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()[:20] or "unknown"
    except (OSError, ValueError):
        return "unknown"


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        # A byte far behind the content: Windows forbids others to read what is locked.
        file.seek(1 << 30)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            file.seek(0)
        return True

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
