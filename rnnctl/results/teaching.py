"""The records of ``rnnctl explain`` and ``rnnctl lesson``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rnnctl.results.base import Estimate, Record, Result


class LessonOutline(Record):
    """What a lesson asks, before it is measured."""

    number: int
    title: str
    question: str
    answers: dict[str, str] = Field(description="what may be predicted, by letter")
    claim: str = Field(description="what the lecture says")
    change: str = Field(description="the option that changes one thing")


class LessonsResult(Result):
    """All lessons."""

    schema_id: Literal["rnnctl.lessons/1"] = "rnnctl.lessons/1"
    lessons: tuple[LessonOutline, ...]


class LessonResult(Result):
    """A lesson that was measured: question, prediction, answer, picture and numbers."""

    schema_id: Literal["rnnctl.lesson/1"] = "rnnctl.lesson/1"
    outline: LessonOutline
    prediction: str | None = Field(None, description="the letter that was typed in")
    right: str = Field(description="the letter that the measurement agrees with")
    answer: str = Field(description="what was measured, in sentences")
    shown: bool | None = Field(
        description="whether the lecture's claim shows in these numbers; None: not judged"
    )
    verdict: str = Field(description="the claim against the numbers, in a sentence")
    picture: tuple[str, ...]
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: dict[str, Estimate] = Field(description="by name and unit, unrounded")
    text: str = Field(description="what was read")
    settings: dict[str, str] = Field(default_factory=dict, description="what was given or changed")
    notes: tuple[str, ...] = ()
    again: str = Field(description="a command that changes one thing")
    look_for: str = Field(description="what to look for then")
    terms: tuple[str, ...] = Field(description="entries of the glossary")
    runs: dict[str, str] = Field(default_factory=dict, description="folders of the trained runs")


class Term(Record):
    """One entry: what a word of the reports means. `parts` by heading, in reading order."""

    term: str
    kind: str
    also: tuple[str, ...] = ()
    summary: str
    parts: dict[str, str] = Field(default_factory=dict)


class GlossaryResult(Result):
    """One entry where a term was asked for, else all of them."""

    schema_id: Literal["rnnctl.glossary/1"] = "rnnctl.glossary/1"
    asked: str | None = None
    terms: tuple[Term, ...]
