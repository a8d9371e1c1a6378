"""How good classifiers are with the defaults, beside a bag of words: sst, a rare class, IMDb.

python tests/benchmarks/classifier_quality.py DATA sst [BUDGET]
python tests/benchmarks/classifier_quality.py DATA rare
python tests/benchmarks/classifier_quality.py DATA imdb [BUDGET [PRETRAIN]]

DATA is a folder with ``sst/stsa.*``, ``sst/glue_sst2_phrases.*`` and ``imdb/*.jsonl.gz``. sst:
trained on the phrases of the training sentences, validated and tested on whole sentences. rare:
three classes of 80, 15 and 5 % of the fine-grained sentences, with and without ``--class-weights
balanced``, five seeds. imdb: the official parts, with PRETRAIN after a language model of the
training texts.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path
from typing import Any

import rnnctl


def rows_of(path: Path) -> list[tuple[str, str]]:
    """Text and label of labelled lines, or of a table with a header."""
    lines = path.read_text("utf-8").split("\n")
    if path.suffix == ".tsv":
        return [tuple(line.rstrip().split("\t")[:2]) for line in lines[1:] if line]  # type: ignore[misc]
    return [(line[2:].strip(), line[0]) for line in lines if line]


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    """As csv."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def say(name: str, result: Any) -> None:
    """The numbers of the test documents."""
    found = result.splits[-1].classification
    bag = found.bag_of_words
    print(
        f"{name}: accuracy {100 * found.accuracy:.2f}, macro-F1 {100 * found.macro_f1:.2f}, "
        f"calibration {100 * found.calibration_error:.2f} (before "
        f"{100 * (found.calibration_error_before or 0):.2f}), bag of words "
        f"{100 * bag.accuracy:.2f}; {result.steps} steps, {result.epochs:.1f} epochs, "
        f"{result.timing['training_s']:.0f} s",
        flush=True,
    )


def sst(data: Path, budget: str, folder: Path) -> None:
    """Binary, from scratch."""
    phrases = [row for part in (90, 10) for row in rows_of(
        data / f"sst/glue_sst2_phrases.train{part}.tsv")]  # fmt: skip
    write(folder / "train.csv", phrases)
    for part, name in (("dev", "valid"), ("test", "test")):
        write(folder / f"{name}.csv", rows_of(data / f"sst/stsa.binary.{part}"))
    result = rnnctl.train(folder, task="classify", budget=budget, run=folder / "run")
    say(f"sst, {budget}", result)


def imdb(data: Path, budget: str, pretrain: str | None, folder: Path) -> None:
    """From scratch, or after a language model of the same texts."""
    result = rnnctl.train(
        data / "imdb", task="classify", budget=budget, pretrain=pretrain, run=folder / "run"
    )
    say(f"imdb, {budget}, pretrained {pretrain}", result)
    if result.pretrained is not None:
        print(result.pretrained.model_dump_json(), flush=True)


def rare(data: Path, folder: Path) -> None:
    """Macro-F1 with and without weights; `better` counts the seeds."""
    kinds = {"0": "bad", "1": "bad", "2": "so-so", "3": "good", "4": "good"}
    known = [row for part in ("train", "dev", "test") for row in rows_of(
        data / f"sst/stsa.fine.{part}")]  # fmt: skip
    wanted = {"good": 4000, "bad": 750, "so-so": 250}
    chosen = []
    for text, label in known:
        if wanted[kinds[label]] > 0:
            wanted[kinds[label]] -= 1
            chosen.append((text, kinds[label]))
    write(folder / "rare.csv", chosen)
    better = 0
    for seed in range(5):
        scores = []
        for weights in (None, "balanced"):
            result = rnnctl.train(
                folder / "rare.csv", task="classify", epochs=8.0, seed=seed, split="70/10/20",
                run=folder / f"{seed}-{weights}", class_weights=weights,
            )  # fmt: skip
            say(f"seed {seed}, weights {weights}", result)
            scores.append(result.splits[-1].classification.macro_f1)
        better += scores[1] > scores[0]
    print(f"better with weights in {better} of 5 seeds")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        data, what, *more = sys.argv[1:]
        if what == "sst":
            sst(Path(data), (more or ["100s"])[0], Path(place))
        elif what == "imdb":
            budget, pretrain, *_ = (*more, *("10m", None)[len(more) :])
            imdb(Path(data), str(budget), pretrain, Path(place))
        else:
            rare(Path(data), Path(place))
