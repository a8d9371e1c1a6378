"""How good a classifier is, from its logits: the whole report, on numbers only.

D documents, C labels. Precision, recall and F1 are scikit-learn's; intervals of shares are
Wilson's, that of macro-F1 is a bootstrap over documents. Beside the model stand two that look at
no order: the label that is most frequent in training, and a bag of words
(`rnnctl.baselines.linear`). A model that is no better than these is said to be none.

Probabilities are those after the run's `Calibration`: logits are divided by one temperature, which
is fitted on the validation part (Guo et al. 2017), and the answer stays the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnctl import integrity
from rnnctl.data.cache import recall, remember
from rnnctl.data.corpus import Corpus, sample_places
from rnnctl.data.documents import Document
from rnnctl.data.labels import labels_of
from rnnctl.results.base import (
    BagOfWords,
    Classification,
    ClassScore,
    Confusion,
    Mistake,
    Warning_,
)
from rnnctl.statistics import wilson

CALIBRATION_BINS = 15


def calibration_error(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_], bins: int = CALIBRATION_BINS
) -> float:
    """Expected calibration error (Guo et al. 2017): mean |accuracy - confidence| over equal bins.

    `confidence` (N,) is the probability of the predicted label, 0 to 1; bins are (a, b], weighted
    by how many examples they hold.
    """
    if confidence.size == 0:
        return 0.0
    sure = confidence.astype(np.float64)
    # Bins include their upper end, so that a confidence of 1 is in the last; 0 goes to the first.
    index = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(index, weights=correct.astype(np.float64) - sure, minlength=bins)
    return float(np.abs(gaps).sum() / sure.size)


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(…, C) logits -> (…, C) log probabilities in nats, in float64.

    scipy has this too; `classify` answers before it would be loaded.
    """
    wide = logits.astype(np.float64)
    wide = wide - wide.max(axis=-1, keepdims=True)
    found: NDArray[np.float64] = wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return found


# -- what a classifier is held against -----------------------------------------------------------

