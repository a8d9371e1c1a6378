"""What should be said of a corpus that can be used: warnings that go into every result."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from rnnctl.data.collections import Selection
from rnnctl.data.sources import listed
from rnnctl.results.base import Warning_
from rnnctl.wording import plural

_MANY_LABELS = 20


def on_documents(
    parts: Mapping[str, Selection], given: Collection[str], *, labelled: bool
) -> tuple[Warning_, ...]:
    """Of documents in splits, those of `given` being as they were given."""
    others = [name for name in ("test", "valid") if name in given]
    found = [w for name in others for w in _shared(parts, name)]
    if labelled:
        found += [w for name in others for w in _unlike_labels(parts, name)]
        found += _many_labels(parts["train"])
    return tuple(found)


def _shared(parts: Mapping[str, Selection], other: str) -> Iterator[Warning_]:
    """If texts of the training documents stand in another split too."""
    second = parts[other]
    both = np.intersect1d(parts["train"].collection.digests, second.digests)
    if not len(both):
        return
    where = np.flatnonzero(np.isin(second.digests, both))[:3]
    examples = "; ".join(
        f"{d.source} ({' '.join(d.text.split())[:40]}…)"
        for d in second.collection.read(second.indices[where])
    )
    count = plural(len(both), "text stands", "texts stand")
    text = f"{count} in both train and {other}, for instance {examples}"
    yield Warning_(code=f"train_{other}_overlap", text=text)


def _unlike_labels(parts: Mapping[str, Selection], other: str) -> Iterator[Warning_]:
    """If a split has labels that cannot be learnt, or lacks some that are."""
    train, second = set(parts["train"].labels), set(parts[other].labels)
    for has, lacks, names in (("train", other, train - second), (other, "train", second - train)):
        if names:
            which = listed([f"{name!r:.60}" for name in sorted(names)])
            count = plural(len(names), "label")
            text = f"{has} has {count} that {lacks} lacks: {which}"
            yield Warning_(code=f"{lacks}_lacks_labels", text=text)


def _many_labels(train: Selection) -> Iterator[Warning_]:
    """If nearly every document has a label of its own, as no classes are."""
    labels, documents = len(train.labels), len(train)
    if labels > _MANY_LABELS and labels * 2 > documents:
        text = (
            f"the {documents} training documents have {labels} different labels, the first is "
            f"{train.labels[0]!r:.60}: is another column the label? --label-field FIELD names it"
        )
        yield Warning_(code="many_labels", text=text)
