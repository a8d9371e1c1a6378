"""Minimal pairs in the shape and number of BLiMP, made of our own words: 67 kinds of 1,000 pairs.

    python tests/benchmarks/blimp_shaped.py FOLDER [--pairs 1000] [--seed 0]

Writes one JSON-lines file for each kind, as BLiMP is distributed, with `sentence_good`,
`sentence_bad`, `UID`, and `attractors` where there are some. The words are frequent ones of
WikiText-2, and stand apart from punctuation as they do there. The kinds are agreement of subject
and verb at several distances, of determiner and noun, of reflexives, negative polarity,
quantifiers, argument structure, irregular forms, tense and word order. Nothing of BLiMP itself is
in it: shares of right pairs compare models with each other, and not with published ones.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

Made = tuple[str, str, int | None]  # right, wrong, attractors
Kind = Callable[[random.Random], Made]

SINGULAR = [
    "film",
    "game",
    "song",
    "album",
    "book",
    "player",
    "ship",
    "team",
    "church",
    "river",
    "road",
    "building",
    "character",
    "writer",
    "singer",
    "director",
    "king",
    "queen",
    "soldier",
    "village",
    "station",
    "bridge",
    "castle",
    "novel",
    "storm",
    "species",
    "island",
    "company",
]
PLURAL = [
    "films",
    "games",
    "songs",
    "albums",
    "books",
    "players",
    "ships",
    "teams",
    "churches",
    "rivers",
    "roads",
    "buildings",
    "characters",
    "writers",
    "singers",
    "directors",
    "kings",
    "queens",
    "soldiers",
    "villages",
    "stations",
    "bridges",
    "castles",
    "novels",
    "storms",
    "species",
    "islands",
    "companies",
]
SAME = {"species"}
PEOPLE = ["writer", "singer", "director", "king", "soldier", "player"]
MEN, WOMEN = (
    ["king", "man", "actor", "brother", "father", "son"],
    ["queen", "woman", "wife", "sister", "mother", "daughter"],
)
ADJECTIVES = [
    "new",
    "old",
    "small",
    "large",
    "famous",
    "young",
    "early",
    "final",
    "local",
    "popular",
]
PLACES = ["near", "in", "behind", "beside", "from"]
TRANSITIVE = ["wrote", "found", "saw", "heard", "left", "lost", "won", "built", "made", "held"]
INTRANSITIVE = ["died", "arrived", "appeared", "fell", "remained", "slept", "rose"]
OBJECTS = ["house", "letter", "city", "song", "film", "gold", "money", "food", "land", "paper"]
PARTICIPLES = {
    "written": "wrote", "taken": "took", "begun": "began", "given": "gave", "known": "knew",
    "seen": "saw", "gone": "went", "become": "became", "driven": "drove", "fallen": "fell",
}  # fmt: skip
LINKED = {"be": ("is", "are"), "was": ("was", "were"), "have": ("has", "have")}
AFTER = {
    "be": "very popular today", "was": "very popular at the time", "have": "been very popular",
}  # fmt: skip


def nouns(draw: random.Random, plural: bool) -> str:
    """A noun whose number can be seen."""
    some = [word for word in (PLURAL if plural else SINGULAR) if word not in SAME]
    return draw.choice(some)


def agreement(between: str, verb: str, plural: bool) -> Kind:
    """A subject, what stands between, and a verb that agrees with the subject or does not.

    between: a word for each piece: adj, same (a noun of the subject's number), other (of the other
    number: an attractor), clause (a relative clause with an attractor), adverb.
    """

    def make(draw: random.Random) -> Made:
        subject = nouns(draw, plural)
        before, behind, attractors = [], [], 0
        for piece in between.split():
            if piece == "adj":
                before.append(draw.choice(ADJECTIVES))
            elif piece == "adverb":
                behind.append(draw.choice(["today", "also", "often", "now"]))
            elif piece == "clause":
                behind.append(f"that the {nouns(draw, not plural)} {draw.choice(TRANSITIVE)}")
                attractors += 1
            else:
                other = piece == "other"
                behind.append(f"{draw.choice(PLACES)} the {nouns(draw, plural != other)}")
                attractors += other
        begin = " ".join(["The", *before, subject, *behind])
        right, wrong = LINKED[verb] if not plural else LINKED[verb][::-1]
        end = f"{AFTER[verb]} ."
        return f"{begin} {right} {end}", f"{begin} {wrong} {end}", attractors

    return make


def determiner(near: bool, plural: bool, adjectives: int) -> Kind:
    """this film / this films."""

    def make(draw: random.Random) -> Made:
        word = {(True, False): "this", (True, True): "these", (False, False): "that",
                (False, True): "those"}[near, plural]  # fmt: skip
        place = draw.choice([k for k, one in enumerate(SINGULAR) if one not in SAME])
        middle = " ".join([word, *draw.sample(ADJECTIVES, adjectives)])
        begin = f"The {draw.choice(PEOPLE)} {draw.choice(TRANSITIVE)} {middle}"
        right, wrong = (PLURAL, SINGULAR) if plural else (SINGULAR, PLURAL)
        return f"{begin} {right[place]} .", f"{begin} {wrong[place]} .", None

    return make


def reflexive(kind: str, distance: bool) -> Kind:
    """The king … himself, and not herself, or themselves."""

    def make(draw: random.Random) -> Made:
        male = draw.random() < 0.5
        subject = draw.choice(MEN if male else WOMEN)
        right = "himself" if male else "herself"
        wrong = ("herself" if male else "himself") if kind == "gender" else "themselves"
        middle = f" {draw.choice(PLACES)} the {nouns(draw, True)}" if distance else ""
        verb = draw.choice(["saw", "found", "called", "described", "killed"])
        begin = f"The {subject}{middle} {verb}"
        return f"{begin} {right} .", f"{begin} {wrong} .", int(distance)

    return make


def template(right: str, wrong: str) -> Kind:
    """Sentences with places for words: {noun}, {nouns}, {person}, {adj}, {verb}, {stays}, …"""

    def make(draw: random.Random) -> Made:
        participle = draw.choice(list(PARTICIPLES))
        words = {
            "noun": nouns(draw, False), "nouns": nouns(draw, True), "person": draw.choice(PEOPLE),
            "adj": draw.choice(ADJECTIVES), "verb": draw.choice(TRANSITIVE),
            "stays": draw.choice(INTRANSITIVE), "object": draw.choice(OBJECTS),
            "place": draw.choice(PLACES), "done": participle, "did": PARTICIPLES[participle],
            "mass": draw.choice(["money", "land", "food", "gold", "water"]),
            "other": nouns(draw, False), "others": nouns(draw, True),
            "year": draw.randint(1900, 2010),
        }  # fmt: skip
        return right.format(**words), wrong.format(**words), None

    return make


TEMPLATES = {
    "npi_no": ("No {person} has ever {done} .", "Some {person} has ever {done} ."),
    "npi_not": ("The {person} has not ever been here .", "The {person} has also ever been here ."),
    "npi_any": ("The {person} did not see any {nouns} .", "The {person} did see any {nouns} ."),
    "quantifier_many": (
        "There are many {nouns} in the city .",
        "There are much {nouns} in the city .",
    ),
    "quantifier_much": (
        "There was much {mass} in the city .",
        "There was many {mass} in the city .",
    ),
    "quantifier_each": ("Each {noun} was in the city .", "Each {nouns} was in the city ."),
    "quantifier_several": (
        "Several {nouns} were in the city .",
        "Several {noun} were in the city .",
    ),
    "there_is_singular": (
        "There is a {noun} {place} the river .",
        "There are a {noun} {place} the river .",
    ),
    "there_is_plural": (
        "There are two {nouns} {place} the river .",
        "There is two {nouns} {place} the river .",
    ),
    "article_plural": ("He saw the {nouns} of the {other} .", "He saw a {nouns} of the {other} ."),
    "transitive": ("The {person} {verb} the {object} .", "The {person} {stays} the {object} ."),
    "passive": (
        "The {object} was found by the {person} .",
        "The {object} was died by the {person} .",
    ),
    "participle_have": (
        "The {person} had {done} it in {year} .",
        "The {person} had {did} it in {year} .",
    ),
    "participle_past": ("The {person} {did} it in {year} .", "The {person} {done} it in {year} ."),
    "participle_passive": ("It was {done} by the {person} .", "It was {did} by the {person} ."),
    "modal": ("The {person} would be at the {noun} .", "The {person} would was at the {noun} ."),
    "infinitive": (
        "The {person} wanted to be in the {noun} .",
        "The {person} wanted to was in the {noun} .",
    ),
    "tense_past": ("In {year} the {noun} was built .", "In {year} the {noun} will built ."),
    "auxiliary_do": (
        "The {person} did not see the {noun} .",
        "The {person} did not saw the {noun} .",
    ),
    "gap_what": (
        "He knew what the {person} {verb} .",
        "He knew what the {person} {verb} the {object} .",
    ),
    "gap_that": (
        "He knew that the {person} {verb} the {object} .",
        "He knew that the {person} {verb} the .",
    ),
    "relative_who": (
        "The {person} who {verb} the {object} was {adj} .",
        "The {person} which {verb} the {object} was {adj} .",
    ),
    "order_adjective": ("It is a {adj} {noun} in the city .", "It is a {noun} {adj} in the city ."),
    "order_determiner": (
        "It was in the {noun} of the city .",
        "It was in {noun} the of the city .",
    ),
    "order_object": ("The {person} {verb} the {object} .", "The {person} the {object} {verb} ."),
    "order_preposition": (
        "The {noun} {place} the river was {adj} .",
        "The {noun} the river {place} was {adj} .",
    ),
    "order_adverb": ("The {noun} has also been {adj} .", "The {noun} also been has {adj} ."),
    "coordination": (
        "The {noun} and the {other} were {adj} .",
        "The {noun} and the {other} was {adj} .",
    ),
    "comparative": (
        "It was more popular than the {noun} .",
        "It was most popular than the {noun} .",
    ),
    "superlative": ("It was the most popular {noun} .", "It was the more popular {noun} of ."),
    "possessive": (
        "The {person} and his {object} were {adj} .",
        "The {person} and him {object} were {adj} .",
    ),
    "case_subject": (
        "They {verb} the {object} in {year} .",
        "Them {verb} the {object} in {year} .",
    ),
    "case_object": ("The {person} saw them in {year} .", "The {person} saw they in {year} ."),
}
LENGTHS = ("", "adj", "adverb", "same", "other", "other other", "clause", "adj other", "same same")


def kinds() -> dict[str, Kind]:
    """67 of them by name, in the order of their difficulty as far as there is one."""
    made: dict[str, Kind] = {}
    for between in LENGTHS:
        for plural in (False, True):
            name = f"agreement_{between.replace(' ', '_') or 'plain'}_{'pl' if plural else 'sg'}"
            made[name] = agreement(between, "be" if len(made) % 3 else "was", plural)
    for plural in (False, True):
        for between in ("", "other"):
            name = f"agreement_have_{between or 'plain'}_{'pl' if plural else 'sg'}"
            made[name] = agreement(between, "have", plural)
    for near, plural, adjectives in ((n, p, k) for n in (0, 1) for p in (0, 1) for k in (0, 1)):
        name = f"determiner_{'this' if near else 'that'}_{'pl' if plural else 'sg'}_{adjectives}"
        made[name] = determiner(bool(near), bool(plural), adjectives)
    for kind in ("gender", "number"):
        for distance in (False, True):
            made[f"reflexive_{kind}{'_far' if distance else ''}"] = reflexive(kind, distance)
    made |= {name: template(*two) for name, two in TEMPLATES.items()}
    return made


def records(pairs: int, seed: int) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Each kind's name and pairs; a pair may come twice, as the words are few."""
    for name, make in kinds().items():
        draw, found = random.Random(f"{seed} {name}"), list[dict[str, object]]()
        while len(found) < pairs:
            right, wrong, attractors = make(draw)
            if right != wrong:
                one: dict[str, object] = {
                    "sentence_good": right,
                    "sentence_bad": wrong,
                    "UID": name,
                }
                found.append(one if attractors is None else {**one, "attractors": attractors})
        yield name, found


def write(folder: Path, pairs: int = 1000, seed: int = 0) -> int:
    """A file for each kind; how many pairs there are."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, found in records(pairs, seed):
        lines = "".join(json.dumps(one) + "\n" for one in found)
        (folder / f"{name}.jsonl").write_text(lines)
        count += len(found)
    return count


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(write(arguments.folder, arguments.pairs, arguments.seed))


if __name__ == "__main__":
    main()
