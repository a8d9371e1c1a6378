"""How often the printed 95 % intervals of `rnnctl diagnose` hold the truth, on new texts.

    python tests/benchmarks/coverage.py                      200 texts a model, 50 seeds of plants
    python tests/benchmarks/coverage.py --texts 40 --plants 20 --models word    less of it
    python tests/benchmarks/coverage.py --names use hold       some measurements only

Texts come from the programs that wrote the bundled corpora (`data/generator`), with numbers that
these did not use, so there is no end of them. Four models read them: a word and a character
language model, a classifier (each trained here for `--seconds`), and one with random weights on
text of independent words, which has nothing to remember.

The truth of a number is its value on a text twenty times as large with twenty times as many items.
HOLD is what a probe of N examples reads, so its truth is the mean over all texts at the same N; the
seeds of its plants are then varied on one text, where the truth is the mean over the seeds. EFFECT
of a classifier fills up with the most neutral sentences of the text, more neutral ones where there
is more of it: there too the truth is the mean over all texts.

Each measurement's numbers go into FOLDER/coverage.jsonl as they are made, and a run that was
stopped goes on where it was. The table at the end, or of what there is with --report, has for each
number the truth, how many intervals hold it with Wilson's interval of that share, and the median
width. 92 to 98 % is what is wanted. Exit code 1 where a share is surely below 92 %.
"""

from __future__ import annotations

import argparse
import json
import sys

if __name__ != "__main__":
    # Scripts beside this one have its folder first on their path, and numba asks for a library of
    # this name: it is to go without, as where that is not installed.
    raise ImportError("this is a benchmark, and not the library coverage")

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "data/generator")]

DOCUMENTS = 120
LARGER = 20
FIRST_NEW = 10_000_000
"""Numbers of paragraphs and reviews from here on are in no bundled split."""
MODELS = ("word", "char", "classifier", "independent")
NAMES = {
    "word": ("use", "first_last", "effect", "hold", "reach", "gates"),
    "char": ("use", "first_last", "effect", "hold", "reach", "gates"),
    "classifier": ("effect", "position", "reach", "gates"),
    "independent": ("use",),
}
TRAINING = {
    "word": ("--documents", "paragraph", "--level", "word", "--cell", "gru", "--hidden-size", "64"),
    "char": (
        "--documents",
        "paragraph",
        "--level",
        "char",
        "--cell",
        "lstm",
        "--hidden-size",
        "96",
    ),
    # REACH and GATES are not defined of a model that reads in both directions.
    "classifier": (
        "--task",
        "classify",
        "--cell",
        "gru",
        "--hidden-size",
        "48",
        "--no-bidirectional",
    ),
    "independent": (
        "--documents",
        "line",
        "--level",
        "word",
        "--cell",
        "lstm",
        "--hidden-size",
        "32",
    ),
}
MULTIPLIED = ("resets", "exchanges", "swaps", "evidence", "sequences", "gate_tokens", "reviews")
WORDS = 200
Numbers = dict[str, tuple[float | None, float | None, float | None, str]]


# -- texts ---------------------------------------------------------------------------------------


def new_documents(model: str, number: int, count: int) -> list[Any]:
    """`count` documents that no other `number` has."""
    from rnnctl.data.documents import Document

    first = FIRST_NEW + number * 100_000
    if model == "classifier":
        from reviews import pair  # type: ignore[import-not-found]

        # One of each pair: both are the same but for a sentence, and documents are resampled as
        # if none knew of another.
        chosen = [pair(k)[1][k % 2] for k in range(first, first + count)]
        return [Document(one.text, one.label) for one in chosen]
    if model == "independent":
        draw = np.random.default_rng(first)
        return [
            Document(" ".join(f"w{k}" for k in draw.integers(WORDS, size=size)))
            for size in draw.integers(60, 260, count)
        ]
    from paragraphs import paragraph  # type: ignore[import-not-found]

    return [Document(paragraph(k)[1]) for k in range(first, first + count)]


def trained(model: str, folder: Path, seconds: float) -> Path:
    """The run of that model, trained if it is not there yet."""
    from rnnctl.__main__ import main

    path = folder / model
    if path.exists():
        return path
    corpus = ROOT / "data/paragraphs/train.txt"
    if model == "classifier":
        corpus = ROOT / "data/reviews"
    if model == "independent":
        corpus = folder / "independent.txt"
        corpus.write_text("\n".join(d.text for d in new_documents(model, 9_999, 200)))
    budget = (
        ("--steps", "1", "--lr", "1e-9") if model == "independent" else ("--budget", f"{seconds}s")
    )
    code = main(["train", str(corpus), "--run", str(path), *TRAINING[model], *budget, "--quiet"])
    assert code == 0, f"training {model} failed"
    return path


# -- measuring -----------------------------------------------------------------------------------


def numbers_of(path: Path, model: str, documents: Sequence[Any], names: Sequence[str],
               *, seed: int, larger: int = 1) -> Numbers:  # fmt: skip
    """Every scalar of a diagnosis: (estimate, lower end, upper end, status), by its name."""
    from rnnctl.diagnostics import settings

    quick = settings.PRESETS["quick"]
    many = {name: getattr(quick, name) * larger for name in MULTIPLIED}
    settings.PRESETS["quick"] = replace(quick, reference=False, **many)
    try:
        result = diagnosed(path, model, documents, names, seed)
    finally:
        settings.PRESETS["quick"] = quick
    found: Numbers = {}
    for name in names:
        record = getattr(result, name)
        for key, value in record.scalars.items():
            ends = (value.ci95[0], value.ci95[1])
            if value.status == "censored" and value.estimate is None:
                ends = (value.ci95[0] if value.ci95[0] is not None else value.censored_at, None)
            found[f"{name}.{key}"] = (value.estimate, *ends, value.status)
    return found


