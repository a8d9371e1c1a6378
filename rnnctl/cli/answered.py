"""The records that were answered: as JSON, and how many got no answer, to be said at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnctl.cli import console
from rnnctl.wording import plural

if TYPE_CHECKING:
    from rnnctl.inference.records import Record


@dataclass(slots=True)
class Answered:
    """Counts records of a kind (`thing`), and those that hold an error instead of a text."""

    thing: str
    records: int = 0
    unread: int = 0
    empty: int = 0
    warned: bool = False

    def count(self, record: Record) -> None:
        """One record more."""
        self.records += 1
        self.unread += record.is_unread
        self.empty += bool(record.error) and not record.is_unread

    def as_json(self, record: Record, answer: Mapping[str, object]) -> str:
        """The record with its answer; a warning the first time that names had to give way."""
        if not self.warned and (names := record.renamed(answer)):
            self.warned = True
            listed = ", ".join(f"{old} is {new}" for old, new in names.items())
            console.warn(
                f"line {record.line} has fields of its own with names of the answer's; they are "
                f"kept, and of the answer {listed}"
            )
        return record.with_answer(answer)

    @property
    def problem(self) -> str:
        """``1 of 4 lines could not be read, 2 hold no text``; nothing where all were answered."""
        of = f"of {plural(self.records, self.thing)} "
        said = [f"{self.unread:,} {of}could not be read"] if self.unread else []
        if self.empty:
            verb = "holds" if self.empty == 1 else "hold"
            said.append(f"{self.empty:,} {'' if said else of}{verb} no text")
        return ", ".join(said)