CALIBRATION_NAME = "calibration.json"
FEWEST = 30  # validation documents that a temperature is fitted on
MOST_TRAINED = 50_000  # documents that the bag of words is trained on
MOST_JUDGED = 50_000  # documents that it is asked about
_WORST, _EXAMPLES, _SHOWN = 5, 3, 200  # kinds of mistakes, documents of each, characters
_RESAMPLES = 1_000

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Truth = NDArray[np.int64] | NDArray[np.bool_]
Documents = Callable[[], Iterable[Document]]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How logits become probabilities. `documents`: how many it was fitted on, 0 for none.

    several: a text may have several labels, each with a probability of its own. thresholds: from
    which probability on each of them is given, () for one half.
    """

    temperature: float = 1.0
    documents: int = 0
    several: bool = False
    thresholds: tuple[float, ...] = ()

    @classmethod
    def fit(cls, logits: Floats, truth: Truth) -> Calibration:
        """The temperature with the smallest loss on logits (D, C) of `truth`.

        One answer more is counted as wrong, in equal parts of all (Platt 1999): where a model is
        right on each of fifty documents, the smallest loss alone would make it as sure as it can
        be, and one mistake on new text as bad. It takes back what makes surer, and no more.

        That is labels (D,), or which labels each document has (D, C); for the latter thresholds
        are fitted as well. Where there are fewer than FEWEST documents, nothing is.
        """
        several = truth.ndim == 2
        if len(truth) < FEWEST:
            return cls(several=several)
        from scipy.optimize import minimize_scalar

        wrong = 1 / (truth.size + 2)

        def loss(log_temperature: float, wrong: float) -> float:
            scaled = logits / np.exp(log_temperature)
            return float(
                ((1 - wrong) * nats(scaled, truth) + wrong * _wrong_nats(scaled, truth)).mean()
            )

        # The logarithm of the temperature: halving it and doubling it are equally far apart.
        smallest, careful = (
            minimize_scalar(loss, bounds=(-2.0, 3.0), method="bounded", args=(share,)).x
            for share in (0.0, wrong)
        )
        found = min(careful, 0.0) if smallest < 0 else careful
        # Four digits: more are not known from so few documents, and the last bits are each
        # machine's own.
        fitted = cls(float(f"{np.exp(found):.4g}"), len(truth), several)
        if not several:
            return fitted
        chances = fitted.probabilities(logits)
        best = tuple(best_threshold(c, t) for c, t in zip(chances.T, truth.T, strict=True))
        return replace(fitted, thresholds=best)

    def probabilities(self, logits: Floats) -> Floats:
        """(D, C), each row adding up to 1 unless a text may have several labels."""
        if self.several:
            # Beyond 709 the exponential overflows, and the chance is 0 or 1 long before.
            each: Floats = 1 / (1 + np.exp(-np.clip(logits / self.temperature, -700, 700)))
            return each
        chances: Floats = np.exp(log_softmax(logits / self.temperature))
        return chances

    def to_bytes(self) -> bytes:
        """As it stands in a run."""
        facts: dict[str, Any] = {"temperature": self.temperature, "documents": self.documents}
        facts |= {"thresholds": list(self.thresholds)} if self.several else {}
        return (json.dumps(facts) + "\n").encode("ascii")

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Calibration:
        """From a JSON object. Raises ValueError for an impossible one."""
        temperature = float(facts.get("temperature", 1.0))
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature {temperature}")
        thresholds = tuple(float(one) for one in facts.get("thresholds", ()))
        return cls(temperature, int(facts.get("documents", 0)), thresholds=thresholds)

    def given(self, logits: Floats) -> NDArray[np.bool_]:
        """(D, C): which labels each text is given, where it may have several."""
        limits = np.array(self.thresholds) if self.thresholds else 0.5
        chosen: NDArray[np.bool_] = self.probabilities(logits) >= limits
        return chosen


def best_threshold(chances: Floats, truth: NDArray[np.bool_]) -> float:
    """The probability (of D) from which on to give a label, for its largest F1; at most 0.5 for
    one that fewer than five documents have, since these say little."""
    if truth.sum() < 5:
        return 0.5
    order = np.argsort(-chances, kind="stable")
    ranked, hits = chances[order], np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(truth) + 1) + truth.sum())
    last = np.append(ranked[1:] < ranked[:-1], True)  # equal probabilities are given together
    at = int(np.argmax(np.where(last, f1, -1.0)))
    # Halfway to the next probability: at the very one the answer would hang on its rounding.
    below = ranked[at + 1] if at + 1 < len(ranked) else 0.0
    return float(f"{(ranked[at] + below) / 2:.6g}")


def _wrong_nats(logits: Floats, truth: Truth) -> Floats:
    """The loss (D,) if each document had another label, in the mean over the others; if each of
    several labels were the other way round."""
    if truth.ndim == 2:
        return nats(logits, ~truth.astype(np.bool_))
    every = -log_softmax(logits)
    known: Floats = (every.sum(1) - nats(logits, truth)) / max(1, logits.shape[1] - 1)
    return known


def nats(logits: Floats, truth: Truth) -> Floats:
    """Negative log probability (D,) of each document's label, or of its labels and no others."""
    if truth.ndim == 2:
        wrong: Floats = np.logaddexp(0.0, np.where(truth, -logits, logits)).sum(1)
        return wrong
    found: Floats = -log_softmax(logits)[np.arange(len(truth)), truth]
    return found


