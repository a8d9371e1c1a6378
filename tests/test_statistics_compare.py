"""The difference of means, with Welch's interval."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rnnctl.statistics import difference_of_means


def test_against_scipy() -> None:
    from scipy.stats import ttest_ind

    a, b = [2.1, 2.4, 2.2, 2.9], [1.0, 1.9, 1.2]
    made = difference_of_means(a, b)
    ends = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert made.estimate == pytest.approx(np.mean(a) - np.mean(b))
    assert (made.lo, made.hi) == pytest.approx((ends.low, ends.high))


def test_one_value_on_a_side_has_no_interval() -> None:
    made = difference_of_means([3.0], [1.0, 2.0])
    assert (made.estimate, made.lo, made.hi) == (1.5, -math.inf, math.inf)


def test_equal_values_have_no_spread() -> None:
    assert difference_of_means([2.0, 2.0], [1.0, 1.0]).hi == 1.0


def test_it_covers_the_truth_in_92_to_97_per_cent_of_grids() -> None:
    draw = np.random.default_rng(4)
    grids, covered = 2000, 0
    for _ in range(grids):
        made = difference_of_means(list(draw.normal(1, 0.1, 5)), list(draw.normal(0, 0.3, 5)))
        covered += made.lo <= 1 <= made.hi
    assert 0.92 <= covered / grids <= 0.97
