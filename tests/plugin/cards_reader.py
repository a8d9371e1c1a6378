"""Two readers of another package: of files of index cards, and of texts that are made up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rnnctl.data.corpus import Corpus
from rnnctl.data.documents import Document
from rnnctl.data.readers import FileReader, SchemeReader
from rnnctl.errors import DataError


def cards(path: Path, name: str) -> Iterator[Mapping[str, Any]]:
    """Cards between lines of dashes, with a field in each line: ``text: …``."""
    for card in path.read_text("utf-8").split("\n---\n"):
        lines = [line.partition(": ") for line in card.strip().splitlines()]
        if not all(colon for _, colon, _ in lines):
            raise DataError(f"{name} holds a card without fields")
        yield {field: value for field, _, value in lines}


def make_up(spec: str, task: str, cache: Path) -> Corpus:
    """``made-up:N``: a corpus of N documents."""
    count = int(spec.partition(":")[2])
    documents = [Document(f"made up text number {i}") for i in range(count)]
    return Corpus.from_documents({"train": documents, "valid": documents[:2]}, description=spec)


CARDS = FileReader((".cards",), cards)
MADE_UP = SchemeReader(make_up)
