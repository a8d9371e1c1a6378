"""What got an answer and what did not: records as JSON, warnings, sums at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnctl.cli import console
from rnnctl.errors import DataError
from rnnctl.wording import plural

if TYPE_CHECKING:
    from rnnctl.inference.records import Record


MOST_PROBLEMS = 20  # that are printed one by one


@dataclass(slots=True)
class Problems:
    """Warns of what could not be read or answered, each of the first ones in a line of its own."""

    count: int = 0

    def tell(self, text: str) -> None:
        """One problem more."""
        self.count += 1
        if self.count <= MOST_PROBLEMS:
            console.warn(text)

    def report(self, thing: str, where: str = "") -> None:
        """Say at the end how many were not printed: ``and 5 more texts``."""
        if self.count > MOST_PROBLEMS:
            console.warn(f"and {plural(self.count - MOST_PROBLEMS, thing)}{where}")


@dataclass(slots=True)
class Answered:
    """Counts records of a kind (`thing`), and those that hold an error instead of a text."""

    thing: str
    records: int = 0
    unread: int = 0
    empty: int = 0
    blank: int = 0
    strange: int = 0
    warned: bool = False
    first_error: str = ""

    def count(self, record: Record, *, tokens: int = 0, unknown: int = 0) -> None:
        """One record more; of how many tokens its text is, and how many of them are unknown."""
        self.records += 1
        if record.error and not self.first_error:
            self.first_error = f"{record.where}: {record.error}"
        self.unread += record.is_unread
        self.empty += bool(record.error) and not record.is_unread
        if not record.error:
            self.blank += not record.text.strip()
            # A text without a token (spaces between words, say) is none of unknown ones.
            self.strange += bool(record.text.strip()) and 0 < tokens == unknown

    def as_json(self, record: Record, answer: Mapping[str, object]) -> str:
        """The record with its answer; a warning the first time that names had to give way."""
        if not self.warned and (names := record.renamed(answer)):
            self.warned = True
            listed = ", ".join(f"{old} is called {new}" for old, new in names.items())
            console.warn(
                f"{record.where} already has fields that are called like those of the answer; "
                f"they are kept, and in the answer {listed}"
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

    @property
    def remark(self) -> str:
        """What of the texts says nothing to the model; "" if all do."""
        said = []
        if self.blank:
            verb = "is" if self.blank == 1 else "are"
            said.append(f"{plural(self.blank, self.thing)} {verb} blank")
        if self.strange:
            verb = "holds" if self.strange == 1 else "hold"
            said.append(f"{plural(self.strange, self.thing)} {verb} no token that the model knows")
        whose = "its answer means" if self.blank + self.strange == 1 else "their answers mean"
        return f"{', '.join(said)}: {whose} nothing" if said else ""

    def report(self) -> None:
        """Say at the end what a person should know. DataError if no record could be answered."""
        if self.remark:
            console.note(self.remark)
        failed = self.unread + self.empty
        if failed and failed == self.records:
            raise DataError(
                f"{self.problem}: nothing was answered ({self.first_error})",
                hint="the output has the error of each; --as, --text-field and --encoding set how "
                "the input is read",
            )
        if self.problem:
            console.warn(self.problem)
