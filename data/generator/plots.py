"""The frames of the paragraphs: the first sentence names somebody and something, so does the last.

Every plot has openings and closings of one sentence each, so that between what is said and where it
is needed stands the whole middle. `{Name} {he} {his}` are the person, `{thing}` is what it is about.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plot:
    """One kind of paragraph. Each opening and each closing has `{Name}` and `{thing}` once."""

    name: str
    openings: list[str]
    closings: list[str]


PLOTS = [
    Plot("promise",
         ["{Name} had promised {his} sister to bring home the {thing}.",
          "Before {he} left, {Name} promised to look for the {thing}.",
          "The {thing} was what {Name} had promised to bring home."],
         ["When {Name} came home at last, {he} had the {thing} in {his} bag.",
          "In the end {Name} kept {his} promise and came home with the {thing}.",
          "So the {thing} was brought home, and {Name} had kept {his} word."]),
    Plot("lost",
         ["{Name} had lost the {thing}, and nobody knew where.",
          "One morning {Name} noticed that the {thing} was gone.",
          "The {thing} that {Name} had borrowed was gone."],
         ["A stranger came up, asked for {Name} and handed over the {thing}.",
          "There, on a bench, {Name} saw the {thing} that {he} had lost.",
          "Then {Name} found the {thing} where {he} had never looked."]),
    Plot("hidden",
         ["Before going away {Name} hid the {thing} in the old house.",
          "Nobody but {Name} knew where the {thing} lay.",
          "{Name} had buried the {thing} in the garden and told nobody."],
         ["In the end {Name} went back and dug up the {thing}.",
          "When {Name} came back, the {thing} was still there.",
          "Only {Name} knew where to look, and there the {thing} was."]),
    Plot("sale",
         ["That day {Name} was to sell the {thing}.",
          "{Name} took the {thing} along, because {he} needed the money.",
          "The {thing} was to be sold, they had told {Name}."],
         ["A dealer bought the {thing}, and {Name} counted the money.",
          "Nobody wanted the {thing}, so {Name} took it home again.",
          "In the evening {Name} sold the {thing} after all."]),
    Plot("gift",
         ["The {thing} was meant for a friend, and {Name} was to deliver it.",
          "{Name} was given the {thing} and told to deliver it.",
          "\"Take the {thing} and do not lose it,\" they had told {Name}."],
         ["At last {Name} knocked at a door and delivered the {thing}.",
          "When the door opened, {Name} held out the {thing}.",
          "A friend took the {thing} and thanked {Name}."]),
    Plot("repair",
         ["The {thing} was broken, and {Name} wanted to have it mended.",
          "{Name} had dropped the {thing}, and it was broken.",
          "Nobody could mend the {thing} that {Name} had broken."],
         ["In the end {Name} mended the {thing} with a piece of wire.",
          "A smith looked at {Name}, took the {thing} and mended it.",
          "Late that day {Name} held the {thing} in {his} hands, as good as new."]),
]  # fmt: skip

# What the middle of some paragraphs says of the two again: from these a model learns to carry them
# over a few words first, and then over many.
REMINDERS = [
    "{Name} thought of the {thing} all day.", "A stranger asked {Name} about the {thing}.",
    "{Name} spoke to nobody about the {thing}.", "The {thing} would not leave {Name} in peace.",
    "\"And the {thing}?\" somebody asked {Name}.",
    "Once more {Name} told {self} that the {thing} could wait.",
]  # fmt: skip
