"""The id store: every split as ids on disk, mapped into memory, made once and found again.

A store is a directory named by what went in (corpus, tokenizer, cut); it is built under another
name and renamed, so that it is whole or absent, and several processes may build at once. Ids are
kept in the narrowest type that holds the vocabulary (a gigabyte of text in characters makes a store
of a gigabyte) and read as int32. A store that does not fit its manifest is built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnctl.data.cache import cache_directory, storage_errors, write_atomically
from rnnctl.data.corpus import Corpus
from rnnctl.data.documents import SPLITS
from rnnctl.data.ids import Ids, SplitIds, split_from_ids
from rnnctl.data.storewriter import RECORD, Keep, SplitWriter, stored_dtype
from rnnctl.data.tokenizers import Tokenizer

__all__ = ["SplitIds", "Store", "build_store", "cache_directory", "open_store", "split_from_ids"]

_FORMAT = 1
# Up to this size a store is hashed whenever it is opened, beyond it only if a file was touched.
_ALWAYS_HASHED = 64 << 20
_ABANDONED_S = 24 * 3600.0


@dataclass(frozen=True)
class Store:
    """Ids of a corpus. `cut_share` is the share of documents cut at `max_tokens`."""

    path: Path
    fingerprint: str
    manifest: dict[str, Any]

    @property
    def label_names(self) -> tuple[str, ...]:
        """What the numbers of `SplitIds.labels` mean."""
        return tuple(self.manifest["label_names"])

    @property
    def cut_share(self) -> float:
        """In [0, 1]; over all splits."""
        return float(self.manifest["cut_share"])

    def split(self, name: str) -> SplitIds:
        """One of "train", "valid", "test"; it may be empty."""
        part = self.manifest["splits"][name]
        records = self._map(f"{name}.documents", RECORD, part["documents"])
        stored = self._map(f"{name}.ids", np.dtype(self.manifest["dtype"]), part["tokens"])
        return SplitIds(
            ids=Ids(stored),
            offsets=np.concatenate([np.zeros(1, np.int64), records["end"]]),
            labels=records["label"] if self.label_names else None,
            chars=records["chars"],
            bytes=records["bytes"],
            words=records["words"],
            unknown=records["unknown"],
            unknown_nats=records["unknown_nats"],
            running=bool(self.manifest["running"]),
        )

    def _map(self, name: str, dtype: np.dtype[Any], length: int) -> np.ndarray[Any, Any]:
        if not length:
            return np.empty(0, dtype=dtype)
        mapped = np.memmap(self.path / name, dtype=dtype, mode="r", shape=(length,))
        # A plain view: slicing a memmap costs microseconds more each time.
        return mapped.view(np.ndarray)


def build_store(
    corpus: Corpus,
    tokenizer: Tokenizer,
    *,
    cache: Path,
    max_tokens: int | None = None,
    keep: Keep = "head",
) -> Store:
    """The store of a corpus, from the cache if it is there and sound.

    Raises: DataError from reading the corpus, StorageError if it cannot be written.
    """
    what = [_FORMAT, corpus.fingerprint, tokenizer.fingerprint, max_tokens, keep]
    fingerprint = hashlib.sha256(json.dumps(what).encode()).hexdigest()
    folder = cache / "stores"
    final = folder / fingerprint[:32]
    found = open_store(final)
    if found:
        return found
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        building = Path(tempfile.mkdtemp(prefix=f".build-{_here()}-{os.getpid()}-", dir=folder))
    try:
        _build(building, corpus, tokenizer, fingerprint, max_tokens, keep)
        with storage_errors(final):
            _publish(building, final)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    store = open_store(final)
    assert store is not None
    return store


def open_store(path: Path) -> Store | None:
    """The store at `path`; None if it is not there, not whole or altered."""
    try:
        manifest = json.loads((path / "manifest.json").read_bytes())
        claimed = manifest.pop("checksum")
        if claimed != _checksum(manifest) or manifest["format"] != _FORMAT:
            return None
        files = {
            f"{name}.{suffix}": part[key]
            for name, part in manifest["splits"].items()
            for suffix, key in (("ids", "ids"), ("documents", "records"))
        }
        always = sum(file["size"] for file in files.values()) <= _ALWAYS_HASHED
        if not all(_sound(path / name, file, always) for name, file in files.items()):
            return None
        return Store(path, manifest["fingerprint"], manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _sound(path: Path, said: dict[str, Any], always: bool) -> bool:
    stat = path.stat()
    if stat.st_size != said["size"]:
        return False
    if not always and stat.st_mtime_ns == said["mtime_ns"]:
        return True
    with path.open("rb") as file:
        return bool(hashlib.file_digest(file, "sha256").hexdigest() == said["sha256"])


def _checksum(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _build(
    folder: Path,
    corpus: Corpus,
    tokenizer: Tokenizer,
    fingerprint: str,
    max_tokens: int | None,
    keep: Keep,
) -> None:
    splits: dict[str, Any] = {}
    cut = documents = 0
    for name in SPLITS:
        with storage_errors(folder):
            writer = SplitWriter(
                folder,
                name,
                tokenizer,
                labels=corpus.label_names,
                max_tokens=max_tokens,
                keep=keep,
            )
            try:
                write = writer.write_running if corpus.running else writer.write_documents
                write(corpus.documents(name))
                splits[name] = writer.close()
            finally:
                writer.abandon()
            for suffix, key in (("ids", "ids"), ("documents", "records")):
                splits[name][key]["mtime_ns"] = (folder / f"{name}.{suffix}").stat().st_mtime_ns
        cut, documents = cut + writer.cut, documents + writer.documents
    manifest = {
        "format": _FORMAT,
        "fingerprint": fingerprint,
        "corpus": corpus.fingerprint,
        "tokenizer": tokenizer.fingerprint,
        "vocab_size": tokenizer.vocab_size,
        "dtype": stored_dtype(tokenizer.vocab_size).str,
        "running": corpus.running,
        "label_names": list(corpus.label_names),
        "cut_share": cut / documents if documents else 0.0,
        "splits": splits,
    }
    manifest["checksum"] = _checksum(manifest)
    write_atomically(folder / "manifest.json", json.dumps(manifest).encode())


def _publish(building: Path, final: Path) -> None:
    """Rename into place; what is there already stays if it is sound, and goes if it is not."""
    try:
        building.rename(final)
    except OSError:
        if open_store(final):
            return
        damaged = building.with_name(f"{building.name}-damaged")
        final.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
        building.rename(final)


def _here() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _remove_abandoned(folder: Path) -> None:
    """What killed processes left: of this machine's dead ones, or a day old."""
    for path in folder.glob(".build-*"):
        parts = path.name.split("-")
        try:
            old = time.time() - path.stat().st_mtime > _ABANDONED_S
        except OSError:
            continue
        if old or (parts[1] == _here() and not _alive(int(parts[2]))):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
