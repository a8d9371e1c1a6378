"""What `evaluate` does: a corpus, the part of it to judge by, and the numbers by protocol."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from rnnctl.config import COLD_WINDOW, SourceKind
from rnnctl.data.cache import cache_directory
from rnnctl.data.ids import SplitIds
from rnnctl.data.labels import naturally
from rnnctl.data.store import Store, build_store
from rnnctl.errors import DataError, UsageError
from rnnctl.inference.judged_text import JudgedText, Part, choose, kept, training_corpus
from rnnctl.inference.memory import (
    Tried,
    prepared,
    text_nats,
    tune_cache,
    tune_dynamic,
)
from rnnctl.inference.memory_settings import NOTHING, Dynamic, Memory
from rnnctl.inference.training_text import corpus_facts
from rnnctl.machine import Arithmetic, keep_memory
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.results.base import LanguageModelLoss
from rnnctl.results.inference import EvaluateResult, Slice, TunePoint, TuneResult
from rnnctl.results.training import DocumentSums
from rnnctl.statistics import ratio_of_means, resampling_weights
from rnnctl.tasks.classification import advice, classify_split
from rnnctl.tasks.effects import check_unused
from rnnctl.tasks.evaluation import (
    MOST_SUMS,
    STREAMS,
    check_finite,
    chosen,
    cold_nats,
    document_nats,
    loss_of,
    streaming_nats,
    sums_of,
)
from rnnctl.tasks.language_model import spelling_per_token
from rnnctl.tasks.loading import Loaded, environment
from rnnctl.tasks.quality import Judged, Truth, bag_of_words, remarks, with_bag
from rnnctl.wording import plural

LENGTH = "length"  # what `by` says for the number of words
MOST_SLICES = 20  # values of a column
TUNED_CACHE, TUNED_DYNAMIC = 20_000, 6_000  # tokens of the validation text
CONFIRMED = 20_000  # and those on which the best of dynamic evaluation has to prove itself
EXACT_TOKENS = 100_000  # running texts up to this length are read in one stream, from their start


def evaluate(
    loaded: Loaded,
    sources: Sequence[str],
    *,
    part: Part | None = None,
    window: int = COLD_WINDOW,
    label_field: str | None = None,
    text_field: str | None = None,
    encoding: str | None = None,
    read_as: SourceKind | None = None,
    new_labels: Literal["error", "drop"] = "error",
    by: str | None = None,
    memory: Memory = NOTHING,
    stdin: BinaryIO | None = None,
    tell: Callable[[str], None] = lambda note: None,
) -> EvaluateResult:
    """Measure a run on `sources`, or on the held-out text that it keeps where there are none.

    part: which split; by default test where the corpus has one, else valid, else all of it.
    window: tokens, for the cold protocol; at most the whole text. text_field, label_field,
    encoding, read_as: how the corpus is to be read, by default as that of the training was. by: a
    column by whose values the documents are sorted and measured apart, or "length". memory: what a
    language model has beside its state; then the cold protocol is left out. tell: called
    with each sentence that says what was decided about the corpus.

    Raises DataError, UsageError, RunError.
    """
    keep_memory()
    own = _is_of(loaded, sources)
    settings = loaded.config.corpus.model_copy(
        update={
            "sources": tuple(sources),
            "text_field": text_field or loaded.config.corpus.text_field,
            "label_field": label_field or loaded.config.corpus.label_field,
            "encoding": encoding or loaded.config.corpus.encoding,
            "read_as": read_as or loaded.config.corpus.read_as,
            "new_labels": new_labels,
            "read_for": loaded.config.corpus.read_for if own else None,
            "unlabelled": loaded.config.corpus.unlabelled if own else "error",
        }
    )
    column = None if by == LENGTH else by
    if column is not None and not sources:
        raise UsageError(
            f"--by {column}: the text that the run keeps has no columns",
            hint="name the corpus, or sort by the number of words with --by length",
        )
    found = choose(loaded, settings, part, stdin, by=column) if sources else kept(loaded, part)
    for note in found.corpus.notes:
        tell(note)
    if sources:
        asked = {"text_field": text_field, "label_field": label_field, "encoding": encoding}
        asked |= {"read_as": read_as, "new_labels": new_labels}
        check_unused(asked, settings, found.corpus)
    if window != COLD_WINDOW and not found.corpus.running:
        raise UsageError(
            "--window has no effect here: each document is read whole, from the zero state",
            hint="leave it out; it applies to running text",
        )
    store = build_store(
        found.corpus,
        loaded.tokenizer,
        cache=cache_directory(),
        max_tokens=settings.max_tokens,
        keep=settings.keep,
    )
    return _Evaluation(loaded, found, store, window, by, memory).result()


def _is_of(loaded: Loaded, sources: Sequence[str]) -> bool:
    """Whether the run was trained on these very files, which are then divided as they were."""
    known = [Path(source).absolute() for source in loaded.config.corpus.sources]
    return [Path(source).absolute() for source in sources] == known


class _Evaluation:
    """One run on one split."""

    def __init__(
        self,
        loaded: Loaded,
        found: JudgedText,
        store: Store,
        window: int,
        by: str | None,
        memory: Memory,
    ) -> None:
        self._memory = prepared(loaded, memory)
        self._loaded = loaded
        self._found = found
        self._store = store
        self._window = window
        self._by = by
        self._split = store.split(found.split)
        device = next(loaded.model.parameters()).device
        self._arithmetic = Arithmetic(device, bf16=False)
        self._boundary = loaded.tokenizer.boundary_id

    def result(self) -> EvaluateResult:
        model, found = self._loaded.model, self._found
        result = EvaluateResult(
            environment=environment(self._loaded),
            corpus_fingerprint=found.corpus.fingerprint,
            warnings=(*found.warnings, *found.corpus.warnings),
            run=str(self._loaded.run.path),
            corpus=found.corpus.description,
            part=found.words or found.part,
            cut_share=self._store.cut_share,
            by=self._by or "",
            memory=str(self._memory),
        )
        if isinstance(model, Classifier):
            return self._classified(model, result)
        return self._language_model(model, result)

    def _classified(self, model: Classifier, result: EvaluateResult) -> EvaluateResult:
        several = self._loaded.calibration.several
        truth = self._several() if several else self._labels()
        logits = classify_split(model, self._split, self._boundary, self._arithmetic)
        assert logits is not None  # nothing interrupts it
        check_finite(logits.sum(1), self._found.corpus.description)
        judged = self._judged(logits, truth)
        found = judged.classification()
        what = f"the {self._found.part} documents" if self._found.part != "all" else "the documents"
        warnings = remarks(found, what, advice(self._loaded.config, found))
        slices = tuple(
            Slice(value=value, n=int(some.sum()), classification=judged.some(some).classification())
            for value, some in self._slices()
        )
        answers = (None, None) if several else (truth, judged.predicted)
        return result.model_copy(
            update={
                "classification": found,
                "documents": self._sums(judged.nats, *answers),
                "slices": slices,
                "warnings": (*result.warnings, *warnings),
            }
        )

    def _judged(self, logits: NDArray[np.float64], truth: Truth) -> Judged:
        """The model's answers, with those of a bag of words where its training text is there."""
        loaded = self._loaded
        counts = corpus_facts(loaded).get("label_counts")
        if not isinstance(counts, list) or len(counts) != len(loaded.labels):
            counts = None  # what an older rnnctl wrote does not say it
        # The label that is most frequent in training: what one could always say without reading.
        common = None if counts is None else int(np.argmax(counts))
        read = partial(self._found.corpus.documents, self._found.split)
        judged = Judged(logits, truth, loaded.labels, loaded.calibration, common, documents=read)
        training = training_corpus(loaded)
        # A bag of words that was trained on these very texts would look better than it is.
        if training is None or (self._found.part in ("train", "all") and self._is_own()):
            return judged
        bags = bag_of_words(training, loaded.labels, [read], cache_directory())
        return judged if bags is None else with_bag(judged, bags[0])

    def _is_own(self) -> bool:
        """Whether the run was trained on what is judged: then the bag of words knows it too."""
        return any(warning.code == "trained_on" for warning in self._found.warnings)

    def _slices(self) -> list[tuple[str, NDArray[np.bool_]]]:
        """Each value to sort by, in order, and which documents (D,) have it."""
        if self._by is None:
            return []
        if self._by == LENGTH:
            return by_length(self._split.words)
        found = [document.by for document in self._found.corpus.documents(self._found.split)]
        if any(value is None for value in found):
            raise UsageError(
                f"--by {self._by}: {self._found.corpus.description} has no columns",
                hint="sort by the number of words with --by length",
            )
        return by_value([value or "" for value in found], self._by)

    def _several(self) -> NDArray[np.bool_]:
        """Which of the run's labels each document has (D, C)."""
        truth, names, known = self._split.truth, self._store.label_names, self._loaded.labels
        if truth is None:
            assert self._split.labels is not None
            truth = np.eye(len(names), dtype=bool)[self._split.labels]
        _check_known(names, known)
        found = np.zeros((len(truth), len(known)), dtype=bool)
        found[:, [known.index(name) for name in names]] = truth
        return found

    def _labels(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The labels (D,) as the run numbers them. DataError for one that it does not know."""
        if self._split.sets is not None:
            raise DataError(
                f"{self._found.corpus.description} has texts with several labels, and the run was "
                "trained on texts with one label",
                hint="train a classifier on such texts, or give each text one label",
            )
        if self._split.labels is None:
            raise DataError(
                f"{self._found.corpus.description} has no labels",
                hint="name their field with --label-field; without labels use `rnnctl classify`",
            )
        names, known = self._store.label_names, self._loaded.labels
        _check_known(names, known)
        own = np.array([known.index(name) for name in names], dtype=np.int64)
        return own[self._split.labels]

    def _language_model(self, model: LanguageModel, result: EvaluateResult) -> EvaluateResult:
        if len(self._split.ids) == 0:
            raise DataError(f"{self._found.corpus.description} holds no text")
        if self._found.corpus.running:
            if self._by is not None:
                raise UsageError(
                    f"--by {self._by}: a running text has no documents to sort",
                    hint="train on documents (--documents paragraph, line or file), or leave out "
                    "--by",
                )
            return result.model_copy(update={"losses": tuple(self._running(model))})
        nats: NDArray[np.float64] | None
        if self._memory:
            documents = [self._split.document(d) for d in range(self._split.count)]
            nats = text_nats(model, documents, self._boundary, self._memory)
        else:
            nats = document_nats(
                model, self._split.ids, self._split.offsets, self._boundary, self._arithmetic
            )
        assert nats is not None  # nothing interrupts it
        check_finite(nats, self._found.corpus.description)
        losses = [loss_of(self._split, len(nats), float(nats.sum()), "document")]
        if not self._loaded.config.training.reset:  # then it was trained on them as one text
            losses += self._running(model)
        sums = self._sums(nats + self._split.unknown_nats, None, None)
        slices = tuple(self._sliced_loss(value, some, nats) for value, some in self._slices())
        return result.model_copy(
            update={"losses": tuple(losses), "documents": sums, "slices": slices}
        )

    def _sliced_loss(self, value: str, some: NDArray[np.bool_], nats: NDArray[np.float64]) -> Slice:
        """The loss of some documents (D,), with the interval over documents."""
        part = chosen(self._split, np.flatnonzero(some))
        loss = loss_of(part, part.count, float(nats[some].sum()), "document")
        whole = nats[some] + part.unknown_nats
        weights = resampling_weights(part.count)
        interval = ratio_of_means(whole, np.diff(part.offsets), weights)
        ends = (float(interval.lo[0]), float(interval.hi[0]))
        return Slice(value=value, n=part.count, loss=loss, loss_ci95=ends)

    def _running(self, model: LanguageModel) -> Iterator[LanguageModelLoss]:
        ids, boundary, arithmetic = self._split.ids, self._boundary, self._arithmetic
        if self._memory:
            nats = text_nats(model, [ids[: len(ids)]], boundary, self._memory)
            check_finite(nats, self._found.corpus.description)
            yield loss_of(self._split, None, float(nats[0]), "streaming")
            return
        # Several streams are faster, and all but one begin in the middle of the text from zero.
        streams = 1 if len(ids) <= EXACT_TOKENS else STREAMS
        streaming = streaming_nats(model, ids, boundary, arithmetic, streams=streams)
        window = min(self._window, len(ids))
        cold = cold_nats(model, ids, boundary, arithmetic, window=window)
        assert streaming is not None and cold is not None  # nothing interrupts them
        check_finite(np.array([streaming + cold]), self._found.corpus.description)
        yield loss_of(self._split, None, streaming, "streaming")
        yield loss_of(self._split, None, cold, "cold", window=window)

    def _sums(
        self,
        nats: np.ndarray[tuple[int], np.dtype[np.float64]],
        truth: np.ndarray[tuple[int], np.dtype[np.int64]] | None,
        predicted: np.ndarray[tuple[int], np.dtype[np.integer]] | None,
    ) -> DocumentSums | None:
        if len(nats) > MOST_SUMS:
            return None
        return sums_of(self._found.part, self._split, nats, truth, predicted)


def _first_tokens(split: SplitIds, most: int, *, running: bool) -> list[NDArray[np.int64]]:
    """The documents from the first on, `most` tokens together; a running text is one."""
    found: list[NDArray[np.int64]] = []
    left = most
    for number in range(1 if running else split.count):
        if left <= 0:
            break
        ids = split.ids if running else split.document(number)
        found.append(ids[:left].astype(np.int64))
        left -= len(found[-1])
    return found


def tune(loaded: Loaded, what: Literal["cache", "dynamic"]) -> TuneResult:
    """The settings of a cache, or of dynamic evaluation, that suit the validation text best.

    Of the beginning of the validation text that the run keeps; the test text is not looked at.
    Raises UsageError for a classifier and where the run keeps no such text.
    """
    keep_memory()
    if not isinstance(loaded.model, LanguageModel):
        raise UsageError(
            "a cache and dynamic evaluation are for language models, and this is a classifier",
            hint=f"leave out the option that tunes {what} settings",
        )
    found = kept(loaded, "valid", "train without --no-keep-text: settings are tuned on that text")
    store = build_store(found.corpus, loaded.tokenizer, cache=cache_directory())
    split = store.split(found.split)
    if len(split.ids) == 0:
        raise DataError(f"{loaded.run.path} keeps no validation text", hint="train with a split")
    most = TUNED_CACHE if what == "cache" else TUNED_DYNAMIC
    documents = _first_tokens(split, most, running=found.corpus.running)
    size = sum(map(len, documents))
    begin = time.perf_counter()
    boundary = loaded.tokenizer.boundary_id
    confirmed = 0
    if what == "cache":
        ranked = tune_cache(loaded.model, documents, boundary)
    else:
        gradients = prepared(loaded, Memory(dynamic=Dynamic(1.0))).gradients
        assert gradients is not None
        longer = _first_tokens(split, CONFIRMED, running=found.corpus.running)
        confirmed = sum(map(len, longer)) if sum(map(len, longer)) > size else 0
        further = longer if confirmed else []
        ranked = tune_dynamic(loaded.model, documents, further, boundary, gradients)
    spelling = spelling_per_token(split, split.offsets)

    def point(one: Tried) -> TunePoint:
        nats = one.nats + spelling
        return TunePoint(
            settings=str(one.memory) or "nothing",
            options=one.memory.options,
            loss_nats=nats,
            perplexity=math.exp(nats) if nats < 700 else None,
        )

    finite = [one for one in ranked.others if math.isfinite(one.nats)]
    return TuneResult(
        environment=environment(loaded),
        run=str(loaded.run.path),
        what=what,
        text=found.words or "the validation text",
        tokens=size,
        confirmed_tokens=confirmed,
        before=point(ranked.plain),
        best=None if ranked.best is None else point(ranked.best),
        others=tuple(point(one) for one in finite[:9]),
        tried=len(ranked.others) + (ranked.best is not None),
        timing={"total_s": round(time.perf_counter() - begin, 3)},
    )


def _check_known(names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(
            f"labels that the run does not know: {', '.join(map(repr, unknown[:5]))}",
            hint=f"it knows {', '.join(map(repr, known))}; check --label-field",
        )


Slices = list[tuple[str, NDArray[np.bool_]]]


def by_length(words: NDArray[np.int64]) -> Slices:
    """Documents (D,) by their number of words, in ranges that double: 1–25, 26–50, 51–100, …"""
    found: Slices = []
    low, high = 0, 25
    while low <= int(words.max(initial=0)):
        some = (words >= low) & (words <= high)
        if some.any():
            found.append((f"{low or 1}–{high} words", some))
        low, high = high + 1, 2 * high
    return found


def by_value(values: Sequence[str], name: str) -> Slices:
    """Documents by what a column says of them: (value, which of the D have it).

    In the order of numbers or of a known scale (low, medium, high), else as the values come first;
    documents without a value are last. Numbers of which there are more than MOST_SLICES are sorted
    into quarters. UsageError for so many different words.
    """
    said = [value for value in values if value]
    every, array = naturally(said), np.array(values, dtype=object)
    without = [("(empty)", array == "")] if "" in values else []
    if len(every) <= MOST_SLICES:
        return [(value, array == value) for value in every] + without
    try:
        numbers = np.array([float(value or "nan") for value in values])
    except ValueError:
        raise UsageError(
            f"--by {name}: the column has {plural(len(every), 'different value')}, too many to "
            "report separately",
            hint=f"choose a column of numbers, or one with at most {MOST_SLICES} values",
        ) from None
    known = numbers[~np.isnan(numbers)]
    ends = np.unique(np.quantile(known, (0.25, 0.5, 0.75, 1.0), method="higher"))
    found: Slices = []
    low = -np.inf
    for high in ends:
        some = (numbers > low) & (numbers <= high)
        if some.any():
            inside = numbers[some]
            found.append((f"{inside.min():g} to {inside.max():g}", some))
        low = high
    return found + without
