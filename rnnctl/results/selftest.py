"""The record of ``rnnctl selftest``, schema ``rnnctl.selftest/1``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rnnctl.results.base import Record, Result


class KnownAnswerItem(Record):
    """One comparison: what is known on paper, and what the instrument measured."""

    name: str
    expected: str
    measured: str
    tolerance: str
    passed: bool


class KnownAnswer(Record):
    """One known answer (GT01 …; RD01 … through a run directory) and what it was held to."""

    id: str
    title: str
    passed: bool
    items: tuple[KnownAnswerItem, ...]


class SelftestResult(Result):
    """How the instrument does on models whose memory is known. `timing` has seconds per id."""

    schema_id: Literal["rnnctl.selftest/1"] = "rnnctl.selftest/1"
    passed: int = Field(description="known answers of which every item is within its tolerance")
    failed: int
    answers: tuple[KnownAnswer, ...]