def diagnosed(
    path: Path, model: str, documents: Sequence[Any], names: Sequence[str], seed: int
) -> Any:
    """As `rnnctl diagnose` does on these documents."""
    from rnnctl.diagnostics.diagnose import diagnose
    from rnnctl.diagnostics.material import Text
    from rnnctl.tasks.loading import load

    reference = new_documents(model, 9_998, 400) if model == "classifier" else ()
    return diagnose(load(path), names, text=Text(documents, False, "new", reference), seed=seed)


def work(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Everything to be measured, in an order in which every beginning is useful."""
    for model in arguments.models:
        yield {"model": model, "kind": "truth", "number": 0}
    for number in range(1, max(arguments.texts, arguments.plants) + 1):
        for model in arguments.models:
            if number <= arguments.texts:
                yield {"model": model, "kind": "text", "number": number}
            if number <= arguments.plants and "hold" in NAMES[model]:
                yield {"model": model, "kind": "plants", "number": number}


def measure(task: dict[str, Any], path: Path, names: Sequence[str]) -> Numbers:
    """The numbers of one task of `work`."""
    model, kind, number = task["model"], task["kind"], task["number"]
    if kind == "truth":
        documents = new_documents(model, 0, LARGER * DOCUMENTS)
        others = [name for name in names if name != "hold"]
        return numbers_of(path, model, documents, others, seed=0, larger=LARGER)
    if kind == "plants":
        documents = new_documents(model, 1, DOCUMENTS)
        return numbers_of(path, model, documents, ("hold",), seed=number)
    documents = new_documents(model, number, DOCUMENTS)
    return numbers_of(path, model, documents, names, seed=number)


# -- the table -----------------------------------------------------------------------------------


def report(lines: Sequence[dict[str, Any]]) -> bool:
    """Print one line for each number; False where one is surely held too seldom."""
    from rnnctl.statistics import wilson

    truths = {d["model"]: d["numbers"] for d in lines if d["kind"] == "truth"}
    values: dict[tuple[str, str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for line in lines:
        for name, value in line["numbers"].items():
            if line["kind"] != "truth":
                values[line["model"], line["kind"], name].append(tuple(value))
    print(
        f"{'model':12} {'of':7} {'number':32} {'truth':>9} {'held':>11} {'share [95 %]':>20} width"
    )
    good = True
    for (model, kind, name), found in sorted(values.items()):
        measured = [value for value in found if value[3] in ("ok", "censored", "exploding")]
        truth, status = (truths.get(model, {}).get(name) or (None, None, None, ""))[0::3]
        if name.startswith("hold.") or (model, name[:7]) == ("classifier", "effect."):
            known = [value[0] for value in measured if value[0] is not None]
            truth = mean(known) if known else None
        elif status == "censored":
            truth = float("inf")
        if truth is None or len(measured) < 2:
            continue
        held = sum(_holds(value, truth) for value in measured)
        share = wilson(held, len(measured))
        widths = [v[2] - v[1] for v in measured if v[1] is not None and v[2] is not None]
        if all(v[1] is None and v[2] is None for v in measured):
            continue  # printed without an interval
        width = f"{median(widths):.3g}" if widths else "open"
        said = f"{share.estimate:.0%} [{share.lo:.0%}, {share.hi:.0%}]"
        print(f"{model:12} {kind:7} {name:32} {truth:9.4g} {held:5d}/{len(measured):<5d}", end=" ")
        print(f"{said:>20} {width}")
        good &= share.hi >= 0.92
    horizons = values.get(("independent", "text", "use.n_eff_foreign"), [])
    above = sum(bool(value[0]) or value[3] == "censored" for value in horizons)
    if horizons:
        share = wilson(above, len(horizons))
        print(f"independent words: a horizon above 0 in {above} of {len(horizons)} texts "
              f"[{share.lo:.0%}, {share.hi:.0%}]; wanted: at most 5 %")  # fmt: skip
        good &= share.lo <= 0.05
    return good


def _holds(value: tuple[Any, ...], truth: float) -> bool:
    estimate, low, high, _ = value
    low = estimate if low is None and high is not None else low
    # a number that cannot vary from text to text has no width: equal up to rounding
    slack = 1e-9 * max(1.0, abs(truth)) if np.isfinite(truth) else 0.0
    return bool((low is None or low - slack <= truth) and (high is None or truth <= high + slack))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("coverage"), help="runs and numbers")
    parser.add_argument("--texts", type=int, default=200, help="new texts for each model")
    parser.add_argument("--plants", type=int, default=50, help="seeds of HOLD's plants on one text")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--names", nargs="+", default=None, help="measurements; all by default")
    parser.add_argument("--seconds", type=float, default=40, help="training of each model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="only the table of what there is")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    kept = arguments.folder / "coverage.jsonl"
    lines = [json.loads(one) for one in kept.read_text().splitlines()] if kept.exists() else []
    if not arguments.report:
        import torch

        torch.set_num_threads(arguments.threads)
        done = {(d["model"], d["kind"], d["number"]) for d in lines}
        for task in work(arguments):
            if tuple(task.values()) in done:
                continue
            path = trained(task["model"], arguments.folder, arguments.seconds)
            names = [
                n for n in NAMES[task["model"]] if n in (arguments.names or NAMES[task["model"]])
            ]
            lines.append(task | {"numbers": measure(task, path, names)})
            with kept.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
    return 0 if report(lines) else 1


if __name__ == "__main__":
    sys.exit(main())
