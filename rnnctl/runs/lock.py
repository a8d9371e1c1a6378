"""One writer per run: a lock that the system takes back when its owner dies (`filelock`).

The lock file holds the number of the process that writes, to tell whoever else wants to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rnnctl.errors import RunLockedError
from rnnctl.integrity import inside
from rnnctl.storage import storing

if TYPE_CHECKING:
    from filelock import AcquireReturnProxy, FileLock

LOCK_NAME = "lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run for writing. RunLockedError names the process that holds it already."""
    path = inside(folder / LOCK_NAME, folder)
    with storing(path):
        held = _try_lock(path)
    if held is None:
        raise RunLockedError(
            f"{folder} is being written by process {_owner(path)}",
            hint="wait until it ends, or stop it (Ctrl-C there keeps its best weights)",
        )
    with held:
        with storing(path), suppress(PermissionError):  # which Windows has for what is locked
            # Only to tell others: it is the system that holds the lock, also after a kill.
            path.write_text(f"{os.getpid()}\n", "ascii")
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


def is_held(folder: Path) -> bool:
    """Whether some process holds the run now; a lock file that a dead one left does not count."""
    path = folder / LOCK_NAME
    try:
        held = _try_lock(path) if path.is_file() else None
    except OSError:
        return False
    if held is not None:
        held.lock.release()
    return held is None and path.is_file()


def _try_lock(path: Path) -> AcquireReturnProxy[FileLock] | None:
    """The lock, held; None where another holds it, or another run took this one's place."""
    from filelock import FileLock, Timeout  # its import takes as long as all of `rnnctl --help`

    try:
        return FileLock(path).acquire(blocking=False)
    except Timeout:
        return None


def _owner(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()[:20] or "unknown"
    except (OSError, ValueError):
        return "unknown"
