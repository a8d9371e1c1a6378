"""Rows to compare with: models that have no recurrent memory, on the same splits and metric."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from rnnctl import machine
from rnnctl.errors import RnnctlError
from rnnctl.results.base import Environment, Warning_
from rnnctl.results.comparison import BaselinesResult, Row, SeedSummary
from rnnctl.runs import Run
from rnnctl.tasks.base import find_task

if TYPE_CHECKING:
    from rnnctl.data.corpus import Corpus

MOST_TOKENS = 5_000_000  # that an n-gram model is trained on
MOST_DOCUMENTS = 50_000  # that the linear classifier is trained on


def measure(path: Path) -> None:
    """Train the baseline of a run's corpus and keep it as ``results/baselines.json`` of the run.

    Hours of training must not be lost for a baseline: where there can be none, because the corpus
    is gone or of one label only, a warning that says why is kept instead.
    """
    run = Run.open(path)
    record = BaselinesResult(environment=Environment(**machine.facts()), rows=())
    try:
        fingerprint, row = _measured(run)
        record = record.model_copy(update={"corpus_fingerprint": fingerprint, "rows": (row,)})
    except (RnnctlError, OSError, ValueError, ArithmeticError, MemoryError) as problem:
        warning = Warning_(code="NO_BASELINE", text=f"there is no baseline: {_reason(problem)}")
        record = record.model_copy(update={"warnings": (warning,)})
    run.keep_result("baselines", record)


def _reason(problem: Exception) -> str:
    if isinstance(problem, RnnctlError):
        return problem.message
    return f"it failed with {type(problem).__name__} {problem}".strip()


def _measured(run: Run) -> tuple[str, Row]:
    """The fingerprint of the corpus, and what the baseline that suits the task makes of it."""
    from rnnctl.data.cache import cache_directory
    from rnnctl.data.corpus import open_corpus
    from rnnctl.training.prepare import check_same_corpus

    corpus = open_corpus(run.config.corpus, task=run.config.model.task, cache=cache_directory())
    check_same_corpus(run, corpus)
    split = "test" if any(True for _ in corpus.documents("test")) else "valid"
    make = linear if find_task(run.config.model.task).labelled else n_gram
    return corpus.fingerprint, make(run, corpus, split)


def _row(name: str, numbers: dict[str, float]) -> Row:
    return Row(
        name=name,
        kind="baseline",
        numbers={
            key: SeedSummary(estimate=value, n=1, seeds=(value,)) for key, value in numbers.items()
        },
    )


def n_gram(run: Run, corpus: Corpus, split: str) -> Row:
    """Interpolated Kneser-Ney over the run's own tokens, unknown ones charged alike."""
    from rnnctl.baselines.ngram import trained_on
    from rnnctl.data.cache import cache_directory
    from rnnctl.data.store import build_store
    from rnnctl.data.tokenizers import Tokenizer

    tokenizer = Tokenizer.load(run.tokenizer_path)
    settings = run.config.corpus
    store = build_store(
        corpus, tokenizer, cache=cache_directory(), max_tokens=settings.max_tokens,
        keep=settings.keep,
    )  # fmt: skip
    model = trained_on(store.split("train"), tokenizer, most_tokens=MOST_TOKENS)
    test = store.split(split)
    nats = sum(float(model.losses(test.document(d)).sum()) for d in range(test.count))
    nats += float(test.unknown_nats.sum())
    return _row(
        f"{model.order}-gram",
        {
            "bits_per_byte": nats / math.log(2) / float(test.bytes.sum()),
            "perplexity": math.exp(nats / len(test.ids)),
        },
    )


def linear(run: Run, corpus: Corpus, split: str) -> Row:
    """Naive-Bayes-weighted logistic regression on words and pairs of words."""
    from sklearn.metrics import f1_score

    from rnnctl.baselines.linear import NaiveBayesLinear
    from rnnctl.data.corpus import sample_documents

    number = {name: at for at, name in enumerate(corpus.label_names)}
    texts: dict[str, list[str]] = {}
    labels: dict[str, list[int]] = {}
    for name in ("train", split):
        kept = [
            one for one in sample_documents(corpus, name, MOST_DOCUMENTS) if one.label in number
        ]
        texts[name] = [document.text for document in kept]
        labels[name] = [number[str(document.label)] for document in kept]
    model = NaiveBayesLinear(texts["train"], labels["train"], classes=len(number))
    found = model.predict(texts[split])
    right = sum(int(a == b) for a, b in zip(found, labels[split], strict=True))
    return _row(
        "bag of words",
        {
            "accuracy": right / len(found),
            "macro_f1": float(f1_score(labels[split], found, average="macro")),
        },
    )
