"""From plain text by split to documents, labelled by their folders or not, or to running text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rnnctl.data.collections import TextUnits
from rnnctl.data.columns import FIRST_WORD
from rnnctl.data.documents import SPLITS, Reading
from rnnctl.data.labels import NoLabelsError
from rnnctl.data.opening import Text
from rnnctl.data.recognition import few_first_words
from rnnctl.data.request import Found, Request, trained_on
from rnnctl.data.sources import in_label_folders
from rnnctl.data.text import TextFile, beginning
from rnnctl.errors import DataError
from rnnctl.wording import first_few, plural

Texts = Mapping[str, Sequence[Text]]
_EACH = {
    "none": "one running text",
    "paragraph": "each paragraph is a document",
    "line": "each line is a document",
    "file": "each file is a document",
}


def read_texts(asked: Request, texts: Texts) -> Found:
    """The paragraphs, lines or files, as asked for; of running text, how it is read alone."""
    given = {}
    if asked.unit != "none":
        given = {n: [TextUnits([t.file for t in g], asked.unit)] for n, g in texts.items()}
    reading = Reading("text", asked.unit, asked.config.encoding)
    return Found(given, reading, notes=_described(asked, texts, _EACH[asked.unit]))


def read_label_folders(asked: Request, texts: Texts) -> Found:
    """Whole files, labelled by their folders. DataError if there are none."""
    every = [text for group in texts.values() for text in group]
    # All in one folder, whose name tells none of them from the others.
    if len({text.source.path.parent for text in every}) == 1:
        raise _no_labels(every[0].file)
    within, left_out = in_label_folders([text.source for text in every])
    beside = [
        text.file
        for name, group in texts.items()
        for text in group
        if asked.texts_alone and trained_on(name) and text.file.name not in within
    ]
    unlabelled = [TextUnits(beside, "file")] if beside else []
    notes = [
        f"{plural(len(one.digests), 'text')} without a label: for the language model"
        for one in unlabelled
    ]
    given = {}
    for name, group in texts.items():
        kept = [text.file for text in group if text.file.name in within]
        labels = [Path(file.name).parent.name for file in kept]
        given[name] = [TextUnits(kept, "file", labels)]
    how = f"{_EACH['file']}, its folder is the label"
    return Found(
        given,
        Reading("text", "file", asked.config.encoding),
        tuple(unlabelled),
        notes=(*notes, *_described(asked, texts, how)),
        warnings=() if unlabelled else left_out,
    )


def _described(asked: Request, texts: Texts, how: str) -> tuple[str, ...]:
    """What is read, and how; nothing of the bundled text."""
    if not asked.config.sources:
        return ()
    files = [text.file for group in texts.values() for text in group]
    what = files[0].name if len(files) == 1 else plural(len(files), "file")
    if len(texts) > 1:
        what += f" ({', '.join(name for name in SPLITS if name in texts)})"
    chars = sum(file.chars for file in files)
    return (f"{what}: text, {how}; {plural(chars, 'character')}",)


def _no_labels(file: TextFile) -> DataError:
    """What to say of a text without labels, or of one whose first words may be labels.

    "He …", "She …", "Then …": so do lines begin in a story, too.
    """
    first = few_first_words([text for text in beginning(file) if text.strip()])
    if not first:
        return NoLabelsError(
            f"{file.name} has no labels, and a classifier needs them",
            hint='use a table (.csv, .tsv, .jsonl, .parquet) with a label field, lines "label '
            'text", or a folder with one folder of files per label',
        )
    words = first_few([repr(word) for word in first], 4)
    return DataError(
        f"{file.name}: its lines begin with few different words, {words}: are they labels?",
        hint=f"if so, add `--label-field {FIRST_WORD}`; if not, a classifier cannot be trained "
        "on this text, because it has no labels",
    )
