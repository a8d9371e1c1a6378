"""Every write of a run goes through here: temporary name, flush to the disk, rename.

Each step that the system can interrupt passes a named fault point, so that tests can kill the
process or fill the disk exactly there. In normal use the points cost one comparison.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rnnctl.data.cache import process_lives
from rnnctl.errors import StorageError

FaultHook = Callable[[str, Path], None]
_hook: FaultHook | None = None

# Of Linux's <fcntl.h> and <linux/fs.h>.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EFBIG: "the file would be larger than allowed",
}


@contextmanager
def faults(hook: FaultHook) -> Iterator[None]:
    """Call `hook(point, path)` before every write, fsync and rename. For tests."""
    global _hook
    before, _hook = _hook, hook
    try:
        yield
    finally:
        _hook = before


def _point(name: str, path: Path) -> None:
    if _hook is not None:
        _hook(name, path)


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn a failing write into a StorageError that names the file and the reason."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise StorageError(
            f"cannot write {path}: {reason}",
            hint="free some space or choose another place; what was saved before is intact",
        ) from error


def write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there yet and flush it to the disk. Follows no link."""
    with storing(path), path.open("xb") as file:
        _point("write", path)
        file.write(data)
        file.flush()
        _point("fsync", path)
        os.fsync(file.fileno())


def _temporary(path: Path) -> Path:
    """A name beside `path` that nobody can foresee and take; it ends in whose it is."""
    return path.with_name(f".{path.name}.tmp-{os.urandom(8).hex()}-{os.getpid()}")


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: at any instant the old or the new content, never a mixture."""
    temporary = _temporary(path)
    try:
        write_new(temporary, data)
        with storing(path):
            _point("rename", path)
            temporary.replace(path)
            sync_directory(path.parent)
    finally:
        # A leftover is harmless, and on a dying disk the removal may fail like the write did.
        _remove_quietly(temporary)


def write_directory(path: Path, files: Mapping[str, bytes], *, replace: bool = True) -> None:
    """Make the folder `path` with `files` in it, all or nothing.

    One that is there is replaced; without `replace` only an empty one is, and StorageError raised.
    After an error and after a kill, the old or the new folder is there, whole. Where the system
    cannot exchange two names (see `_swap`), a kill between two renames leaves both, whole, under
    hidden names beside `path`.
    """
    temporary = _temporary(path)
    try:
        with storing(path):
            temporary.mkdir(parents=True)
        for name, data in files.items():
            write_new(temporary / name, data)
        with storing(path):
            sync_directory(temporary)
            if not replace and path.exists():
                path.rmdir()  # fails if somebody else has made it meanwhile
            _exchange(temporary, path)
            sync_directory(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_quietly(temporary)  # where `path` was a link, it is one now


def _exchange(new: Path, path: Path) -> None:
    """Rename `new` to `path`; what was there is called `new` then."""
    _point("rename", path)
    if not path.exists():
        new.rename(path)
    elif not _swap(new, path):
        old = _temporary(path)
        path.rename(old)
        try:
            _point("exchange", path)
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


def sync_directory(path: Path) -> None:
    """Flush a folder's entries, so that a rename survives a power cut. Nothing on Windows."""
    _point("fsync", path)
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Add `data` to the end of a file in one write."""
    with storing(path), path.open("ab", buffering=0) as file:
        _point("append", path)
        written = file.write(data)
        if written != len(data):
            raise OSError(errno.ENOSPC, "short write")
        if sync:
            _point("fsync", path)
            os.fsync(file.fileno())


def truncate(path: Path, size: int) -> None:
    """Cut a file to `size` bytes."""
    with storing(path), path.open("r+b") as file:
        _point("truncate", path)
        file.truncate(size)
        os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Remove a file or a folder that nothing refers to any more."""
    _point("remove", path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        _remove_quietly(path)


def _remove_quietly(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # it is garbage; the next writer tries again
        return


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files and folders of writers that were killed."""
    for path in folder.glob(".*.tmp-*"):
        owner = path.name.rpartition("-")[2]
        own = owner == str(os.getpid())
        if own or (owner.isdecimal() and not process_lives(int(owner))):
            remove(path)
