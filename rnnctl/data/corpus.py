"""From what the user named to documents in three splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rnnctl.config import CorpusConfig
from rnnctl.data.cache import cache_directory
from rnnctl.data.documents import SPLITS, Document
from rnnctl.errors import DataError
from rnnctl.results.base import Warning_


@dataclass(frozen=True)
class Corpus:
    """Documents in the splits "train", "valid" and "test"; valid and test may be empty.

    running: every split is one running text; `documents` then gives consecutive parts of it, which
    are no documents. `fingerprint` is the SHA-256 of the content and how it was cut. `label_names`
    are sorted, () for language models.
    """

    parts: Mapping[str, Iterable[Document]]
    running: bool
    description: str
    fingerprint: str
    label_names: tuple[str, ...] = ()
    warnings: tuple[Warning_, ...] = ()

    def documents(self, split: str) -> Iterator[Document]:
        """The documents of a split, or the parts of its running text, in order."""
        return iter(self.parts.get(split, ()))

    @classmethod
    def from_documents(
        cls, splits: Mapping[str, list[Document]], *, description: str = "documents in memory"
    ) -> Corpus:
        """A corpus of documents at hand."""
        content = hashlib.sha256()
        for name in SPLITS:
            for d in splits.get(name, []):
                content.update(json.dumps([name, d.text, d.label]).encode())
        labels = {d.label for documents in splits.values() for d in documents}
        names = () if None in labels else tuple(sorted(map(str, labels)))
        return cls(splits, False, description, content.hexdigest(), names)


def bundled(name: str = "paragraphs") -> Path:
    """Where the corpus that comes with the package lies: "paragraphs" or "reviews".

    Raises: DataError if the installation lacks it.
    """
    package = Path(__file__).parents[1]
    for root in (package / "bundled", package.parent / "data"):
        if (root / name).exists():
            return root / name
    raise DataError(f"the bundled corpus {name!r} is missing", hint="install rnnctl again")


def open_corpus(
    config: CorpusConfig,
    *,
    task: str = "lm",
    cache: Path | None = None,
    stdin: BinaryIO | None = None,
) -> Corpus:
    """Find, check and split what `config` names; nothing is kept in memory.

    Raises: DataError, UsageError or StorageError, each saying what and where.
    """
    from rnnctl.data.opening import Opener

    return Opener(config, task, cache or cache_directory(), stdin).open()
