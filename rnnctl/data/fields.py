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


def pick_fields(
    columns: Sequence[str],
    text_field: str | None,
    label_field: str | None,
    name: str,
    *,
    labelled: bool,
) -> tuple[str, str | None]:
    """The columns of text and label; None for the label if none is evident and none is needed.

    Each is the chosen one, one of a usual name, or the only other one.

    Raises: UsageError for a chosen column that is not there, or one that is chosen for both,
    DataError if none is evident, or two columns have its name.
    """
    if label_field is not None and text_field == label_field:
        raise UsageError(
            f"--text-field and --label-field are both {label_field!r:.80}",
            hint="the field of the label is another one than the field of the text",
        )
    others = [column for column in columns if column != label_field]
    text = _pick_text(columns if text_field is not None else others, text_field, name)
    label = _pick_label(columns, label_field, name, text=text, needed=labelled)
    for field in (text, label):
        if field is not None and list(columns).count(field) > 1:
            raise DataError(
                f"{name} has {list(columns).count(field)} columns that are called {field!r:.80}",
                hint="give each a name of its own, and say which is meant: --text-field and "
                "--label-field",
            )
    return text, label


def _pick_text(columns: Sequence[str], chosen: str | None, name: str) -> str:
    if chosen is not None:
        return _chosen(columns, chosen, "--text-field", name)
    found = _usual(columns, TEXT_NAMES)
    if found is None and len(columns) == 1:
        return columns[0]
    if found is None:
        raise DataError(
            f"{name}: which of its fields is the text? "
            + (f"It has {_listed(columns)}" if columns else "It has none beside the label"),
            hint="name it: --text-field FIELD",
        )
    return found


def _pick_label(
    columns: Sequence[str], chosen: str | None, name: str, *, text: str, needed: bool
) -> str | None:
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
