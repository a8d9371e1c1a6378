"""A model that was trained to say a document's first word at its end, through the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnctl.__main__ import main

FIRST = tuple(f"k{k}" for k in range(8))
FILLER = tuple(f"f{k}" for k in range(8))
SHORTEST, LONGEST = 10, 40  # words


def documents(count: int, *, seed: int) -> str:
    """A first word, other words in sentences, a cue, and the first word again; a line for each.

    Lengths are spread evenly over their logarithms: a model learns it in short ones first.
    """
    draw = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        length = round(math.exp(draw.uniform(math.log(SHORTEST), math.log(LONGEST))))
        first = FIRST[draw.integers(len(FIRST))]
        middle = [FILLER[k] for k in draw.integers(len(FILLER), size=length - 3)]
        for stop in (2, *range(12, len(middle) - 8, 10), len(middle) - 2):
            middle[stop] = "."
        lines.append(" ".join([first, *middle, "again", first]))
    return "\n".join(lines) + "\n"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_horizon_of_a_trained_latch_reaches_to_the_first_word(tmp_path: Path) -> None:
    """Right on new texts, so that the first word is needed over a whole document."""
    corpus, new = tmp_path / "latch.txt", tmp_path / "new.txt"
    corpus.write_text(documents(20_000, seed=1))
    new.write_text(documents(1_000, seed=2))
    run, report = tmp_path / "run", tmp_path / "report.json"
    training = (
        "--documents line --level word --cell lstm --hidden-size 32 --init chrono --horizon 40 "
        "--lr 0.012 --no-tied --dropout 0 --steps 9000 --no-diagnose --quiet"
    )
    assert main(["train", str(corpus), *training.split(), "--run", str(run)]) == 0
    asked = ["use", "first_last", "--text", str(new), "--format", "json", "-o", str(report)]
    assert main(["diagnose", str(run), *asked, "--quiet"]) == 0
    found: dict[str, Any] = json.loads(report.read_text())
    told = found["first_last"]["scalars"]
    assert told["right"]["estimate"] > 0.98
    assert told["right_otherwise"]["estimate"] < 0.05
    assert told["worse"]["estimate"] > 0.8  # one partner in eight has the same first word
    low, high = told["rise_per_sentence"]["ci95"]
    assert low > 2 and high > low  # much more than ln 8 = 2.08 of a guess: it is sure, and wrong
    head = found["headline"]
    reached = head["censored_at"] if head["estimate"] is None else head["estimate"]
    assert reached > 0.9 * (LONGEST - 1)
