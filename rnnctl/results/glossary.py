"""The record of ``rnnctl explain``, schema ``rnnctl.glossary/1``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rnnctl.results.base import Record, Result


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
