"""Labels for texts: a window of texts at a time, bucketed by length, neighbours unfelt.

N texts, C classes, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl.config import CorpusConfig
from rnnctl.data.batches import pad_documents
from rnnctl.data.tokenizers.base import with_end
from rnnctl.errors import NotFiniteError, RunError
from rnnctl.inference.records import Record
from rnnctl.machine import keep_memory
from rnnctl.nn.engines import EngineChoice
from rnnctl.nn.models import Classifier
from rnnctl.nn.reading import can_read, in_groups
from rnnctl.tasks.evaluation import batches_by_length
from rnnctl.tasks.loading import Loaded

if TYPE_CHECKING:
    from rnnctl.inference.explain import Explainer
    from rnnctl.results.inference import Explanation

LONGEST_READ = 50_000  # tokens of one text that are read when the run itself sets no limit

Ids = NDArray[np.int32]


def part_read(corpus: CorpusConfig) -> slice:
    """Which tokens of a text a classifier reads: the first or the last ones, as in training."""
    limit = corpus.max_tokens or LONGEST_READ
    return slice(limit) if corpus.keep == "head" else slice(-limit, None)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most probable label, and the probability of every label in the run's order.

    given: the labels that the text is given, where it may have several; None where it has one.
    tokens: how many were read, the text's end included; unknown: of them, not in the vocabulary;
    cut: whether the text was longer than what is read.
    """

    label: str
    probability: float
    probabilities: tuple[float, ...]
    tokens: int
    unknown: int
    cut: bool
    given: tuple[str, ...] | None = None


