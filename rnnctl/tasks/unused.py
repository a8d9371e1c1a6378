"""Options of a corpus that were given and can have no effect on the text that is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnnctl.config import CorpusConfig, option_of
from rnnctl.data.corpus import Corpus
from rnnctl.errors import UsageError

_TEXT = ("documents", "encoding", "read_as")
_FIELDS = ("text_field", "label_field")


def check_unused(given: Mapping[str, Any], config: CorpusConfig, corpus: Corpus) -> None:
    """UsageError for a setting of `corpus` that was `given` and changed nothing."""
    reading = corpus.reading
    idle: dict[str, str] = {}
    if corpus.running:
        idle |= dict.fromkeys(("max_tokens", "keep"), "one running text is no documents")
    if not corpus.label_names:
        idle["new_labels"] = "a language model reads no labels"
    if reading is not None and config.sources:
        if reading.kind == "task":
            names = (*_TEXT, *_FIELDS, "split")
            idle |= dict.fromkeys(names, "a memory task's documents and splits are its own")
        elif reading.kind == "hub":
            idle |= dict.fromkeys(_TEXT, "a hub corpus has records")
        elif reading.kind == "file":
            idle |= dict.fromkeys(_TEXT, "such files say themselves what they are and how encoded")
        elif reading.unit == "record":
            idle["documents"] = "a table's records are the documents"
        else:
            idle |= dict.fromkeys(_FIELDS, "plain text has no columns")
        if reading.own_splits:
            idle["split"] = "the corpus comes in parts of its own"
        if reading.kind == "lines":
            idle |= dict.fromkeys(("text_field",), "labelled lines have no columns")
    for name, why in idle.items():
        if given.get(name) not in (None, CorpusConfig.model_fields[name].default):
            cut = corpus.running and name in ("max_tokens", "keep")
            raise UsageError(
                f"{option_of(name)} does nothing here: {why}",
                hint="leave it out, or cut the text with --documents" if cut else "leave it out",
            )