@dataclass(frozen=True, slots=True)
class Judged:
    """D documents that a classifier was asked about.

    logits: (D, C). truth: (D,) label numbers; where a text may have several labels (D, C), which of
    them it has. bag: what a bag of words answers, in the same form, None where that is not known;
    bag_trained_on: on how many documents. most_frequent: the label that occurs most often in
    training, None where that is not known. documents: reads the D documents, None where they are
    not at hand.
    """

    logits: Floats
    truth: Truth
    names: tuple[str, ...]
    calibration: Calibration = Calibration()
    most_frequent: int | None = None
    bag: Truth | None = None
    bag_trained_on: int = 0
    documents: Documents | None = None

    @property
    def several(self) -> bool:
        """Whether a text may have several labels."""
        return self.truth.ndim == 2

    @property
    def predicted(self) -> Truth:
        """(D,), or (D, C), as `truth`."""
        if self.several:
            return self.calibration.given(self.logits)
        best: Labels = self.logits.argmax(1)
        return best

    @property
    def nats(self) -> Floats:
        """(D,) of the true labels, after calibration."""
        return nats(self.logits / self.calibration.temperature, self.truth)

    def some(self, chosen: NDArray[np.bool_]) -> Judged:
        """Those of `chosen` (D,), without their texts."""
        return replace(
            self,
            logits=self.logits[chosen],
            truth=self.truth[chosen],
            bag=None if self.bag is None else self.bag[chosen],
            documents=None,
        )

    def classification(self) -> Classification:
        """All measures. At least one document is needed."""
        now = self.calibration.probabilities(self.logits)
        before = Calibration(several=self.several).probabilities(self.logits)
        fitted = self.calibration.temperature != 1.0
        bag = None
        if self.bag is not None and len(self.bag):
            bag = BagOfWords(**self._scores(self.bag), trained_on=self.bag_trained_on)
        return Classification(
            **self._scores(self.predicted),
            loss_nats=float(self.nats.mean()),
            calibration_error=self._calibration_error(now),
            n=len(self.truth),
            labels=self.names,
            bag_of_words=bag,
            temperature=self.calibration.temperature,
            loss_before=float(nats(self.logits, self.truth).mean()) if fitted else None,
            calibration_error_before=self._calibration_error(before) if fitted else None,
            **(self._by_label(now) if self.several else self._by_pair(now.max(1))),
        )

    def _right(self, answers: Truth) -> NDArray[np.bool_]:
        """(D,): of several labels all must be given, and no others."""
        same: NDArray[np.bool_] = np.asarray(answers == self.truth)
        return np.asarray(same.all(1)) if self.several else same

    def _scores(self, answers: Truth) -> dict[str, Any]:
        """Accuracy with its interval, and F1, of answers in the form of `truth`."""
        from sklearn.metrics import f1_score

        right = self._right(answers)
        share = wilson(int(right.sum()), len(right))
        f1 = {
            f"{kind}_f1": float(f1_score(self.truth, answers, average=kind, zero_division=0))
            for kind in (("macro", "micro") if self.several else ("macro",))
        }
        return {"accuracy": share.estimate, "accuracy_ci95": (share.lo, share.hi), **f1}

    def _calibration_error(self, chances: Floats) -> float:
        """Of the answers; of several labels each one, given or not, is an answer of its own."""
        if not self.several:
            return calibration_error(chances.max(1), self._right(self.predicted))
        said = chances >= 0.5
        sure = np.where(said, chances, 1 - chances)
        return calibration_error(sure.ravel(), (said == self.truth).ravel())

    def _by_pair(self, sure: Floats) -> dict[str, Any]:
        """What there is to say where each text has one label: which is taken for which."""
        from sklearn.metrics import confusion_matrix

        numbers = np.arange(len(self.names))
        confusion = confusion_matrix(self.truth, self.predicted, labels=numbers)
        common = self.most_frequent
        if common is None:
            common = int(np.bincount(self.truth, minlength=len(self.names)).argmax())
        return {
            "macro_f1_ci95": _macro_f1_interval(confusion),
            "confusion": tuple(tuple(int(n) for n in row) for row in confusion),
            "classes": tuple(class_scores(self.truth, self.predicted, self.names)),
            "confusions": self._confusions(confusion, sure),
            "majority": float((self.truth == common).mean()),
            "majority_label": self.names[common],
        }

    def _by_label(self, chances: Floats) -> dict[str, Any]:
        """What there is to say where texts have several labels: each is a question of its own."""
        limits = self.calibration.thresholds or (0.5,) * len(self.names)
        columns = zip(self.names, self.truth.T, self.predicted.T, limits, strict=True)
        classes = []
        for name, truth, predicted, limit in columns:
            pair = class_scores(truth.astype(np.int64), predicted.astype(np.int64), ("", name))
            _, found = pair
            classes.append(found.model_copy(update={"threshold": limit}))
        return {"confusion": (), "classes": classes, "confusions": self._mistakes(chances)}

    def _confusions(self, confusion: NDArray[np.int64], sure: Floats) -> tuple[Confusion, ...]:
        """The most frequent mistakes, each with the documents of which the model was surest."""
        counts = confusion.copy()
        np.fill_diagonal(counts, 0)
        order = np.argsort(-counts, axis=None, kind="stable")[:_WORST]
        pairs = [divmod(int(at), len(self.names)) for at in order if counts.flat[at]]
        found = []
        for truth, wrong in pairs:
            where = np.flatnonzero((self.truth == truth) & (self.predicted == wrong))
            best = where[np.argsort(-sure[where], kind="stable")]
            found.append((self.names[truth], self.names[wrong], best, sure[best]))
        return self._with_examples(found)

    def _mistakes(self, chances: Floats) -> tuple[Confusion, ...]:
        """The labels that were most often missed or wrongly given, with the surest of these."""
        found = []
        columns = zip(self.names, self.truth.T, self.predicted.T, chances.T, strict=True)
        for name, truth, said, chance in columns:
            for names, sign, wrong in (
                ((name, ""), 1, truth & ~said),
                (("", name), -1, said & ~truth),
            ):
                where = np.flatnonzero(wrong)
                where = where[np.argsort(sign * chance[where], kind="stable")]
                found.append((*names, where, chance[where]))
        found = [one for one in found if len(one[2])]
        return self._with_examples(sorted(found, key=lambda one: -len(one[2]))[:_WORST])

    def _with_examples(
        self, found: Sequence[tuple[str, str, Labels, Floats]]
    ) -> tuple[Confusion, ...]:
        """Kinds of mistakes: truth, answer, the documents in order, the probabilities of each."""
        shown = {int(d) for *_, where, _ in found for d in where[:_EXAMPLES]}
        texts: dict[int, Document] = {}
        if self.documents is not None and shown:
            texts = {d: one for d, one in enumerate(self.documents()) if d in shown}
        return tuple(
            Confusion(
                truth=truth,
                predicted=wrong,
                n=len(where),
                examples=tuple(
                    Mistake(
                        source=texts[d].source,
                        text=" ".join(texts[d].text.split())[:_SHOWN],
                        probability=float(sure),
                    )
                    for d, sure in zip(where[:_EXAMPLES].tolist(), chances, strict=False)
                    if d in texts
                ),
            )
            for truth, wrong, where, chances in found
        )