class Predictor:
    """A classifier ready for use.

    Texts are cut as they were in training (`max_tokens`, `keep`). Raises RunError if the run is no
    classifier.
    """

    def __init__(self, loaded: Loaded) -> None:
        if not isinstance(loaded.model, Classifier):
            raise RunError(
                f"{loaded.run.path} is a language model, not a classifier",
                hint="`rnnctl score` and `rnnctl generate` use it; "
                "train a classifier with `rnnctl train --task classify`",
            )
        keep_memory()
        self.labels = loaded.labels
        self._calibration = loaded.calibration
        self._model = loaded.model
        self.engine = EngineChoice(loaded.model)
        loaded.model.recurrent.keep_ready()
        self._tokenizer = loaded.tokenizer
        self._corpus = loaded.config.corpus
        self._device = next(loaded.model.parameters()).device

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """One prediction per text, in order; (N,) texts of any length, empty ones included."""
        encoded = [self._encode(text) for text in texts]
        logits = self.logits([ids for ids, _, _ in encoded])
        chances = self._calibration.probabilities(logits)
        best = chances.argmax(1).tolist()
        found = [
            Prediction(self.labels[k], row[k], tuple(row), len(ids), unknown, cut)
            for k, row, (ids, unknown, cut) in zip(best, chances.tolist(), encoded, strict=True)
        ]
        if not self._calibration.several:
            return found
        return [
            replace(one, given=tuple(n for n, yes in zip(self.labels, row, strict=True) if yes))
            for one, row in zip(found, self._calibration.given(logits), strict=True)
        ]

    def _ids(self, text: str, limit: int) -> tuple[Ids, int]:
        """The ids of `text`, or more than `limit` of its first ones where the rest is cut off.

        And how many of these are unknown.
        """
        if len(text) > 64 * limit and self._corpus.keep == "head":
            # No token is that long: the rest of a huge text need not be encoded to be cut off.
            start = text[: 64 * limit]
            ids, unknown, _ = self._tokenizer.encode_charged(
                start[: self._tokenizer.complete_prefix(start)]
            )
            if len(ids) > limit:
                return ids, unknown
        return self._tokenizer.encode_charged(text)[:2]

    def _encode(self, text: str) -> tuple[Ids, int, bool]:
        """Ids as the store holds a document, how many are unknown, whether it was cut."""
        # A run without a limit reads long texts too, but not a whole library that came as one line.
        limit = self._corpus.max_tokens or LONGEST_READ
        ids, unknown = self._ids(text, limit)
        cut = len(ids) > limit
        if cut:
            ids = ids[part_read(self._corpus)]
            unknown = int((ids == self._tokenizer.unknown_id).sum()) if unknown else 0
        # Also where it was cut: the model has learnt to answer at the end symbol.
        return with_end(ids, self._tokenizer.boundary_id), unknown, cut

    def logits(self, documents: list[Ids]) -> NDArray[np.float64]:
        """Of texts as ids, the boundary at the end of each: (N, C)."""
        lengths = np.array([len(ids) for ids in documents], dtype=np.int64)
        self.engine.note(int(lengths.sum()))
        side_by_side = can_read(self._model.recurrent)
        return (self._read if side_by_side else self._padded)(documents, lengths)

    def _read(self, documents: list[Ids], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        def read(some: NDArray[np.int64]) -> torch.Tensor:
            return self._model.read(np.concatenate([documents[i] for i in some]), lengths[some])

        logits = np.zeros((len(documents), len(self.labels)))
        for some, found in in_groups(self._model.recurrent, lengths, read):
            logits[some] = found.numpy()
        return logits

    @torch.inference_mode()
    def _padded(self, documents: list[Ids], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        logits = np.zeros((len(documents), len(self.labels)))
        for some in batches_by_length(lengths):
            texts = [documents[index] for index in some]
            ids, read = pad_documents(texts, self._tokenizer.boundary_id)
            output = self._model(
                torch.from_numpy(ids).to(self._device),
                torch.from_numpy(read).to(self._device),
            )
            logits[some] = output.double().cpu().numpy()
        return logits


@dataclass(frozen=True, slots=True)
class Answer:
    """A record and its prediction; None where the record holds an error. why: where it is asked,
    an explanation, or one of each label that is explained where a text may have several."""

    record: Record
    prediction: Prediction | None
    why: tuple[Explanation, ...] = ()

    def fields(self, labels: Sequence[str]) -> dict[str, Any]:
        """What is added to the record in JSON."""
        if self.prediction is None:
            return {"error": self.record.error, "line": self.record.line}
        chances = [round(chance, 6) for chance in self.prediction.probabilities]
        answer: dict[str, Any] = {
            "prediction": self.prediction.label,
            "probability": round(self.prediction.probability, 6),
        }
        if self.prediction.given is not None:
            answer = {"predictions": list(self.prediction.given)}
        answer |= {
            "probabilities": dict(zip(labels, chances, strict=True)),
            "tokens": self.prediction.tokens - 1,
            "unknown": self.prediction.unknown,
            "cut": self.prediction.cut,
        }
        if not self.why:
            return answer
        if self.prediction.given is not None:
            return {**answer, "explanations": [_rounded(one, {"against"}) for one in self.why]}
        return {**answer, "explanation": _rounded(self.why[0], {"label"})}


def _rounded(why: Explanation, left_out: set[str]) -> dict[str, Any]:
    """An explanation in JSON, without the fields that the answer says anyhow."""
    found = why.model_dump(exclude=left_out)
    for one in (found, *found["words"]):
        one.update({k: round(value, 6) for k, value in one.items() if type(value) is float})
    return found


def answers(
    predictor: Predictor, windows: Iterable[list[Record]], explainer: Explainer | None = None
) -> Iterator[list[Answer]]:
    """Answers in the order of the records, one window at a time. NotFiniteError."""
    for records in windows:
        predictions = iter(predictor.predict([r.text for r in records if not r.error]))
        found = [Answer(r, None if r.error else _finite(next(predictions), r)) for r in records]
        if explainer is None:
            yield found
        else:  # that takes time: each as soon as it is there
            yield from ([_explained(answer, explainer)] for answer in found)


def _explained(answer: Answer, explainer: Explainer) -> Answer:
    if answer.prediction is None:
        return answer
    return replace(answer, why=explainer.explain(answer.record.text, answer.prediction))


def _finite(prediction: Prediction, record: Record) -> Prediction:
    if not math.isfinite(prediction.probability):
        raise NotFiniteError(record.where)
    return prediction
