"""The id store: every split as ids on disk, mapped into memory, made once and found again.

A store is a directory named by what went in (corpus, tokenizer, cut); it is built under another
name and renamed, so that it is whole or absent, and several processes may build at once. Ids are
kept in the narrowest type that holds the vocabulary (a gigabyte of text in characters makes a store
of a gigabyte) and read as int32. A store that does not fit its manifest is built again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from rnnctl import integrity
from rnnctl.data.cache import is_intact, kept_folder
from rnnctl.data.corpus import Corpus
from rnnctl.data.documents import SPLITS, Document
from rnnctl.data.ids import Ids, SplitIds
from rnnctl.data.labels import labels_of
from rnnctl.data.text import utf8_length
from rnnctl.data.tokenizers import Tokenizer
from rnnctl.data.tokenizers.base import cut_ids

# Writing one split of a store as it streams by, in constant memory.

Keep = Literal["head", "tail"]

# With the byte order in each type: what is kept is the same on every machine.
RECORD = np.dtype(
    [
        ("end", "<i8"),
        ("label", "<i4"),
        ("chars", "<i8"),
        ("bytes", "<i8"),
        ("words", "<i8"),
        ("unknown", "<i8"),
        ("unknown_nats", "<f8"),
    ]
)
_BUFFERED_RECORDS = 1 << 14
# By code point; the last entry stands for all beyond, none of which is blank.
_BLANK = np.array([chr(code).isspace() for code in range(0x3002)])


class WordCounter:
    """Counts words (between whitespace) of a text that comes in parts."""

    def __init__(self) -> None:
        self.words = 0
        self._inside = False

    def feed(self, text: str) -> None:
        """The next part."""
        if not text:
            return
        codes: NDArray[Any]
        if text.isascii():
            codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
        else:
            codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        blank = np.take(_BLANK, codes, mode="clip")
        # A word begins after each blank that no blank follows, and at the beginning unless a blank
        # stands there.
        self.words += int(np.count_nonzero(blank[:-1] > blank[1:])) + (not blank[0])
        # But not if it began in the part before.
        self.words -= self._inside and not text[0].isspace()
        self._inside = not text[-1].isspace()


def count_words(text: str) -> int:
    """``len(text.split())``, ten times as fast."""
    counter = WordCounter()
    counter.feed(text)
    return counter.words


class SplitWriter:
    """Writes ``<split>.ids`` and ``<split>.documents`` into `folder`."""

    def __init__(
        self,
        folder: Path,
        split: str,
        tokenizer: Tokenizer,
        *,
        labels: tuple[str, ...],
        max_tokens: int | None,
        keep: Keep,
    ) -> None:
        self._tokenizer = tokenizer
        self._dtype = stored_dtype(tokenizer.vocab_size)
        self._numbers = {label: i for i, label in enumerate(labels)}
        self._max_tokens = max_tokens
        self._keep: Keep = keep
        self._ids: BinaryIO = (folder / f"{split}.ids").open("wb")
        self._documents: BinaryIO = (folder / f"{split}.documents").open("wb")
        self._records: list[tuple[Any, ...]] = []
        self.tokens = 0
        self.documents = 0
        self.cut = 0

    def write_running(self, parts: Iterable[Document]) -> None:
        """One text that comes in parts; a token may reach over their borders."""
        held, chars, size, unknown, nats = "", 0, 0, 0, 0.0
        words = WordCounter()
        for part in parts:
            held += part.text
            cut = self._tokenizer.complete_prefix(held)
            n, charge = self._encode(held[:cut], begins=not self.tokens)
            held = held[cut:]
            unknown, nats = unknown + n, nats + charge
            chars, size = chars + len(part.text), size + utf8_length(part.text)
            words.feed(part.text)
        n, charge = self._encode(held, begins=not self.tokens)
        if self.tokens:
            # Running text has no label, -1.
            self._record(-1, chars, size, words.words, unknown + n, nats + charge)

    def write_documents(self, documents: Iterable[Document]) -> None:
        """Documents, each with the boundary after it, cut where they are too long."""
        for document in documents:
            text = document.text
            ids, unknown, nats = self._tokenizer.encode_charged(text)
            kept = cut_ids(ids, self._max_tokens, self._keep)
            if len(kept) < len(ids):
                text = self._tokenizer.cut(text, len(kept), self._keep)
                # Words that were cut off are not charged for.
                if unknown:
                    unknown, nats = self._tokenizer.spelling_nats(text)
                self.cut += 1
            self._write(np.append(kept, np.int32(self._tokenizer.boundary_id)))
            label = self._numbers.get(document.label or "", -1)
            self._record(label, len(text), utf8_length(text), count_words(text), unknown, nats)

    def finish(self) -> dict[str, Any]:
        """Write what is left; what the manifest says of this split."""
        self._flush()
        return {"tokens": self.tokens, "documents": self.documents}

    def close(self) -> None:
        """Close both files as they are."""
        self._ids.close()
        self._documents.close()

    def _encode(self, text: str, *, begins: bool) -> tuple[int, float]:
        # The space that is read before a text stands before its beginning only, not before each
        # part.
        text = self._tokenizer.led(text) if begins else text
        ids, unknown, nats = self._tokenizer.encode_more(text)
        self._write(ids)
        return unknown, nats

    def _write(self, ids: NDArray[np.int32]) -> None:
        self._ids.write(ids.astype(self._dtype).data)
        self.tokens += len(ids)

    def _record(self, *values: Any) -> None:
        self._records.append((self.tokens, *values))
        self.documents += 1
        if len(self._records) >= _BUFFERED_RECORDS:
            self._flush()

    def _flush(self) -> None:
        self._documents.write(np.array(self._records, dtype=RECORD).tobytes())
        self._records.clear()


def stored_dtype(vocab_size: int) -> np.dtype[Any]:
    """The narrowest type for ids below `vocab_size`."""
    return np.dtype("<u1" if vocab_size <= 1 << 8 else "<u2" if vocab_size <= 1 << 16 else "<i4")


_FORMAT = 2


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
            sets=self._sets(),
        )

    def _sets(self) -> NDArray[np.bool_] | None:
        """Which labels (columns) are in which set (rows); None where each text has one label."""
        sets = self.manifest.get("label_sets")
        if not sets:
            return None
        return np.array([[n in labels_of(one) for n in self.label_names] for one in sets])

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
    name = integrity.key([_FORMAT, corpus.fingerprint, tokenizer.fingerprint, max_tokens, keep])
    make = partial(
        _build, name=name, corpus=corpus, tokenizer=tokenizer, max_tokens=max_tokens, keep=keep
    )
    return _read(kept_folder(cache / "stores" / name, make))


def open_store(path: Path) -> Store | None:
    """The store at `path`; None if it is not there, not whole or altered."""
    try:
        return _read(path) if is_intact(path) else None
    except (OSError, ValueError, KeyError):  # a folder of the cache that is no store
        return None


def _read(path: Path) -> Store:
    manifest = json.loads((path / "manifest.json").read_bytes())
    return Store(path, manifest["fingerprint"], manifest)


def _build(
    folder: Path,
    *,
    name: str,
    corpus: Corpus,
    tokenizer: Tokenizer,
    max_tokens: int | None,
    keep: Keep,
) -> None:
    splits: dict[str, Any] = {}
    cut = documents = 0
    for split in SPLITS:
        writer = SplitWriter(
            folder,
            split,
            tokenizer,
            labels=corpus.label_sets or corpus.label_names,
            max_tokens=max_tokens,
            keep=keep,
        )
        with closing(writer):
            write = writer.write_running if corpus.running else writer.write_documents
            write(corpus.documents(split))
            splits[split] = writer.finish()
        cut, documents = cut + writer.cut, documents + writer.documents
    manifest = {
        "format": _FORMAT,
        "fingerprint": name,
        "corpus": corpus.fingerprint,
        "tokenizer": tokenizer.fingerprint,
        "vocab_size": tokenizer.vocab_size,
        "dtype": stored_dtype(tokenizer.vocab_size).str,
        "running": corpus.running,
        "label_names": list(corpus.label_names),
        "label_sets": list(corpus.label_sets),
        "cut_share": cut / documents if documents else 0.0,
        "splits": splits,
    }
    (folder / "manifest.json").write_bytes(json.dumps(manifest).encode())
