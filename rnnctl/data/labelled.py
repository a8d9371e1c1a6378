"""Whether the lines of a plain text begin with labels. A wrong guess would train on nonsense."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from typing import Final

from rnnctl.data.lines import lines
from rnnctl.data.tables import FASTTEXT, first_word
from rnnctl.data.textfile import TextFile
from rnnctl.errors import DataError

FIRST_WORD: Final = "first-word"  # as a label field: the first word of each line, whatever it is
_PLAIN_LABEL = re.compile(
    r"[+-]?\d{1,2}|pos|neg|neu|positive|negative|neutral|mixed|good|bad|true|false|yes|no|ham|spam"
)
_SAMPLED_LINES = 2000


def labels_lines(file: TextFile) -> bool:
    """Whether a text consists of lines "label text" beyond doubt.

    So it is with ``__label__x …``, and where every line begins with a number or with one of the
    usual names of labels in small letters, and there are few of them.
    """
    first = _first_words(file)
    if first and all(label.startswith(FASTTEXT) for label in first):
        return True
    usual = all(_PLAIN_LABEL.fullmatch(label) for label in first)
    return usual and _few(first)


def no_labels(file: TextFile) -> DataError:
    """What to say of a text without labels, or of one whose first words may be labels.

    "He …", "She …", "Then …": so do lines begin in a story, too.
    """
    first = _first_words(file)
    if not _few(first):
        return DataError(
            f"{file.name} has no labels, and a classifier needs them",
            hint='give a table (.csv, .tsv, .jsonl, .parquet) with a label field, lines "label '
            'text", or a folder with one folder of files per label',
        )
    words = [repr(word) for word, _ in first.most_common(4)]
    more = f" and {len(first) - 4} more" if len(first) > 4 else ""
    return DataError(
        f"{file.name}: its lines begin with few different words, {', '.join(words)}{more}: "
        "are they labels?",
        hint=f"if so, say `--label-field {FIRST_WORD}`; if not, a classifier cannot be trained "
        "on this text, for it has no labels",
    )


def _first_words(file: TextFile) -> Counter[str]:
    """How often each first word begins one of the first lines; empty if a line has one word."""
    first: Counter[str] = Counter()
    for _, text in itertools.islice(lines(file), _SAMPLED_LINES):
        if text.strip():
            label, rest = first_word(text)
            if not rest:
                return Counter()
            first[label] += 1
    return first


def _few(first: Counter[str]) -> bool:
    return 2 <= len(first) <= min(20, first.total() // 5)
