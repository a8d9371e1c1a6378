"""From documents as they were given to three splits, with one set of labels for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rnnctl.data.collections import (
    Collection,
    Combined,
    Relabelled,
    Selection,
    content_digest,
    everything,
)
from rnnctl.data.documents import SPLITS
from rnnctl.data.labels import (
    SEVERAL,
    in_order,
    labels_of,
    nearest,
    one_writing,
    resembling,
    said,
    several_labels,
    single_labels,
    unify,
)
from rnnctl.data.request import Request
from rnnctl.data.splitting import Indices, Shares, assign, assign_folds
from rnnctl.errors import DataError, UsageError
from rnnctl.results.base import Warning_
from rnnctl.wording import first_few, plural

_MANY_LABELS = 20
_SHOWN_LABELS = 12


@dataclass(frozen=True, slots=True)
class Divided:
    """The documents of "train", "valid" and "test". `hashes` are of the content as it was given.

    label_names: those that are learnt, () for a language model; label_sets: as `Corpus` has them.
    """

    parts: Mapping[str, Selection]
    hashes: Mapping[str, str]
    label_names: tuple[str, ...]
    label_sets: tuple[str, ...]
    warnings: tuple[Warning_, ...]


def divide(asked: Request, given: Mapping[str, Sequence[Collection]]) -> Divided:
    """Splits as given; what is missing is held out of the training documents.

    Raises: DataError for a corpus that is empty, or whose labels do not suit; UsageError for folds
    of one that cannot have them.
    """
    warnings: list[Warning_] = []
    if asked.labelled:
        given, warnings = _in_one_writing(given, asked.known_labels)
    whole_of = {n: group[0] if len(group) == 1 else Combined(group) for n, group in given.items()}
    train = whole_of.get("all") or whole_of["train"]
    if not len(train.digests):
        raise no_text(asked.config.sources)
    chosen = _chosen(asked, train, whole_of)
    parts = dict(zip(SPLITS, (Selection(train, indices) for indices in chosen), strict=True))
    # Those that were given take the place of what is held out, which then is empty.
    parts |= {name: everything(whole_of[name]) for name in ("valid", "test") if name in whole_of}
    names: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    if asked.labelled:
        several = any(SEVERAL in name for part in parts.values() for name in part.labels)
        names = _label_names(asked, parts, several=several)
        if not asked.other_labels:
            for split in SPLITS:
                parts[split], gone = _of_known_labels(asked, parts, split, names, several=several)
                warnings += gone
        if several:
            sets = tuple(sorted({name for part in parts.values() for name in part.labels}))
    if not asked.known_labels:
        others = [name for name in ("test", "valid") if name in whole_of]
        warnings += _remarks(parts, others, labelled=asked.labelled)
    hashes = {name: content_digest(collection) for name, collection in whole_of.items()}
    return Divided(parts, hashes, names, sets, tuple(warnings))


def no_text(names: Sequence[str]) -> DataError:
    """The error for a corpus of nothing."""
    return DataError(f"{', '.join(names)} holds no text", hint="use a file that has text in it")


def _chosen(
    asked: Request, train: Collection, given: Mapping[str, Collection]
) -> tuple[Indices, Indices, Indices]:
    """Which of the training documents are trained on, and which are held out for the others."""
    if asked.config.fold is not None:
        return _fold(asked, asked.config.fold, train, given)
    shares = asked.shares
    # Then there is nothing to hold out, whether a test split is given or not.
    if "valid" in given:
        shares = Shares(Fraction(1), Fraction(0), Fraction(0))
    elif len(given) > 1:
        shares = shares.without_test()
    return assign(train.digests, train.strata, shares, asked.config.split_seed)


def _fold(
    asked: Request, fold: str, whole: Collection, given: Mapping[str, Collection]
) -> tuple[Indices, Indices, Indices]:
    """One of K parts is the test part; of the others, validation documents are held out."""
    number, count = map(int, fold.split("/"))
    if len(given) > 1:
        raise UsageError(
            "--folds needs a corpus without splits of its own, and this one has them",
            hint="name one of its files, or leave out --folds",
        )
    if whole.strata is None:
        raise UsageError("--folds is for classifiers", hint="add --task classify")
    # Where the last labels have no documents there are fewer counts than labels.
    of_each = np.bincount(whole.strata).tolist()
    for label, documents in zip(whole.label_names, of_each, strict=False):
        if documents < count:
            raise DataError(
                f"the label {label!r:.60} has {plural(documents, 'document')}, too few for "
                f"{count} folds",
                hint=f"use --folds {max(2, documents)}, or leave out that label",
            )
    # By content, as splits are: the order of the documents decides nothing.
    seed = asked.config.split_seed
    parts = assign_folds(whole.digests, whole.strata, count, seed)
    test, rest = np.flatnonzero(parts == number - 1), np.flatnonzero(parts != number - 1)
    # The fold itself is the test part.
    shares = asked.shares.without_test()
    train, valid, _ = assign(whole.digests[rest], whole.strata[rest], shares, seed)
    return rest[train], rest[valid], test


# -- labels ----------------------------------------------------------------------------------


def _in_one_writing(
    given: Mapping[str, Sequence[Collection]], known: Sequence[str]
) -> tuple[Mapping[str, Sequence[Collection]], list[Warning_]]:
    """The same with one writing of every label: that of the run, else the training documents'.

    Collections where texts have several labels are left as they are.
    """
    every = [n for group in given.values() for one in group for n in one.label_names]
    # A set of labels has no number or case that could be compared.
    if any(SEVERAL in name for name in every):
        return given, []
    met = list(known)
    found: dict[str, list[Collection]] = {}
    warnings = []
    for split, group in given.items():
        found[split] = []
        for collection in group:
            same = one_writing(collection.label_names)
            names = in_order(same.get(n, n) for n in collection.label_names)
            _refuse_joined(names)
            if met:
                other = unify(met, names)
                same = {n: other.get(same.get(n, n), same.get(n, n)) for n in (*same, *other)}
            if same:
                text = f"labels with two spellings are treated as one: {said(same)}"
                warnings.append(Warning_(code="same_labels", text=text))
                collection = Relabelled(collection, same)
            met += [name for name in collection.label_names if name not in met]
            found[split].append(collection)
    pairs = ", ".join(f"{a!r:.60} and {b!r:.60}" for a, b in resembling(met))
    if pairs:
        text = f"similar labels are kept as different labels: {pairs}"
        warnings.append(Warning_(code="resembling_labels", text=text))
    return found, warnings


def _refuse_joined(names: Sequence[str]) -> None:
    """Raises: DataError for labels such as "bread|sauce" beside "bread" and "sauce"."""
    for name in names:
        parts = [part.strip() for part in re.split(r"[,;|]", name)]
        if len(parts) > 1 and set(parts) <= set(names):
            raise several_labels(f"the label {name!r:.60}", parts)


def _label_names(
    asked: Request, parts: Mapping[str, Selection], *, several: bool
) -> tuple[str, ...]:
    """The labels of the run or of the training documents; of all, where others are allowed.

    several: a text may have several, and `Selection.labels` are the sets that occur. DataError
    where there are fewer than two to tell apart.
    """
    if asked.other_labels:
        every = (name for split in SPLITS for name in parts[split].labels)
        return single_labels(every) if several else in_order(every)
    names = asked.known_labels or _occurring(parts["train"], several=several)
    if len(names) >= 2:
        return names
    which = f"only the label {names[0]!r}" if names else "no label"
    hint = "check --label-field, or use a corpus with more classes"
    if several:
        which = f"the labels {_shown(names)}"
        hint = "check --label-field and --label-separator"
    raise DataError(f"the training documents have {which}: a classifier needs two", hint=hint)


def _occurring(part: Selection, *, several: bool) -> tuple[str, ...]:
    return single_labels(part.labels) if several else part.labels


def _of_known_labels(
    asked: Request,
    parts: Mapping[str, Selection],
    split: str,
    names: Sequence[str],
    *,
    several: bool,
) -> tuple[Selection, list[Warning_]]:
    """The documents of a split that have no other labels than these, and what is said of the
    others. DataError where there are others, unless they are to be dropped."""
    part = parts[split]
    new = [name for name in _occurring(part, several=several) if name not in names]
    if not new:
        return part, []
    who = "the run" if asked.known_labels else "train"
    what = "the corpus" if asked.known_labels else split
    # Not by default: a label that is misspelt in one of the files would go unnoticed.
    if asked.config.new_labels != "drop":
        raise _new_labels(what, who, new, names)
    # Without one of its labels a document of several would be mislabelled: it goes as a whole.
    unfit = [name for name in part.labels if not set(new).isdisjoint(labels_of(name))]
    kept = _without(part, unfit)
    gone = plural(len(part) - len(kept), "document")
    text = f"{gone} of {what} with labels that {who} lacks left out: {_shown(new)}"
    return kept, [Warning_(code="new_labels", text=text)]


def _without(selection: Selection, labels: Sequence[str]) -> Selection:
    """The documents that have none of these labels."""
    strata, names = selection.collection.strata, selection.collection.label_names
    assert strata is not None
    numbers = [names.index(label) for label in labels]
    kept = ~np.isin(strata[selection.indices], numbers)
    return Selection(selection.collection, selection.indices[kept])


def _new_labels(what: str, who: str, new: Sequence[str], known: Sequence[str]) -> DataError:
    meant = next((near for near in (nearest(name, known) for name in new) if near), None)
    mean = f"did you mean {meant!r:.60}? " if meant else ""
    return DataError(
        f"{what} has {plural(len(new), 'label')} that {who} lacks: {_shown(new)}; "
        f"{who} has {_shown(known)}",
        hint=f"{mean}correct them, or leave these documents out with --new-labels drop",
    )


def _shown(labels: Sequence[str]) -> str:
    return first_few([f"{name!r:.60}" for name in labels], _SHOWN_LABELS)


# -- remarks ---------------------------------------------------------------------------------


def _remarks(
    parts: Mapping[str, Selection], others: Sequence[str], *, labelled: bool
) -> Iterator[Warning_]:
    """What should be said of documents in splits; `others` were given beside the training ones."""
    for name in others:
        yield from _shared(parts, name)
    if labelled:
        for name in others:
            yield from _missing_labels(parts, name)
        yield from _many_labels(parts["train"])


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
    count = plural(len(both), "text is", "texts are")
    text = f"{count} in both train and {other}, for example {examples}"
    yield Warning_(code=f"train_{other}_overlap", text=text)


def _missing_labels(parts: Mapping[str, Selection], other: str) -> Iterator[Warning_]:
    """If a split lacks labels that are learnt."""
    lacked = set(parts["train"].labels) - set(parts[other].labels)
    if lacked:
        which = first_few([f"{name!r:.60}" for name in in_order(lacked)])
        text = f"train has {plural(len(lacked), 'label')} that {other} lacks: {which}"
        yield Warning_(code=f"{other}_lacks_labels", text=text)


def _many_labels(train: Selection) -> Iterator[Warning_]:
    """If nearly every document has a label of its own, as no classes are."""
    labels, documents = len(train.labels), len(train)
    if labels > _MANY_LABELS and labels * 2 > documents:
        text = (
            f"the {documents} training documents have {labels} different labels, the first is "
            f"{train.labels[0]!r:.60}: is another column the label? --label-field FIELD names it"
        )
        yield Warning_(code="many_labels", text=text)
