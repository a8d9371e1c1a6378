"""Oracles: counts, and tables worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnctl.tasks import quality

labels = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@settings(deadline=None)
@given(labels)
def test_accuracy_f1_and_confusion_are_those_of_the_counts(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(pairs).T
    names = ("a", "b", "c", "d")
    found = quality.Judged(np.eye(4)[predicted], truth, names).classification()
    assert found.accuracy == pytest.approx(np.mean(truth == predicted))
    assert found.confusion == tuple(
        tuple(pairs.count((row, column)) for column in range(4)) for row in range(4)
    )
    f1 = []
    for k in {*truth.tolist(), *predicted.tolist()}:
        hits = pairs.count((k, k))
        f1.append(2 * hits / (np.sum(truth == k) + np.sum(predicted == k)))
    assert found.macro_f1 == pytest.approx(np.mean(f1))


def test_calibration_error_by_hand() -> None:
    # bin (0.5333, 0.6]: 0.55 wrong, 0.6 right -> gap |1 - 1.15|; bin (0.8667, 0.9333]: |1 - 0.9|
    confidence = np.array([0.55, 0.6, 0.9])
    correct = np.array([False, True, True])
    expected = (abs(1 - 1.15) + abs(1 - 0.9)) / 3
    assert quality.calibration_error(confidence, correct) == pytest.approx(expected)


def test_calibration_error_of_a_calibrated_predictor_is_small_and_of_a_boaster_large() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1.0, 50_000)
    honest = generator.random(50_000) < confidence
    assert quality.calibration_error(confidence, honest) < 0.01
    assert quality.calibration_error(np.full(50_000, 0.99), honest) == pytest.approx(0.24, abs=0.01)


def test_log_softmax_survives_large_logits() -> None:
    logits = np.array([[1000.0, 1000.0], [-1000.0, 0.0]], dtype=np.float32)
    expected = [[-math.log(2), -math.log(2)], [-1000.0, 0.0]]
    np.testing.assert_allclose(quality.log_softmax(logits), expected, rtol=1e-12)
