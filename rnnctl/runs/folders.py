"""Folders that appear, or take the place of others, whole and at one instant."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from rnnctl.storage import point, storing, sync_directory, temporary, write_new

# Of Linux's <fcntl.h> and <linux/fs.h>.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def write_directory(path: Path, files: Mapping[str, bytes], *, replace: bool = True) -> None:
    """Make the folder `path` with `files` in it, all or nothing.

    One that is there is replaced; without `replace` only an empty one is, and StorageError raised.
    After an error and after a kill, the old or the new folder is there, whole. Where the system
    cannot exchange two names (see `_swap`), a kill between two renames leaves both, whole, under
    hidden names beside `path`.
    """
    with temporary(path) as new:
        with storing(path):
            new.mkdir(parents=True)
        for name, data in files.items():
            write_new(new / name, data)
        with storing(path):
            sync_directory(new)
            if replace:
                _exchange(new, path)
            else:
                _take_place(new, path)
            sync_directory(path.parent)


def _take_place(new: Path, path: Path) -> None:
    """Rename `new` to `path`, which is not there, or is an empty folder. Fails otherwise."""
    if os.name == "nt" and path.exists():
        path.rmdir()
    point("rename", path)
    new.rename(path)


def _exchange(new: Path, path: Path) -> None:
    """Rename `new` to `path`; what was there is called `new` then."""
    point("rename", path)
    if not path.exists():
        new.rename(path)
    elif not _swap(new, path):
        _change_over(new, path)


def _change_over(new: Path, path: Path) -> None:
    """`_exchange` in three renames.

    Between them what was there has a name that is nobody's leftover: it may be all there is.
    """
    old = path.with_name(f".{path.name}.replaced-{os.urandom(8).hex()}")
    path.rename(old)
    try:
        point("exchange", path)
        new.rename(path)
    except OSError:
        old.rename(path)
        raise
    old.rename(new)


def _swap(one: Path, other: Path) -> bool:
    """Exchange two names at one instant. False where it cannot be done: only Linux has the call,
    and not for every network file system.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    names = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other))
    return rename is not None and rename(*names, _RENAME_EXCHANGE) == 0
