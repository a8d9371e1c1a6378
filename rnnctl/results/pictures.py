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
    before word j. Of a classifier there is one prediction, its answer, with an entry for each of
    the W words.
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


class Unit(Record):
    """One unit of a recurrent layer, counted from 1, measured over a longer text."""

    layer: int
    unit: int
    lasts: float = Field(
        description="tokens until the autocorrelation of its state is below 1/e; 200 at most"
    )
    knows: dict[str, float] = Field(
        description="mutual information with a property of the place, divided by the property's "
        "entropy: 0 nothing, 1 all"
    )
    side: int = Field(description="1 or -1: on which side of its median it is active")
    limit: float = Field(description="active where side times state is above it")


class Units(Record):
    """States and gates of K units along the text, those that tell most first."""

    of: int = Field(description="units of all layers")
    state: str = Field(description="c or h: the state that `units` are about")
    units: tuple[Unit, ...]
    values: dict[str, tuple[tuple[float, ...], ...]] = Field(
        description="(K, T) by name: each state and gate after the token was read"
    )
    before: dict[str, tuple[float, ...]] = Field(
        default_factory=dict, description="(K,) by name: each state before the first token"
    )
    means: dict[str, float] = Field(description="over all units and the longer text")
    active: str = Field(
        description="base64 of K rows of bits, filled up to whole bytes: active after each token "
        "of the longer text"
    )
    ends: tuple[int, ...] = Field(
        description="(S,) the character of the longer text behind each of its tokens"
    )


class Stage(Record):
    """How the gradient of the last word's loss comes back, with the weights of one time."""

    tokens: int | None = Field(description="trained on by then; None: all")
    title: str
    norms: dict[str, tuple[float, ...]] = Field(
        description="by state: length of the derivative of the loss with respect to it, all layers "
        "together. Language models: the last word's loss, (T,) before each token; classifiers: the "
        "answer's, (T + 1,) after each token and the text's end"
    )
    keeps: tuple[float, float] | None = Field(
        None,
        description="of the gate that keeps (forget or keep), on this text and with these weights: "
        "its mean over all units, and what a tenth of the units are above on average; None of a "
        "cell without one",
    )


class SeenRun(Record):
    """One run along the text."""

    path: str
    name: str = Field(description="what the page calls it")
    cell: str
    nonlinearity: str = Field("tanh", description="of a plain RNN: tanh or relu")
    level: str
    hidden: int
    layers: int
    tokens: tuple[str, ...] = Field(description="(T,) what each token of the text writes")
    owner: tuple[int, ...] = Field(description="(T,) the word that each token belongs to")
    answer: str | None = Field(None, description="of a classifier: the label that it gives")
    influence: Influence
    units: Units | None = Field(description="None of a classifier that reads in both directions")
    gradient: tuple[Stage, ...] = Field(
        description="before training, on the way, after it; () of one that reads in both directions"
    )


class Pictures(Result):
    """`rnnctl diagnose RUN --show TEXT --format json`."""

    schema_id: Literal["rnnctl.pictures/1"] = "rnnctl.pictures/1"
    text: str
    source: str = Field(description="where the text is from")
    words: tuple[SeenWord, ...]
    runs: tuple[SeenRun, ...]
    longer: str = Field(description="the longer held-out text that units were measured on")
    focus: int = Field(
        description="a word whose prediction depends on words far back; of classifiers W, the "
        "answer"
    )
    why_focus: str = Field("", description="in a sentence, why it is this word")
