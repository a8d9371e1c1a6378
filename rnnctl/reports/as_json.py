"""A result as JSON: the record itself, nothing added, nothing rounded."""

from __future__ import annotations

from rnnctl.reports import Page
from rnnctl.results.base import Result


def render(result: Result, page: Page) -> str:
    """`result` as indented JSON with a final newline; reading it gives an equal record."""
    return result.model_dump_json(indent=2) + "\n"
