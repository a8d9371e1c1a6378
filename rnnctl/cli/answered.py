"""How many of the texts read got an answer, to be said at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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

    def count(self, record: Record) -> None:
        """One record more."""
        self.records += 1
        self.unread += record.is_unread
        self.empty += bool(record.error) and not record.is_unread

    @property
    def problem(self) -> str:
        """``1 of 4 lines could not be read, 2 hold no text``; nothing where all were answered."""
        of = f"of {plural(self.records, self.thing)} "
        said = [f"{self.unread:,} {of}could not be read"] if self.unread else []
        if self.empty:
            verb = "holds" if self.empty == 1 else "hold"
            said.append(f"{self.empty:,} {'' if said else of}{verb} no text")
        return ", ".join(said)
