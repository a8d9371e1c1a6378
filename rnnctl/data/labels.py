"""Labels: as text, in order, and which of two writings of one label is meant."""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rnnctl.errors import DataError

# Kinds of characters that no label holds, by Unicode's names for them.
_UNFIT = {
    "Cc": "a control character",
    "Cs": "a lone surrogate",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
_NAMES = {"\t": "a tab", "\n": "a line break", "\r": "a carriage return", "\x1b": "an escape"}
# A number with something around it: 4, -1.5, 4 stars, grade 3.
_NUMBERED = re.compile(r"([^\d+-]*)([+-]?\d+(?:[.,]\d+)?)(\D*)")
_NO_LABEL = "label that record, or remove it"
_TRUTH = {"true": "1", "false": "0"}


SEVERAL = "\x1f"  # between the labels of a text that has several; no label holds it


def labels_of(name: str) -> tuple[str, ...]:
    """The single labels of one that is written with SEVERAL; () for a text without any."""
    return tuple(part for part in name.split(SEVERAL) if part)


def single_labels(names: Iterable[str]) -> tuple[str, ...]:
    """Every single label of some that are written with SEVERAL, in order."""
    return in_order(part for name in names for part in labels_of(name))


def written_together(labels: Iterable[str]) -> str:
    """Several labels as one name: each once, in order. One for no label is SEVERAL alone."""
    return SEVERAL.join(in_order(labels)) or SEVERAL


class NoLabelError(DataError):
    """A record whose label field is empty."""


class NoLabelsError(DataError):
    """A corpus that holds nothing that could be labels. The hint is for who trains on it."""


def label_text(value: object, where: str, field: str, separator: str | None = None) -> str:
    """A label as text; several, of a list or between separators, as `written_together` writes them.

    Raises: NoLabelError for none, but with a separator, which says that a text may have none;
    DataError for what is no label.
    """
    if separator is not None:
        parts = value if isinstance(value, list) else str(value or "").split(separator)
        known = [part for part in parts if str(part).strip()]
        return written_together(label_text(part, where, field) for part in known)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    # Before the numbers, for in Python True is one.
    if isinstance(value, bool):
        return "true" if value else "false"
    # A column with an empty cell has floats where others have whole numbers.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if number or (isinstance(value, str) and value.strip()):
        label = str(value).strip()
        _check(label, where, field)
        return label
    if isinstance(value, str) and value:
        raise NoLabelError(f"{where}: the label field {field!r} is blank", hint=_NO_LABEL)
    if value == []:
        raise NoLabelError(
            f"{where}: the list of labels in the field {field!r} is empty",
            hint="if a text may have no label, add --label-separator ,; else label that record, or "
            "remove it",
        )
    if value in (None, "") or (isinstance(value, float) and math.isnan(value)):
        raise NoLabelError(f"{where}: the label field {field!r} is empty", hint=_NO_LABEL)
    if isinstance(value, list) and all(isinstance(one, str | int) for one in value):
        return written_together(label_text(one, where, field) for one in value)
    raise DataError(
        f"{where}: {short(value)} in the field {field!r} is not a label",
        hint="name the right one: --label-field FIELD",
    )


def several_labels(where: str, labels: Sequence[str]) -> DataError:
    """What to say of a text that has more than one label."""
    return DataError(
        f"{where}: it looks like {len(labels)} labels in one ({', '.join(labels)[:80]})",
        hint="if a text may have several labels, give the character between them, such as "
        "--label-separator ','; else join them with a hyphen",
    )


def _check(label: str, where: str, field: str) -> None:
    """Raises: DataError for a character that would break the lines that labels are written in.

    Everything else may be part of how a language or an emoji is written: U+200C, U+200D, U+00A0.
    """
    bad = next((char for char in label if unicodedata.category(char) in _UNFIT), None)
    if bad is None:
        return
    name = _NAMES.get(bad) or _UNFIT[unicodedata.category(bad)]
    raise DataError(
        f"{where}: the label {short(label)} in the field {field!r} holds {name} (U+{ord(bad):04X})",
        hint="replace it by a space or remove it; or is another field the label? "
        "--label-field FIELD",
    )


def short(value: object) -> str:
    """A value of a stranger's file, for a message."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels by number where they have one (see `by_number`), by alphabet otherwise."""
    names = sorted(set(labels))
    return by_number(names) or tuple(names)


def by_number(labels: Iterable[str]) -> tuple[str, ...]:
    """Different labels in order, where all are numbers, or one word with a number ("4 stars"), or
    rows of one sign (★★★); () where they are anything else."""
    names = sorted(set(labels))
    parts = [_NUMBERED.fullmatch(name.strip()) for name in names]
    words = {(_singular(part[1]), _singular(part[3])) for part in parts if part}
    if names and all(parts) and len(words) == 1:
        found = [float(part[2].replace(",", ".")) for part in parts if part]
        return tuple(name for _, name in sorted(zip(found, names, strict=True)))
    if all(len(set(name)) == 1 and not name.isalnum() for name in names) and (
        len({name[0] for name in names}) == 1
    ):
        return tuple(sorted(names, key=len))
    return ()


# Words that everybody puts into one order. A column may lack some of a scale's.
_SCALES = [
    tuple(scale.split("/"))
    for scale in (
        "early/middle/mid/late",
        "start/begin/beginning/first/middle/mid/centre/center/end/ending/last",
        "first/second/third/fourth/fifth/sixth/seventh/eighth/ninth/tenth/last",
        "none/zero/very low/low/lower/medium/moderate/middle/mid/average/high/higher/very high",
        "minimal/minor/mild/light/moderate/medium/serious/major/severe/heavy/critical",
        "tiny/very short/short/small/medium/middle/mid/long/large/big/very long/huge",
        "xxs/xs/s/m/l/xl/xxl/xxxl",
        "never/rarely/seldom/sometimes/often/usually/always",
        "terrible/awful/very bad/very negative/bad/negative/poor/fair/neutral/mixed/okay/ok"
        "/average/good/positive/very good/very positive/great/excellent",
        "strongly disagree/disagree/neutral/agree/strongly agree",
        "beginner/easy/elementary/intermediate/medium/moderate/advanced/hard/difficult/expert",
        "before/during/after",
        "monday/tuesday/wednesday/thursday/friday/saturday/sunday",
        "mon/tue/wed/thu/fri/sat/sun",
        "january/february/march/april/may/june/july/august/september/october/november/december",
        "jan/feb/mar/apr/may/jun/jul/aug/sep/oct/nov/dec",
        "spring/summer/autumn/fall/winter",
        "morning/noon/afternoon/evening/night",
    )
]


def on_a_scale(labels: Iterable[str]) -> tuple[str, ...]:
    """Different labels in the order of a known scale, such as low, medium, high; () where they
    are of none, or are fewer than two."""
    names = list(dict.fromkeys(labels))
    forms = [
        " ".join(name.casefold().replace("_", " ").replace("-", " ").split()) for name in names
    ]
    for scale in _SCALES:
        if len(names) > 1 and set(forms) <= set(scale):
            return tuple(sorted(names, key=lambda n: scale.index(forms[names.index(n)])))
    return ()


def naturally(labels: Sequence[str]) -> tuple[str, ...]:
    """Different labels by number, else on a known scale, else as they come first in `labels`."""
    return by_number(labels) or on_a_scale(labels) or tuple(dict.fromkeys(labels))


def _singular(word: str) -> str:
    return word.strip().casefold().removesuffix("s")


def unify(known: Sequence[str], found: Sequence[str]) -> dict[str, str]:
    """Which of the `known` labels each of the `found` ones is, where that is beyond doubt.

    It is for numbers (1, 1.0), for truth values in any case (true, True), for capital and small
    letters where each writes them in one way, and for 1 and 0 where the others are true and false.
    """
    same: dict[str, str] = {}
    by_form: dict[str, list[str]] = {}
    for name in known:
        by_form.setdefault(_form(name), []).append(name)
    forms = [_form(name) for name in found]
    for name, form in zip(found, forms, strict=True):
        meant = by_form.get(form, [])
        if name not in known and len(meant) == 1 and forms.count(form) == 1:
            same[name] = meant[0]
    left = [name for name in found if name not in known and name not in same]
    # Only where all labels are bits on both sides: beside 2 and 3 a 1 is no truth value.
    if left and not same and set(map(_bit, found)) <= {"0", "1"}:
        bits = {_bit(name): name for name in known}
        if set(bits) == {"0", "1"} and len(known) == 2:
            same = {name: bits[_bit(name)] for name in found if name != bits[_bit(name)]}
    return same


def one_writing(found: Sequence[str]) -> dict[str, str]:
    """Labels of one column that are the same beyond doubt (true and True, 1 and 1.0), each with
    the writing that comes first."""
    first: dict[str, str] = {}
    same: dict[str, str] = {}
    for name in found:
        form = _form(name)
        if form not in _TRUTH and not _is_number(form):
            continue
        meant = first.setdefault(form, name)
        if meant != name:
            same[name] = meant
    return same


def resembling(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of labels that differ only in their capital letters or spaces."""
    first: dict[str, str] = {}
    found = []
    for name in labels:
        form = " ".join(name.casefold().split())
        if form in first:
            found.append((first[form], name))
        first.setdefault(form, name)
    return found


def nearest(wrong: str, known: Sequence[str]) -> str | None:
    """The known label that may have been meant."""
    # Without regard to case, in which the known ones and the wrong one may differ as well.
    near = difflib.get_close_matches(wrong.casefold(), [name.casefold() for name in known], 1, 0.6)
    return next((name for name in known if near and name.casefold() == near[0]), None)


def said(same: Mapping[str, str]) -> str:
    """Which labels were taken for which, in words."""
    return ", ".join(f"{new!r:.60} is {old!r:.60}" for new, old in same.items())


def _form(name: str) -> str:
    plain = " ".join(name.casefold().split())
    if not _is_number(plain):
        return plain
    value = float(plain)
    return str(int(value)) if value.is_integer() else repr(value)


def _is_number(text: str) -> bool:
    # Of more digits a float holds not all: such labels are identifiers.
    return re.fullmatch(r"[+-]?\d{1,15}(\.\d{1,15})?", text) is not None


def _bit(name: str) -> Any:
    return _TRUTH.get(_form(name), _form(name))
