"""Scoring word by word against scoring token by token, and minimal pairs in BLiMP's number.

    python tests/benchmarks/speed_words.py [--pairs N] [--rounds N]

Both sides run in this process, one after the other, on the same lines and weights; each round gives
one ratio (token by token / word by word, in seconds; above 1 means that words are faster). Then N
pairs of 9 words (BLiMP has 67,000) are scored once by a word model of WikiText-2's size, with whole
sentences. The weights are random: speed does not depend on them. Prints JSON.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from speed_harness import report, timed
from speed_inference import CASES, make_run, texts, words

from rnnctl.inference.pairs import Pair, score_pairs
from rnnctl.inference.score import Scorer
from rnnctl.inference.words import Plan, WordScorer
from rnnctl.tasks.loading import load

NAMES = ("lstm-512", "gru-512", "words-2x200")


def compared(name: str, rounds: int, folder: Path) -> dict[str, Any]:
    """Seconds a round of the same lines, token by token and word by word."""
    scorer = Scorer(load(make_run(folder, CASES[name], ())))
    some = texts(CASES[name])
    by_word = WordScorer(scorer, Plan())

    def tokens() -> None:
        for text in some:
            scorer.score_tokens(text)

    def rows() -> None:
        by_word.score(some)

    tokens()
    rows()
    measured = [(timed(tokens, 1), timed(rows, 1)) for _ in range(rounds)]
    return {
        "model": name,
        "lines": len(some),
        "seconds_tokens": statistics.median(a for a, _ in measured),
        "seconds_words": statistics.median(b for _, b in measured),
        "ratio": statistics.median(a / b for a, b in measured),
        "lowest_ratio": min(a / b for a, b in measured),
    }


def many_pairs(count: int, folder: Path) -> dict[str, Any]:
    """Seconds for so many pairs of 9 words."""
    scorer = Scorer(load(make_run(folder, CASES["words-2x200"], ())))
    draw, vocabulary = np.random.default_rng(0), words(2000)
    pairs = []
    for line in range(count):
        chosen = [vocabulary[i] for i in draw.integers(len(vocabulary), size=9)]
        other = [*chosen[:5], vocabulary[draw.integers(len(vocabulary))], *chosen[6:]]
        pairs.append(Pair("made up", line, " ".join(chosen), " ".join(other)))
    begin = time.perf_counter()
    scored, problems = score_pairs(scorer, pairs, "sentence")
    assert len(scored) == count and not problems
    return {"pairs": count, "seconds": time.perf_counter() - begin}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=67_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    made: list[dict[str, Any]] = []
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            made.append(compared(name, arguments.rounds, Path(folder)))
    with tempfile.TemporaryDirectory() as folder:
        made.append(many_pairs(arguments.pairs, Path(folder)))
    report("words", made)


if __name__ == "__main__":
    main()
