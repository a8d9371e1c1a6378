"""What is to be seen of runs along one text: which words moved which prediction, what units do.

W words, T tokens, K units. Numbers of words are counted from 0.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rnnctl.results.base import Record, Result


class SeenWord(Record):
    """A word of the text: what stands between whitespace, with the whitespace before it."""

    space: str
    text: str


class Influence(Record):
    """How much every earlier word moved the prediction of each word.

    The lists of `left_out` and `share` have W entries, the j-th of which has j: one for each word
    before word j.
    """

    log_chance: tuple[float, ...] = Field(
        description="(W,) nats: log-probability of each word with the space before it, given the "
        "text before it"
    )
    guesses: tuple[tuple[tuple[str, float], ...], ...] = Field(
        description="(W,) the likeliest tokens where each word begins, with their probabilities"
    )
    left_out: tuple[tuple[float, ...], ...] = Field(
        description="nats: by how much the log-probability of word j falls when word i is left "
        "out of the text; above 0: word i helped"
    )
    share: tuple[tuple[float, ...], ...] = Field(
        description="length of the gradient of word j's log-probability with respect to the "
        "input vectors of word i, divided by the sum of these lengths over i: adds up to 1"
    )
    length: tuple[float, ...] = Field(
        description="(W,) the sum of these lengths, nats per unit of an input vector"
    )


class SeenRun(Record):
    """One run along the text."""

    path: str
    name: str = Field(description="what the page calls it")
    cell: str
    level: str
    hidden: int
    layers: int
    tokens: tuple[str, ...] = Field(description="(T,) what each token of the text writes")
    owner: tuple[int, ...] = Field(description="(T,) the word that each token belongs to")
    influence: Influence


class Pictures(Result):
    """`rnnctl diagnose RUN --show TEXT --format json`."""

    schema_id: Literal["rnnctl.pictures/1"] = "rnnctl.pictures/1"
    text: str
    source: str = Field(description="where the text is from")
    words: tuple[SeenWord, ...]
    runs: tuple[SeenRun, ...]
    focus: int = Field(description="a word whose prediction depends on words far back")
