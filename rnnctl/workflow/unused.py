"""Options of a corpus that were given and can have no effect on the text that is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnctl.config import CorpusConfig, option_of
from rnnctl.data.corpus import Corpus
from rnnctl.data.sources import Source, arrange
from rnnctl.errors import UsageError

_TEXT = ("documents", "encoding")
_FIELDS = ("text_field", "label_field")


def check_unused(given: Mapping[str, Any], config: CorpusConfig, corpus: Corpus) -> None:
    """UsageError for a setting of `corpus` that was `given` and changed nothing."""
    sources = config.sources
    paths = [Path(source) for source in sources]
    idle: dict[str, str] = {}
    if corpus.running:
        idle |= dict.fromkeys(("max_tokens", "keep"), "one running text is no documents")
    if any(source.startswith("task:") for source in sources):
        names = (*_TEXT, *_FIELDS, "split")
        idle |= dict.fromkeys(names, "a memory task's documents and splits are its own")
    elif any(source.startswith("hub:") for source in sources):
        idle |= dict.fromkeys(_TEXT, "a hub corpus has records")
    elif paths and all(path.is_file() or path.is_dir() for path in paths):
        idle |= _idle_for_files(arrange(paths).files, labelled=bool(corpus.label_names))
    for name, why in idle.items():
        if given.get(name) not in (None, CorpusConfig.model_fields[name].default):
            cut = corpus.running and name in ("max_tokens", "keep")
            raise UsageError(
                f"{option_of(name)} does nothing here: {why}",
                hint="leave it out, or cut the text with --documents" if cut else "leave it out",
            )


def _idle_for_files(layout: Mapping[str, list[Source]], *, labelled: bool) -> dict[str, str]:
    files = [source for group in layout.values() for source in group]
    idle = {}
    if all(source.is_table for source in files):
        idle["documents"] = "a table's records are the documents"
    elif not any(source.is_table for source in files):
        names = _FIELDS[:1] if labelled else _FIELDS  # the first word of a line may be its label
        idle |= dict.fromkeys(names, "plain text has no columns")
    if all(source.kind == ".parquet" for source in files):
        idle["encoding"] = "parquet files say how they are encoded"
    if "valid" in layout:
        idle["split"] = "the corpus comes in parts of its own"
    return idle
