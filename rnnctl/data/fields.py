"""Which column of a table is the text and which the label."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from rnnctl.errors import DataError, UsageError

TEXT_NAMES = (
    "text", "sentence", "content", "review", "review_text", "reviewtext", "review_body", "document",
    "body", "comment", "tweet", "message", "paragraph", "passage", "utterance", "question",
    "headline", "article", "abstract", "description", "title",
)  # fmt: skip
LABEL_NAMES = (
    "label", "labels", "sentiment", "class", "category", "target", "polarity", "label_text",
    "label-coarse", "coarse_label", "rating", "stars", "star_rating", "score", "emotion", "intent",
    "topic", "language", "lang", "tag", "y",
)  # fmt: skip


def pick_text(columns: Sequence[str], chosen: str | None, name: str) -> str:
    """The text's column: the chosen one, one of a usual name, or the only one.

    Raises: UsageError for a chosen column that is not there, DataError if none is evident.
    """
    if chosen is not None:
        return _chosen(columns, chosen, "--text-field", name)
    found = _usual(columns, TEXT_NAMES)
    if found is None and len(columns) == 1:
        return columns[0]
    if found is None:
        raise DataError(
            f"{name}: which of its fields is the text? It has {_listed(columns)}",
            hint="name it: --text-field FIELD",
        )
    return found


def pick_label(
    columns: Sequence[str], chosen: str | None, name: str, *, text: str, needed: bool
) -> str | None:
    """The label's column: the chosen one, one of a usual name, or the only other one.

    Raises: as `pick_text`; None if none is evident and none is `needed`.
    """
    if chosen is not None:
        return _chosen(columns, chosen, "--label-field", name)
    if not needed:
        return None
    others = [column for column in columns if column != text]
    found = _usual(others, LABEL_NAMES) or (others[0] if len(others) == 1 else None)
    if not others:
        raise DataError(
            f"{name} has texts and no labels, and a classifier needs them",
            hint="add a column `label`, or train a language model with --task lm",
        )
    if found is None:
        raise DataError(
            f"{name}: which of its fields is the label? It has {_listed(columns)}",
            hint="name it: --label-field FIELD",
        )
    return found


def usual_names(columns: Sequence[str]) -> int:
    """How many cells of a first row are usual names of texts or labels."""
    return sum(column.strip().lower() in TEXT_NAMES + LABEL_NAMES for column in columns)


def _usual(columns: Sequence[str], names: Sequence[str]) -> str | None:
    lowered = {column.strip().lower(): column for column in reversed(columns)}
    return next((lowered[name] for name in names if name in lowered), None)


def _chosen(columns: Sequence[str], chosen: str, option: str, name: str) -> str:
    if chosen in columns:
        return chosen
    near = difflib.get_close_matches(chosen, columns, n=1, cutoff=0.5)
    raise UsageError(
        f"{option} {chosen!r:.80}: {name} has no such field",
        hint=f"did you mean {near[0]!r}?" if near else f"it has {_listed(columns)}",
    )


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(repr(column)[:60] for column in columns[:12])
    return shown + (f" and {len(columns) - 12} more" if len(columns) > 12 else "")
