"""Writes data/paragraphs/: paragraphs whose end needs their beginning."""

from __future__ import annotations

import zlib
from pathlib import Path

import words as w
from draw import Draw, fill, sentence
from plots import PLOTS, REMINDERS
from scenes import BRIDGES, SCENES

SEED = 2024
TRAIN_BYTES = 2_000_000
HELD_OUT_PER_MILLE = {"valid": 80, "test": 80}
MIDDLES = (0, 10, 20, 40, 60, 80)  # words between the first and the last sentence, about
# How often a sentence of the middle is a reminder. In three of seven paragraphs none is.
REMINDING = (1, 1, 0.5, 0.2, 0, 0, 0)

PERSONS = {
    "she": {"he": "she", "He": "She", "his": "her", "him": "her", "self": "herself"},
    "he": {"he": "he", "He": "He", "his": "his", "him": "him", "self": "himself"},
}


def paragraph(number: int) -> tuple[str, str]:
    """Paragraph of that number: what must not be shared between splits, and the text."""
    draw = Draw(SEED, number)
    plot = PLOTS[number % len(PLOTS)]
    female = draw.chance(0.5)
    said = {
        **PERSONS["she" if female else "he"],
        "Name": draw.pick(w.WOMEN if female else w.MEN),
        "thing": draw.pick(w.THINGS),
    }
    middle = _middle(draw, draw.pick(MIDDLES), draw.pick(REMINDING))
    templates = [draw.pick(plot.openings), *middle, draw.pick(plot.closings)]
    text = " ".join(sentence(fill(template, draw, said, {})) for template in templates)
    return "/".join([plot.name, said["Name"], said["thing"]]), text


def _middle(draw: Draw, goal: int, reminding: float) -> list[str]:
    """Sentences of one or more scenes, a bridge between two of them; about `goal` words in all."""
    found: list[str] = []
    bridges, reminders = draw.shuffled(BRIDGES), draw.shuffled(REMINDERS)
    for scene in draw.shuffled(list(SCENES.values())):
        for place, step in enumerate(scene):
            if sum(template.count(" ") + 1 for template in found) >= goal:
                return found
            if found and not place:
                found.append(bridges.pop())
            if draw.chance(0.3):
                continue
            if draw.chance(reminding):
                reminders = reminders or draw.shuffled(REMINDERS)
                found.append(reminders.pop())
            else:
                found.append(draw.pick(step))
    return found


def split_of(key: str) -> str:
    """Which split a paragraph goes to, by a checksum of what it is about."""
    place = zlib.crc32(key.encode()) % 1000
    for name, share in HELD_OUT_PER_MILLE.items():
        if place < share:
            return name
        place -= share
    return "train"


def write(folder: Path) -> None:
    """Write train.txt, valid.txt and test.txt: paragraphs, no two alike, with empty lines between."""
    splits: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    seen: set[str] = set()
    size = number = 0
    while size < TRAIN_BYTES:
        key, text = paragraph(number)
        number += 1
        if text in seen:
            continue
        seen.add(text)
        split = split_of(key)
        splits[split].append(text)
        size += len(text.encode()) + 2 if split == "train" else 0
    folder.mkdir(parents=True, exist_ok=True)
    for split, texts in splits.items():
        (folder / f"{split}.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
