"""What `evaluate` does: a corpus, the part of it to judge by, and the numbers by protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Literal

import numpy as np

from rnnctl.config import COLD_WINDOW, SourceKind
from rnnctl.data.cache import cache_directory
from rnnctl.data.store import Store, build_store
from rnnctl.errors import DataError, UsageError
from rnnctl.inference.environment import environment
from rnnctl.inference.judged_text import JudgedText, Part, choose, kept
from rnnctl.machine import Arithmetic
from rnnctl.nn.allocator import keep_memory
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.results.base import LanguageModelLoss
from rnnctl.results.inference import EvaluateResult
from rnnctl.results.training import DocumentSums
from rnnctl.tasks.classification import classify_split, label_nats, measure
from rnnctl.tasks.effects import check_unused
from rnnctl.tasks.evaluation import STREAMS, cold_nats, document_nats, streaming_nats
from rnnctl.tasks.loading import Loaded
from rnnctl.tasks.split_results import MOST_SUMS, check_finite, loss_of, sums_of

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
    stdin: BinaryIO | None = None,
    tell: Callable[[str], None] = lambda note: None,
) -> EvaluateResult:
    """Measure a run on `sources`, or on the held-out text that it keeps where there are none.

    part: which split; by default test where the corpus has one, else valid, else all of it.
    window: tokens, for the cold protocol; at most the whole text. text_field, label_field,
    encoding, read_as: how the corpus is to be read, by default as that of the training was. tell:
    called with each sentence that says what was decided about the corpus.

    Raises DataError, UsageError, RunError.
    """
    keep_memory()
    settings = loaded.config.corpus.model_copy(
        update={
            "sources": tuple(sources),
            "text_field": text_field or loaded.config.corpus.text_field,
            "label_field": label_field or loaded.config.corpus.label_field,
            "encoding": encoding or loaded.config.corpus.encoding,
            "read_as": read_as or loaded.config.corpus.read_as,
            "new_labels": new_labels,
        }
    )
    found = choose(loaded, settings, part, stdin) if sources else kept(loaded, part)
    for note in found.corpus.notes:
        tell(note)
    if sources:
        asked = {"text_field": text_field, "label_field": label_field, "encoding": encoding}
        asked |= {"read_as": read_as, "new_labels": new_labels}
        check_unused(asked, settings, found.corpus)
    if window != COLD_WINDOW and not found.corpus.running:
        raise UsageError(
            "--window has no effect here: each document is read whole, from the zero state",
            hint="leave it out; it is about running text",
        )
    store = build_store(
        found.corpus,
        loaded.tokenizer,
        cache=cache_directory(),
        max_tokens=settings.max_tokens,
        keep=settings.keep,
    )
    return _Evaluation(loaded, found, store, window).result()


class _Evaluation:
    """One run on one split."""

    def __init__(self, loaded: Loaded, found: JudgedText, store: Store, window: int) -> None:
        self._loaded = loaded
        self._found = found
        self._store = store
        self._window = window
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
        )
        if isinstance(model, Classifier):
            return self._classified(model, result)
        return self._language_model(model, result)

    def _classified(self, model: Classifier, result: EvaluateResult) -> EvaluateResult:
        labels = self._labels()
        logits = classify_split(model, self._split, self._boundary, self._arithmetic)
        assert logits is not None  # nothing interrupts it
        check_finite(logits.sum(1), self._found.corpus.description)
        sums = self._sums(label_nats(logits, labels), labels, logits.argmax(1))
        found = measure(logits, labels, self._loaded.labels)
        return result.model_copy(update={"classification": found, "documents": sums})

    def _labels(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The labels (D,) as the run numbers them. DataError for one that it does not know."""
        if self._split.labels is None:
            raise DataError(
                f"{self._found.corpus.description} has no labels",
                hint="name their field with --label-field; without labels use `rnnctl classify`",
            )
        names, known = self._store.label_names, self._loaded.labels
        unknown = [name for name in names if name not in known]
        if unknown:
            raise DataError(
                f"labels that the run does not know: {', '.join(map(repr, unknown[:5]))}",
                hint=f"it knows {', '.join(map(repr, known))}; check --label-field",
            )
        own = np.array([known.index(name) for name in names], dtype=np.int64)
        return own[self._split.labels]

    def _language_model(self, model: LanguageModel, result: EvaluateResult) -> EvaluateResult:
        if len(self._split.ids) == 0:
            raise DataError(f"{self._found.corpus.description} holds no text")
        if self._found.corpus.running:
            return result.model_copy(update={"losses": tuple(self._running(model))})
        nats = document_nats(
            model, self._split.ids, self._split.offsets, self._boundary, self._arithmetic
        )
        assert nats is not None  # nothing interrupts it
        check_finite(nats, self._found.corpus.description)
        losses = [loss_of(self._split, len(nats), float(nats.sum()), "document")]
        if not self._loaded.config.training.reset:  # then it was trained on them as one text
            losses += self._running(model)
        sums = self._sums(nats + self._split.unknown_nats, None, None)
        return result.model_copy(update={"losses": tuple(losses), "documents": sums})

    def _running(self, model: LanguageModel) -> Iterator[LanguageModelLoss]:
        ids, boundary, arithmetic = self._split.ids, self._boundary, self._arithmetic
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
