"""A document: one text, its label if it has one, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True)
class Document:
    """`text` never holds lone surrogates; `source` reads "path:line"."""

    text: str
    label: str | None = None
    source: str = ""
