"""Writes data/paragraphs/: paragraphs whose end needs their beginning."""

from __future__ import annotations

import zlib
from pathlib import Path

import words as w
from draw import Draw, fill, sentence
from plots import PLOTS, Plot
from scenes import ASIDES, BRIDGES, SCENES, SKIES

SEED = 2024
TRAIN_BYTES = 1_000_000
HELD_OUT_PER_MILLE = {"valid": 60, "test": 60}
WORDS = (80, 250)  # of a paragraph, about

PERSONS = {
    "she": {"he": "she", "He": "She", "his": "her", "him": "her", "self": "herself"},
    "he": {"he": "he", "He": "He", "his": "his", "him": "him", "self": "himself"},
    "I": {"he": "I", "He": "I", "his": "my", "him": "me", "self": "myself"},
}


def paragraph(number: int) -> tuple[str, str]:
    """Paragraph of that number: what must not be shared between splits, and the text."""
    draw = Draw(SEED, number)
    plot = PLOTS[number % len(PLOTS)]
    voice, drawn = _cast(plot, draw)
    goal = draw.between(*WORDS) - 50
    middle = _middle(draw, voice, plot.teller, goal)
    opening = _fill(draw.pick(plot.openings), draw, {**voice, **drawn})
    closing = _fill(draw.pick(plot.closings), draw, {**voice, **drawn})
    if plot.teller and opening.count('"') % 2 == 0:  # the opening has closed its quotation
        middle[0] = '"' + middle[0]
    key = "/".join([plot.name, voice.get("Name", ""), *drawn.values()])
    return key, " ".join([opening, *middle, closing])


def _cast(plot: Plot, draw: Draw) -> tuple[dict[str, str], dict[str, str]]:
    """The person with its pronouns, and what the plot has to remember."""
    female = draw.chance(0.5)
    voice = dict(PERSONS["I" if plot.teller else "she" if female else "he"])
    if not plot.teller:
        voice["Name"] = draw.pick(w.WOMEN if female else w.MEN)
    drawn = plot.draw(draw)
    while drawn.get("Friend") == voice.get("Name", ""):
        drawn = plot.draw(draw)
    voice["sky"] = draw.pick(SKIES[draw.pick(list(SKIES))])
    return voice, drawn


def _fill(template: str, draw: Draw, fixed: dict[str, str]) -> str:
    fixed = {
        **fixed,
        "a": "a",
        "goods": "the fair" if draw.chance(0.5) else "the journey",
        "Place": sentence(fixed.get("place", "")),
        "Hiding": sentence(fixed.get("hiding", "")),
    }
    text = fill(template, draw, fixed, w.LISTS)
    return ". ".join(sentence(part) for part in text.split(". "))


def _middle(draw: Draw, voice: dict[str, str], teller: bool, goal: int) -> list[str]:
    """Sentences of one or more scenes, with asides between, about `goal` words in all."""
    templates: list[str] = []
    asides, bridges = draw.shuffled(ASIDES), draw.shuffled(BRIDGES)
    scenes = draw.shuffled(list(SCENES.values()))
    words = 0
    while words < goal and scenes:
        steps = scenes.pop()
        if templates:
            templates.append(bridges.pop())
        for place, step in enumerate(steps):
            if words >= goal and place:
                break
            if place and draw.chance(0.12):
                continue
            templates.append(draw.pick(step))
            if asides and draw.chance(0.3):
                templates.append(asides.pop())
            words = sum(template.count(" ") + 1 for template in templates)
    return [_told(template, draw, voice, teller) for template in templates]


def _told(template: str, draw: Draw, voice: dict[str, str], teller: bool) -> str:
    """One sentence; inside a quotation the inner marks are single."""
    if template.startswith("{He} ") and not teller and draw.chance(0.2):
        template = template.replace("{He}", "{Name}", 1)
    text = sentence(fill(template, draw, voice, w.LISTS))
    return text.replace('"', "'") if teller else text


def split_of(key: str) -> str:
    """Which split a paragraph goes to, by a checksum of what it is about."""
    place = zlib.crc32(key.encode()) % 1000
    for name, share in HELD_OUT_PER_MILLE.items():
        if place < share:
            return name
        place -= share
    return "train"


def write(folder: Path) -> None:
    """Write train.txt, valid.txt and test.txt, paragraphs separated by an empty line."""
    splits: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    size = number = 0
    while size < TRAIN_BYTES:
        key, text = paragraph(number)
        split = split_of(key)
        splits[split].append(text)
        size += len(text.encode()) + 2 if split == "train" else 0
        number += 1
    folder.mkdir(parents=True, exist_ok=True)
    for split, texts in splits.items():
        (folder / f"{split}.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
