"""Every file is written through here: temporary name, flush to the disk, rename.

Each step that the system can interrupt passes a named fault point, so that tests can kill the
process or fill the disk exactly there. In normal use the points cost one comparison.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from rnnctl.errors import StorageError

FaultHook = Callable[[str, Path], None]
_hook: FaultHook | None = None

INTACT = "free some space or choose another place; what was saved before is intact"
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EFBIG: "the file would be larger than allowed",
}

_TEMPORARY = re.compile(r"\..+\.tmp-[0-9a-f]{16}-([0-9a-f]{8})-(\d{1,10})")
_ABANDONED_S = 24 * 3600.0
_in_use: set[str] = set()  # temporary names of this process


@contextmanager
def faults(hook: FaultHook) -> Iterator[None]:
    """Call `hook(point, path)` before every write, fsync and rename. For tests."""
    global _hook
    before, _hook = _hook, hook
    try:
        yield
    finally:
        _hook = before


def point(name: str, path: Path) -> None:
    """A step that may fail: tests make it."""
    if _hook is not None:
        _hook(name, path)


@contextmanager
def storing(path: Path, hint: str = INTACT) -> Iterator[None]:
    """Turn a failing write into a StorageError that names the file and the reason."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error, hint) from error


def cannot_write(where: Path | str, error: OSError, hint: str = INTACT) -> StorageError:
    """The error for a failed write to a file, or to another place."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return StorageError(f"cannot write {where}: {reason}", hint=hint)


# -- whole files -----------------------------------------------------------------------------


def write_atomic(path: Path, data: bytes, *, private: bool = False, hint: str = INTACT) -> None:
    """Replace `path` by `data`: at any instant the old or the new content, never a mixture."""
    with unfinished(path, private=private, hint=hint) as new:
        new.write(data)
        new.become(path)


@contextmanager
def unfinished(path: Path, *, private: bool = False, hint: str = INTACT) -> Iterator[Unfinished]:
    """A new file beside `path`, which goes at the end of the block unless it became something.

    `private`: nobody else may read it, whatever else is usual here.
    """
    with temporary(path) as name:
        with storing(path, hint):
            file = _create(name, 0o600 if private else 0o666)
        try:
            yield Unfinished(name, path, file, hint)
        finally:
            with suppress(OSError):  # what counts is written by now, or its error is on the way
                file.close()


def _create(name: Path, mode: int) -> BinaryIO:
    """Open a file that is not there yet. Follows no link."""
    # O_BINARY exists on Windows, where line ends would be rewritten without it.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(name, flags, mode), "wb")


class Unfinished:
    """A file that is being written under a temporary name."""

    def __init__(self, name: Path, path: Path, file: BinaryIO, hint: str) -> None:
        self._name, self._path, self._file, self._hint = name, path, file, hint

    def write(self, data: bytes, *, flush: bool = False) -> None:
        """Add `data`; with `flush` whoever follows the file sees it."""
        with storing(self._path, self._hint):
            point("write", self._name)
            self._file.write(data)
            if flush:
                self._file.flush()

    def become(self, path: Path, *, durable: bool = True) -> None:
        """It is whole: give it its name, instead of what is called so now.

        `durable`: wait until it is on the disk. Not so, for what can be made again, it is flushed
        only where it replaces something (a power cut must leave one of the two): waiting for the
        disk takes as long as all the rest of a large file.
        """
        with storing(path, self._hint):
            self._file.flush()
            if durable or path.exists():
                point("fsync", self._name)
                os.fsync(self._file.fileno())
            self._file.close()  # Windows renames no open file
            point("rename", path)
            self._name.replace(path)
            if durable:
                sync_directory(path.parent)


def write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there yet and flush it to the disk."""
    with storing(path), _create(path, 0o666) as file:
        point("write", path)
        file.write(data)
        file.flush()
        point("fsync", path)
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Flush a folder's entries, so that a rename survives a power cut. Nothing on Windows."""
    point("fsync", path)
    if os.name != "nt":
        sync_file(path)


def sync_file(path: Path) -> None:
    """Flush what was written to a file, whoever wrote it."""
    # Windows flushes only what may be written to, other systems open no folder for writing.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- files that grow -------------------------------------------------------------------------


def append(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Add `data` to the end of a file in one write."""
    with storing(path), path.open("ab", buffering=0) as file:
        point("append", path)
        # Without a buffer, so that a disk that is nearly full is noticed here and not at closing.
        written = file.write(data)
        if written != len(data):
            raise OSError(errno.ENOSPC, "short write")
        if sync:
            point("fsync", path)
            os.fsync(file.fileno())


def truncate(path: Path, size: int) -> None:
    """Cut a file to `size` bytes."""
    with storing(path), path.open("r+b") as file:
        point("truncate", path)
        file.truncate(size)
        os.fsync(file.fileno())


# -- temporary names, and what is left under them --------------------------------------------


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """A name beside `path` that nobody can foresee and take; it ends in whose it is.

    What has that name at the end of the block, file or folder, goes.
    """
    whose = f"{_machine()}-{os.getpid()}"
    name = path.with_name(f".{path.name}.tmp-{os.urandom(8).hex()}-{whose}")
    _in_use.add(name.name)
    try:
        yield name
    finally:
        # A leftover is harmless, and on a dying disk the removal may fail like the write did.
        _remove_quietly(name)
        _in_use.discard(name.name)


@cache
def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files and folders of writers that were killed."""
    for path in folder.glob(".*.tmp-*"):
        whose = _TEMPORARY.fullmatch(path.name)
        if whose and path.name not in _in_use and _is_abandoned(path, whose[1], int(whose[2])):
            remove(path)


def _is_abandoned(path: Path, machine: str, process: int) -> bool:
    """Its writer is dead, or, as far as can be told here, does nothing for a day.

    One of our own number is dead too: what we write ourselves is in use.
    """
    if machine == _machine() and (process == os.getpid() or not process_lives(process)):
        return True
    try:
        return time.time() - path.lstat().st_mtime > _ABANDONED_S
    except OSError:
        return False


def process_lives(process: int) -> bool:
    """Whether a process of that number is there (it may be somebody else's)."""
    # A number from a file's name: 0 would ask about our own group, and larger ones are refused.
    if process <= 0 or process > 2**31 - 1:
        return False
    if os.name == "nt":  # there, asking with signal 0 would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def remove(path: Path) -> None:
    """Remove a file or a folder that nothing refers to any more."""
    point("remove", path)
    _remove_quietly(path)


def _remove_quietly(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError:  # it is garbage; the next writer tries again
        return


# -- whole folders -------------------------------------------------------------------------------

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