def class_scores(truth: Truth, predicted: Truth, names: Sequence[str]) -> Iterator[ClassScore]:
    """Precision, recall and F1 (0 to 1) of each label, with Wilson's intervals of the first two.

    truth, predicted: (D,) numbers of `names`.
    """
    from sklearn.metrics import precision_recall_fscore_support

    numbers = np.arange(len(names))
    found = precision_recall_fscore_support(
        truth, predicted, labels=numbers, average=None, zero_division=np.nan
    )
    said = np.bincount(predicted, minlength=len(names))
    hits = np.bincount(truth[truth == predicted], minlength=len(names))
    for k, name in enumerate(names):
        precision, recall, f1, support = (values[k] for values in found)
        of_said, of_true = wilson(int(hits[k]), int(said[k])), wilson(int(hits[k]), int(support))
        yield ClassScore(
            label=name,
            precision=_known(precision),
            precision_ci95=(of_said.lo, of_said.hi),
            recall=_known(recall),
            recall_ci95=(of_true.lo, of_true.hi),
            f1=_known(f1),
            support=int(support),
            predicted=int(said[k]),
        )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _macro_f1_interval(confusion: NDArray[np.int64]) -> tuple[float, float]:
    """The 95 % percentile interval over resampled documents, which are draws of its cells."""
    cells = np.flatnonzero(confusion)
    n = int(confusion.sum())
    # Documents with the same truth and answer are exchangeable: drawing the cells of the table is
    # drawing documents, and takes no time that grows with their number.
    draws = np.random.default_rng(0).multinomial(
        n, confusion.flat[cells] / n, size=_RESAMPLES
    )  # (R, cells)
    classes = len(confusion)
    rows, columns = np.divmod(cells, classes)
    by_row, by_column = np.eye(classes)[rows], np.eye(classes)[columns]
    hits = draws @ (by_row * (rows == columns)[:, None])
    occurrences = draws @ (by_row + by_column)
    present = occurrences > 0
    f1 = np.divide(2 * hits, occurrences, out=np.zeros_like(hits), where=present)
    low, high = np.percentile(f1.sum(1) / present.sum(1), (2.5, 97.5))
    return float(low), float(high)


# -- the bag of words beside the model -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bag:
    """What a bag of words answers, and how many documents it was trained on.

    answers: (D,) label numbers; where a text may have several labels (D, C), 1 for each that it is
    given.
    """

    answers: Labels
    trained_on: int


