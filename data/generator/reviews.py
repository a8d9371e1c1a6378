"""Writes data/reviews/: reviews in which one sentence decides, early, in the middle or late.

Every filler is used twice, once with a positive and once with a negative sentence in the same
place, and both stand in the same split: the words of the filler say nothing about the label.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import words as w
from draw import Draw, fill, sentence
from subjects import COMMON, NEGATIVE, POSITIVE, SUBJECTS, VERDICTS

SEED = 2025
PAIRS = 3000
SENTENCES = (6, 13)  # of a review, the deciding one included
POSITIONS = {"early": (0.0, 0.15), "middle": (0.4, 0.6), "late": (0.85, 1.0)}
HELD_OUT_PER_MILLE = {"valid": 100, "test": 100}


@dataclass(frozen=True)
class Review:
    """One line of the files."""

    id: str
    text: str
    label: str
    position: str


def pair(number: int) -> tuple[str, list[Review]]:
    """The two reviews of that number, and what must not be shared between splits."""
    draw = Draw(SEED, number)
    position = list(POSITIONS)[number % len(POSITIONS)]
    subject = draw.pick(list(SUBJECTS))
    fixed = {"it": SUBJECTS[subject].noun}
    filler = _filler(draw, subject, fixed, draw.between(*SENTENCES) - 1)
    place = round(_between(draw, *POSITIONS[position]) * len(filler))
    reviews = []
    for label in draw.shuffled(["positive", "negative"]):
        decisive = _verdict(draw, subject, fixed, label)
        text = " ".join([*filler[:place], decisive, *filler[place:]])
        reviews.append(Review(f"{number:04d}{'ab'[len(reviews)]}", text, label, position))
    return " ".join(filler), reviews


def _between(draw: Draw, low: float, high: float) -> float:
    return low + (high - low) * draw.below(1001) / 1000


def _filler(draw: Draw, subject: str, fixed: dict[str, str], count: int) -> list[str]:
    """Different sentences that state facts, most of them about the subject."""
    common = draw.between(1, max(1, count // 3))
    own = draw.sample(SUBJECTS[subject].facts, count - common)
    templates = draw.shuffled([*own, *draw.sample(COMMON, count - len(own))])
    return [sentence(fill(template, draw, fixed, w.LISTS)) for template in templates]


def _verdict(draw: Draw, subject: str, fixed: dict[str, str], label: str) -> str:
    """The deciding sentence. `good` is the label's own side, `bad` the other one."""
    sides = [POSITIVE, NEGATIVE] if label == "positive" else [NEGATIVE, POSITIVE]
    lists = {"good": sides[0].adjectives, "bad": sides[1].adjectives, **sides[0].lists}
    template = draw.pick([*VERDICTS, *sides[0].verdicts, *SUBJECTS[subject].verdicts[label]])
    return sentence(fill(template, draw, fixed, lists))


def split_of(key: str) -> str:
    """Which split a pair goes to, by a checksum of its filler."""
    place = zlib.crc32(key.encode()) % 1000
    for name, share in HELD_OUT_PER_MILLE.items():
        if place < share:
            return name
        place -= share
    return "train"


def write(folder: Path) -> None:
    """Write train, valid and test as gzipped JSON lines (no time stamp: same bytes every time)."""
    splits: dict[str, list[Review]] = {"train": [], "valid": [], "test": []}
    for number in range(PAIRS):
        key, reviews = pair(number)
        splits[split_of(key)].extend(reviews)
    folder.mkdir(parents=True, exist_ok=True)
    for split, reviews in splits.items():
        lines = "".join(json.dumps(vars(review)) + "\n" for review in reviews)
        (folder / f"{split}.jsonl.gz").write_bytes(gzip.compress(lines.encode(), 9, mtime=0))
