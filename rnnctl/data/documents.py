"""A document: one text, its label if it has one, where it came from, and how it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True)
class Document:
    """`text` never holds lone surrogates; `source` reads "path:line".

    by: what another column says of it, where one was asked for; "" where that is empty.
    """

    text: str
    label: str | None = None
    source: str = ""
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """How a corpus was read, which its run remembers.

    kind: "text", "lines", "csv", "tsv", "json", "jsonl"; "file" for files with a reader of their
    own, such as parquet; or the name of the reader, such as "hub" or "task". unit: what a
    document was: "none" (one running text), "paragraph", "line", "file" or "record". text, label:
    the names of the columns, numbers where there is no header; place: which one is the text, from
    0. own_splits: the corpus came with a validation part.
    """

    kind: str = ""
    unit: str = ""
    encoding: str = "utf-8"
    header: bool = True
    columns: int = 0
    text: str | None = None
    label: str | None = None
    place: int = 0
    own_splits: bool = False

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Reading:
        """From a JSON object; what it does not say, or says strangely, is left open."""
        # The file may be that of an older version, which knew less, or edited by hand.
        usual = asdict(cls())
        known: dict[str, Any] = {}
        for name, value in usual.items():
            kind = str if value is None else type(value)
            if isinstance(facts.get(name), kind):
                known[name] = facts[name]
        return cls(**known)
