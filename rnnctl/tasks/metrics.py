"""Metrics of classifiers, on numbers only, accumulated in float64.

N: examples, C: classes. Nothing here imports torch: `evaluate`, training and diagnostics share it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 15


def confusion_matrix(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """(C, C) counts; rows are the truth, columns the prediction. Classes are 0 … C-1."""
    pairs = truth.astype(np.int64) * num_classes + predicted.astype(np.int64)
    counts = np.bincount(pairs, minlength=num_classes * num_classes)
    return counts.astype(np.int64).reshape(num_classes, num_classes)


def accuracy(confusion: NDArray[np.integer]) -> float:
    """Share of examples on the diagonal; 0 to 1. At least one example is needed."""
    return float(np.trace(confusion) / confusion.sum())


def macro_f1(confusion: NDArray[np.integer]) -> float:
    """Mean over classes of F1 = 2 TP / (2 TP + FP + FN); 0 to 1.

    A class that occurs neither as truth nor as prediction has no F1 and is left out, as
    scikit-learn does when it is given no list of labels.
    """
    hits = np.diag(confusion).astype(np.float64)
    occurrences = confusion.sum(axis=0).astype(np.float64) + confusion.sum(axis=1)
    present = occurrences > 0
    return float(np.mean(2 * hits[present] / occurrences[present]))


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
    index = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(index, weights=correct.astype(np.float64) - sure, minlength=bins)
    return float(np.abs(gaps).sum() / sure.size)


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(…, C) logits -> (…, C) log probabilities in nats, in float64."""
    wide = logits.astype(np.float64)
    wide = wide - wide.max(axis=-1, keepdims=True)
    shifted: NDArray[np.float64] = wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return shifted
