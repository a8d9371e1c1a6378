"""The id store: every split as ids on disk, mapped into memory, made once and found again.

A store is a directory named by what went in (corpus, tokenizer, cut); it is built under another
name and renamed, so that it is whole or absent, and several processes may build at once. Ids are
kept in the narrowest type that holds the vocabulary (a gigabyte of text in characters makes a store
of a gigabyte) and read as int32. A store that does not fit its manifest is built again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnctl.data.cache import (
    ALWAYS_HASHED,
    building,
    cache_directory,
    storage_errors,
    unaltered,
    write_cached,
)
from rnnctl.data.corpus import Corpus
from rnnctl.data.documents import SPLITS
from rnnctl.data.ids import Ids, SplitIds, split_from_ids
from rnnctl.data.storewriter import RECORD, Keep, SplitWriter, stored_dtype
from rnnctl.data.tokenizers import Tokenizer

__all__ = ["SplitIds", "Store", "build_store", "cache_directory", "open_store", "split_from_ids"]

_FORMAT = 1


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
    final = cache / "stores" / fingerprint[:32]
    found = open_store(final)
    if found:
        return found
    with building(final, lambda path: open_store(path) is not None) as folder:
        _build(folder, corpus, tokenizer, fingerprint, max_tokens, keep)
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
        always = sum(file["size"] for file in files.values()) <= ALWAYS_HASHED
        if not all(unaltered(path / name, file, always=always) for name, file in files.items()):
            return None
        return Store(path, manifest["fingerprint"], manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


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
    write_cached(folder / "manifest.json", json.dumps(manifest).encode())