def bag_of_words(
    corpus: Corpus, names: Sequence[str], asked: Sequence[Documents], cache: Path
) -> list[Bag] | None:
    """The answers to each group of documents in `asked`, from what `corpus` trains on.

    None where there can be none: a memory task, whose documents are no words; one label; groups of
    more than MOST_JUDGED documents. Kept in the cache, for it is the same for every model.
    """
    if corpus.reading is None or corpus.reading.kind == "task":
        return None
    texts = [[document.text for document in group()] for group in asked]
    if not all(texts) or max(map(len, texts)) > MOST_JUDGED:
        return None
    judged = integrity.digest_of(
        text.encode("utf-8", "surrogatepass") + b"\0" for group in texts for text in [*group, ""]
    )
    # The number is to be raised when a bag of words comes to answer otherwise.
    name = integrity.key([2, corpus.fingerprint, list(names), bool(corpus.label_sets), judged])
    path = cache / "baselines" / f"{name}.json"
    found = _kept(path, [len(group) for group in texts])
    if found is None:
        found = _answers(corpus, names, texts)
        if found is not None:
            remember(path, {"bags": [[b.answers.tolist(), b.trained_on] for b in found]})
    return found


def _kept(path: Path, counts: Sequence[int]) -> list[Bag] | None:
    try:
        bags = (recall(path) or {})["bags"]
        found = [Bag(np.array(answers, dtype=np.int64), int(n)) for answers, n in bags]
    except (KeyError, ValueError, TypeError):
        return None
    return found if [len(bag.answers) for bag in found] == list(counts) else None


def _answers(
    corpus: Corpus, names: Sequence[str], texts: Sequence[Sequence[str]]
) -> list[Bag] | None:
    from rnnctl.baselines.linear import NaiveBayesLinear

    number = {name: k for k, name in enumerate(names)}
    several = bool(corpus.label_sets)
    count = sum(1 for _ in corpus.documents("train"))
    places = set(sample_places(count, MOST_TRAINED))
    known = [
        (document.text, document.label or "")
        for k, document in enumerate(corpus.documents("train"))
        if k in places and (several or document.label in number)
    ]
    truth = np.array(
        [[name in labels_of(label) for name in names] for _, label in known]
        if several
        else [number[label] for _, label in known]
    )
    try:
        model = NaiveBayesLinear([text for text, _ in known], truth, classes=len(names))
    except ValueError:  # one label, or no words
        return None
    answer = model.given if several else model.predict
    return [Bag(answer(group).astype(np.int64), len(known)) for group in texts]


def with_bag(judged: Judged, bag: Bag | None) -> Judged:
    """The same documents with the answers of a bag of words."""
    if bag is None:
        return judged
    answers: Truth = bag.answers.astype(np.bool_) if judged.several else bag.answers
    return replace(judged, bag=answers, bag_trained_on=bag.trained_on)


# -- what to say of it ---------------------------------------------------------------------------


def remarks(found: Classification, what: str, advice: Sequence[str]) -> Iterator[Warning_]:
    """Warnings where the model is not better than models that look at no order.

    what: the documents, in words. advice: what may help, in the order in which to try it.
    """
    try_ = f": try {', or '.join(advice)}" if advice else ""
    low, high = found.accuracy_ci95
    bag = found.bag_of_words
    if bag is not None and bag.micro_f1 is not None and found.micro_f1 is not None:
        if bag.micro_f1 >= found.micro_f1 and found.micro_f1 < 1:
            yield Warning_(
                code="not_better_than_bag_of_words",
                text=f"a bag of words, which knows no order, reaches a micro-F1 of "
                f"{100 * bag.micro_f1:.1f} % on {what}, the model {100 * found.micro_f1:.1f} %"
                + try_,
            )
        return
    # Where every answer is right there is nothing to be better at.
    beaten = bag is not None and bag.accuracy >= found.accuracy and found.accuracy < 1
    try_first = "" if beaten else try_
    if found.majority is not None and low <= found.majority:
        surely = "measurably " if found.accuracy > found.majority else ""
        yield Warning_(
            code="not_better_than_majority",
            text=f"the model is right on {100 * found.accuracy:.1f} % [{100 * low:.1f}, "
            f"{100 * high:.1f}] of {what}, which is not {surely}more than always answering "
            f"{found.majority_label!r:.60} would be ({100 * found.majority:.1f} %)" + try_first,
        )
    if bag is not None and beaten:
        yield Warning_(
            code="not_better_than_bag_of_words",
            text=f"a bag of words, which knows no order, is right on {100 * bag.accuracy:.1f} % of "
            f"{what}, the model on {100 * found.accuracy:.1f} %{try_}",
        )
