"""What a comparison measures itself once members are trained, with nothing else running.

Speed (`speed`), the exchange of `c` against `h` in the state of an LSTM, baselines: models without
a recurrent memory, on the same splits and in the same numbers, and answers to minimal pairs
(`pairs`), where some are asked. Each is kept in the run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnnctl import machine
from rnnctl.compare import pairs, speed
from rnnctl.compare.collect import kept_record, read_member
from rnnctl.compare.plan import has_result
from rnnctl.compare.verdicts.gru import busy_in_words
from rnnctl.data.corpus import sample_places
from rnnctl.errors import RnnctlError
from rnnctl.nn.cells import find_cell
from rnnctl.results.base import Environment, Warning_
from rnnctl.results.comparison import (
    BaselinesResult,
    ExchangeRecord,
    ExchangeResult,
    Row,
    SeedSummary,
    SpeedRecord,
)
from rnnctl.runs import Run
from rnnctl.tasks.base import find_task

if TYPE_CHECKING:
    from rnnctl.data.corpus import Corpus
    from rnnctl.tasks.loading import Loaded

EXCHANGED = 4000  # documents
MOST_TOKENS = 5_000_000  # that an n-gram model is trained on
MOST_DOCUMENTS = 50_000  # that the linear classifier is trained on


def measure(paths: Sequence[Path], cores: int, asked: pairs.Asked | None = None) -> Iterator[str]:
    """Measure what is missing: speed, exchange, baselines, answers; says what comes next."""
    members = {path: read_member(path) for path in paths if has_result(path, "train")}
    trained = [path for path, member in members.items() if not member.untrained]
    text = [path for path in trained if members[path].bench is None]
    # One run of each cell and size, on which speed depends; on the text where there is one.
    first: dict[str, Path] = {}
    for path in text or trained:
        first.setdefault(f"{members[path].cell} {members[path].hidden_size}", path)
    # Speeds are compared within one session only; one row more, and all are measured anew.
    if not _measured_together(list(first.values())):
        yield from speed.measure(first, threads=cores)
    for path in members:
        if not has_result(path, "exchange") and can_be_exchanged(path):
            yield f"exchange of states: {path.name}"
            measure_exchange(path)
    if text and not kept_baselines(text)[0]:
        yield "baselines"
        measure_baselines(text[0])
    if asked is not None:
        yield from ask(paths, asked)


def ask(paths: Sequence[Path], asked: pairs.Asked) -> Iterator[str]:
    """Ask every language model on the text what it did not answer yet; says who comes next.

    An n-gram model of the first one's training text is asked beside it.
    """
    baseline = True
    for path in paths:
        if not has_result(path, "train") or read_member(path).bench is not None:
            continue
        if not pairs.has_answered(path, asked, baseline=baseline):
            yield f"minimal pairs: {path.name}"
            pairs.measure(path, asked, baseline=baseline)
        baseline = False


def _measured_together(paths: Sequence[Path]) -> bool:
    """Whether the speeds of these runs come from one session, in turns, with nothing beside."""
    if not all(has_result(path, "speed") for path in paths):
        return False
    found = [kept_record(Run.open(path), "speed", SpeedRecord) for path in paths]
    sessions = {one.session for one in found}
    return len(sessions) <= 1 and "" not in sessions and not any(map(busy_in_words, found))


# -- the exchange of states ------------------------------------------------------------------------


def can_be_exchanged(path: Path) -> bool:
    """Whether the state of a run has two parts that can be exchanged apart."""
    return find_cell(Run.open(path).config.model.cell).has_cell_state


def measure_exchange(path: Path) -> bool:
    """Exchange `c` against `h` on the held-out text that a run keeps: ``results/exchange.json``.

    False where nothing can be measured: no text, too short documents, another readout.
    """
    from rnnctl.tasks.loading import load

    loaded = load(path)
    record = _of_labels(loaded) if loaded.labels else _of_language(loaded)
    if record is None:
        return False
    environment = Environment(**machine.facts())
    kept = ExchangeResult(environment=environment, seed=0, **dict(record))
    return loaded.run.keep_result("exchange", kept)


def _texts(run: Run) -> tuple[list[str], list[str | None]]:
    found = run.heldout("valid") or run.heldout("test")
    documents = [found[k] for k in sample_places(len(found), EXCHANGED)]
    return [document.text for document in documents], [document.label for document in documents]


def _of_language(loaded: Loaded) -> ExchangeRecord | None:
    import numpy as np

    from rnnctl.diagnostics.exchange import exchange_language, language_pairs
    from rnnctl.nn.models import LanguageModel

    assert isinstance(loaded.model, LanguageModel)
    texts, _ = _texts(loaded.run)
    boundary = loaded.tokenizer.boundary_id
    ids = [np.array([boundary, *loaded.tokenizer.encode(text)], dtype=np.int64) for text in texts]
    pairs = language_pairs(ids)
    return None if pairs is None else exchange_language(loaded.model, pairs)


def _of_labels(loaded: Loaded) -> ExchangeRecord | None:
    import numpy as np

    from rnnctl.diagnostics.exchange import classifier_pairs, exchange_classifier
    from rnnctl.nn.models import Classifier

    assert isinstance(loaded.model, Classifier)
    texts, labels = _texts(loaded.run)
    boundary = loaded.tokenizer.boundary_id
    known = [k for k, label in enumerate(labels) if label in loaded.labels]
    ids = [np.array([*loaded.tokenizer.encode(texts[k]), boundary], np.int64) for k in known]
    found = classifier_pairs(ids, [loaded.labels.index(str(labels[k])) for k in known])
    return None if found is None else exchange_classifier(loaded.model, *found)


# -- baselines ------------------------------------------------------------------------------------


def kept_baselines(paths: Sequence[Path]) -> tuple[tuple[Row, ...], tuple[Warning_, ...]]:
    """The baselines of the first run that keeps some; else why there are none."""
    rows: tuple[Row, ...] = ()
    warnings: tuple[Warning_, ...] = ()
    for path in paths:
        if not rows and has_result(path, "baselines"):
            kept = Run.open(path).read_result("baselines")
            rows = tuple(Row.model_validate(row) for row in kept.get("rows", ()))
            warnings = tuple(Warning_.model_validate(one) for one in kept.get("warnings", ()))
    return rows, warnings


def measure_baselines(path: Path) -> None:
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
        warning = Warning_(
            code="NO_BASELINE", text=f"no n-gram or bag of words for comparison: {_reason(problem)}"
        )
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
    check_same_corpus(run, corpus)  # numbers of another text would stand beside the run's
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
    # The run's own tokens and cuts: bits per byte compare only where the same text is predicted.
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
