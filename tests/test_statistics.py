"""Intervals, fits and tests against numbers worked by hand and against simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from rnnctl import statistics


def test_every_resample_draws_as_many_units_as_there_are() -> None:
    weights = statistics.resampling_weights(7, resamples=50, seed=3)
    assert weights.shape == (50, 7)
    assert (weights.sum(1) == 7).all()
    assert (weights == statistics.resampling_weights(7, resamples=50, seed=3)).all()
    assert (weights != statistics.resampling_weights(7, resamples=50, seed=4)).any()


def test_ratio_of_means_weighs_units_by_their_counts() -> None:
    sums, counts = np.array([[2.0, 0.0], [6.0, 0.0]]), np.array([[1.0, 0.0], [3.0, 0.0]])
    found = statistics.ratio_of_means(sums, counts, np.array([[2.0, 0.0], [0.0, 2.0]]))
    assert found.estimate[0] == 2.0
    assert math.isnan(found.estimate[1])  # nothing was observed there
    assert found.replicates[:, 0].tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("texts", "pairs", "of_text", "of_pair"),
    [(400, 40, 0.0, 0.0), (100, 40, 0.0, 0.3), (40, 100, 0.3, 0.0), (40, 40, 0.3, 0.3)],
)
def test_crossed_weights_vary_as_the_mean_does(
    texts: int, pairs: int, of_text: float, of_pair: float
) -> None:
    """Against the spread of the mean itself over 300 samples; a product of both is far wider."""
    draw, means, wide = np.random.default_rng(5), [], []
    for trial in range(300):
        text = np.arange(400) % texts
        pair = draw.permutation(np.arange(400) % pairs)
        values = draw.normal(size=400) + of_text * draw.normal(size=texts)[text]
        values += of_pair * draw.normal(size=pairs)[pair]
        means.append(values.mean())
        weights = statistics.crossed_weights(values, text, pair, resamples=60, seed=trial)
        found = statistics.ratio_of_means(values, np.ones(400), weights)
        wide.append(found.replicates.var())
    assert math.sqrt(np.mean(wide)) == pytest.approx(np.std(means), rel=0.15)


def test_crossed_weights_of_one_group_are_those_of_the_other() -> None:
    values = np.array([1.0, 5.0, 2.0, 6.0])
    weights = statistics.crossed_weights(values, [0, 0, 0, 0], [0, 1, 0, 1], resamples=99, seed=4)
    drawn = statistics.resampling_weights(2, resamples=99, seed=5)
    assert weights == pytest.approx(drawn[:, [0, 1, 0, 1]])
    assert (statistics.crossed_weights(values, [0] * 4, [0] * 4, resamples=3) == 1).all()
    assert statistics.crossed_weights(np.ones((4, 2)), range(4), range(4)).shape == (1000, 4)


@pytest.mark.parametrize(("taken", "given", "excess"), [(1.0, 1.0, 2.0), (1.0, 0.0, 1.0)])
def test_dyadic_weights_vary_as_the_mean_of_exchanges_does(
    taken: float, given: float, excess: float
) -> None:
    """An exchange counts what one text loses and another gives, which is a text's own nature."""
    draw, means, wide, ratios = np.random.default_rng(5), [], [], []
    for trial in range(300):
        strength = draw.normal(size=80)
        givers = np.concatenate([40 + draw.permutation(40), draw.permutation(40)])
        values = taken * strength + given * strength[givers] + 0.1 * draw.normal(size=80)
        means.append(values.mean())
        pairs = np.arange(80), givers
        weights = statistics.dyadic_weights(values, *pairs, resamples=60, seed=trial)
        found = statistics.ratio_of_means(values, np.ones(80), weights)
        wide.append(found.replicates.var())
        ratios.append(statistics.dyadic_excess(values, *pairs))
    assert math.sqrt(np.mean(wide)) == pytest.approx(np.std(means), rel=0.12)
    assert float(np.mean(ratios)) == pytest.approx(excess, rel=0.1)


def test_exchanges_that_all_do_the_same_vary_like_none() -> None:
    givers = np.array([1, 0, 3, 2])
    assert statistics.dyadic_excess(np.ones(4), np.arange(4), givers) == 1
    # what one loses the other gains: as independent ones, never as less
    drawn = statistics.resampling_weights(4, resamples=9)
    odd = np.array([1.0, -1.0, 2.0, -2.0])
    weights = statistics.dyadic_weights(odd, np.arange(4), givers, resamples=9)
    assert (weights == drawn).all()


def test_percentiles_bear_infinite_replicates() -> None:
    lo, hi = statistics.percentiles(np.array([1.0, 2.0, math.inf, math.inf])[:, None])
    assert (lo[0], hi[0]) == (1.0, math.inf)


@pytest.mark.parametrize("units", [6, 8, 12, 30])
def test_intervals_of_few_units_hold_the_mean(units: int) -> None:
    """Percentiles of 2.5 and 97.5 hold it in 88, 90, 88 and 93 of 100."""
    draw, held = np.random.default_rng(6), 0
    for trial in range(600):
        values = draw.normal(size=units)
        weights = statistics.resampling_weights(units, resamples=600, seed=trial)
        found = statistics.ratio_of_means(values, np.ones(units), weights)
        held += found.lo[0] <= 0 <= found.hi[0]
    assert 0.92 * 600 <= held <= 0.975 * 600


def test_percentiles_are_those_of_the_normal_distribution_where_units_are_many() -> None:
    replicates = np.random.default_rng(0).normal(size=(4000, 2))
    plain = statistics.percentiles(replicates)
    for end, other in zip(plain, statistics.percentiles(replicates, 100_000), strict=True):
        assert end == pytest.approx(other, abs=0.02)
    low, high = statistics.percentiles(replicates, [2, 20])
    assert (low[0], high[0]) == (replicates[:, 0].min(), replicates[:, 0].max())
    assert plain[0][1] - 0.4 < low[1] < plain[0][1]
    assert np.isfinite(statistics.percentiles(replicates, [0, 1])).all()


def test_bca_holds_the_mean_of_skewed_units_more_often() -> None:
    held, plain, too_low = 0, 0, 0
    for trial in range(400):
        values = np.exp(np.random.default_rng((7, trial)).normal(size=40))
        weights = statistics.resampling_weights(40, resamples=600, seed=trial)
        found = statistics.ratio_of_means(values, np.ones(40), weights)
        influence = ((values - values.mean()) / 40)[:, None]
        low, high = statistics.bca(found.estimate, found.replicates, influence)
        held += low[0] <= math.exp(0.5) <= high[0]
        plain += found.lo[0] <= math.exp(0.5) <= found.hi[0]
        too_low += high[0] < math.exp(0.5)
    assert held >= 0.91 * 400
    assert held >= plain + 10
    assert too_low < 0.07 * 400


def test_bca_of_units_that_agree_or_are_alike_on_both_sides_is_the_percentile_interval() -> None:
    values = np.random.default_rng(3).normal(size=(30, 1))
    values = np.concatenate([values, -values, np.zeros((60, 1))])[:, [0, 0]]
    values[:, 1] = 2.0
    weights = statistics.resampling_weights(len(values))
    found = statistics.ratio_of_means(values, np.ones_like(values), weights)
    influence = (values - values.mean(0)) / len(values)
    low, high = statistics.bca(found.estimate, found.replicates, influence)
    error = float(found.replicates[:, 0].std())
    assert low == pytest.approx(found.lo, abs=0.2 * error)
    assert high == pytest.approx(found.hi, abs=0.2 * error)
    assert (low[1], high[1]) == (2.0, 2.0)


def test_a_correlated_sample_needs_units_not_tokens() -> None:
    """Tokens of one document are alike: resampling tokens would promise far too much."""
    draw = np.random.default_rng(0)
    documents = draw.normal(size=(40, 1)) + 0.1 * draw.normal(size=(40, 50))
    weights = statistics.resampling_weights(40)
    by_unit = statistics.ratio_of_means(documents.sum(1), np.full(40, 50.0), weights)
    tokens = documents.ravel()
    by_token = statistics.ratio_of_means(
        tokens, np.ones_like(tokens), statistics.resampling_weights(tokens.size)
    )
    assert (by_unit.hi - by_unit.lo)[0] > 4 * (by_token.hi - by_token.lo)[0]


def test_isotonic_pools_what_rises() -> None:
    assert statistics.isotonic([3, 1, 2, 0.5]).tolist() == [3, 1.5, 1.5, 0.5]
    assert statistics.isotonic([3, 1, 2, 0.5], [1, 3, 1, 1]).tolist() == [3, 1.25, 1.25, 0.5]
    assert statistics.isotonic([]).size == 0


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12))
def test_isotonic_falls_and_keeps_the_mean(values: list[float]) -> None:
    fit = statistics.isotonic(values)
    assert (np.diff(fit) <= 1e-12).all()
    assert fit.mean() == pytest.approx(np.mean(values), abs=1e-9)


def test_between_its_points_a_curve_is_linear_in_the_log_of_one_plus_x() -> None:
    assert statistics.interpolated([0, 3], [1, 0], 1) == pytest.approx(0.5)
    assert statistics.interpolated([1, 3], [1, 0], [0, 1, 3, 9]).tolist() == [1, 1, 0, 0]


def test_crossing_interpolates() -> None:
    assert statistics.crossing([0, 1, 2, 4], [1, 0.8, 0.6, 0.4], 0.5) == pytest.approx(8**0.5)
    assert statistics.crossing([0, 1], [1, 0], 0.25) == 0.75
    assert statistics.crossing([3, 4], [0.1, 0], 0.5) == 3
    assert statistics.crossing([3, 4], [1, 0.9], 0.5) == math.inf


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.99])
def test_crossing_of_an_exponential_is_exact(rate: float) -> None:
    x = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128])
    half = statistics.crossing(x, rate**x, 0.5, decay=True)
    assert half == pytest.approx(math.log(2) / -math.log(rate), rel=1e-9)


def test_crossing_bears_a_curve_that_ends_at_zero() -> None:
    found = statistics.crossing([1, 2, 4], [1, 0.5, 0], 0.01, decay=True, floor=0.0001)
    assert 2 < found < 4


def test_stays_below_asks_for_the_whole_rest() -> None:
    assert statistics.stays_below([0, 1, 2, 3], [1, 0, 1, 0], 0.5) == 3
    assert statistics.stays_below([0, 1], [0, 0], 0.5) == 0
    assert statistics.stays_below([0, 1], [0, 1], 0.5) == math.inf


def test_t_interval_against_the_table() -> None:
    found = statistics.t_interval([1, 2, 3, 4, 5])
    half = 2.7764451 * math.sqrt(2.5 / 5)
    assert found.estimate == 3
    assert found.lo == pytest.approx(3 - half)
    assert statistics.t_interval([2.0]).hi == math.inf
    assert statistics.t_interval([1.0, 100.0], log=True).estimate == pytest.approx(10)
    with pytest.raises(ValueError):
        statistics.t_interval([])


def test_t_interval_covers_with_three_seeds() -> None:
    draw = np.random.default_rng(1)
    found = [statistics.t_interval(draw.normal(size=3)) for _ in range(600)]
    covered = np.mean([i.lo <= 0 <= i.hi for i in found])
    assert 0.92 < covered < 0.98


@pytest.mark.parametrize(("n", "p"), [(3, 0.1), (4, 2 / 70), (5, 2 / 252)])
def test_smallest_p_of_an_unpaired_permutation_test(n: int, p: float) -> None:
    assert statistics.permutation_test(range(n), range(10, 10 + n)) == pytest.approx(p)
    assert statistics.smallest_p(n) == pytest.approx(p)


def test_a_permutation_test_of_unequal_sides_counts_differences_in_both_directions() -> None:
    # of the 10 deals of two values against three, two are as far apart: 4, 5 and 1, 2 on one side
    assert statistics.permutation_test([4.0, 5.0], [1.0, 2.0, 3.0]) == pytest.approx(2 / 10)


def test_sampled_permutations_agree_with_all_of_them() -> None:
    a, b = [0.1, 0.5, 0.3, 0.9, 0.2], [0.6, 1.1, 0.8, 0.4, 1.3]
    exact = statistics.permutation_test(a, b)
    sampled = statistics.permutation_test(a, b, most=200)
    assert sampled == pytest.approx(exact, abs=0.05)


def test_enough_seeds() -> None:
    assert statistics.enough_seeds(5, 3) and not statistics.enough_seeds(3, 1)


def test_holm_steps_down() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]


@settings(deadline=None)
@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(case: tuple[int, int]) -> None:
    hits, n = case
    interval = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    found = statistics.wilson(hits, n)
    assert found.estimate == hits / n
    assert found.lo == pytest.approx(interval.low, abs=1e-12)
    assert found.hi == pytest.approx(interval.high, abs=1e-12)


def test_wilson_is_exact_at_both_ends() -> None:
    for n in range(1, 300):
        assert statistics.wilson(0, n).lo == 0
        assert statistics.wilson(n, n).hi == 1


def test_wilson_without_examples_says_nothing() -> None:
    assert (statistics.wilson(0, 0).lo, statistics.wilson(0, 0).hi) == (0, 1)


def test_effect_sizes() -> None:
    assert statistics.probability_of_superiority([2, 3], [1, 2]) == 0.875
    ratio = statistics.ratio_of_geometric_means([4, 9], [1, 1])
    assert ratio.estimate == pytest.approx(6)
    logs = statistics.difference_of_means(np.log([4, 9]).tolist(), [0, 0])
    assert (ratio.lo, ratio.hi) == (math.exp(logs.lo), math.exp(logs.hi))
    assert statistics.ratio_of_geometric_means([8, 8], [2, 2]).hi == pytest.approx(4)
    assert statistics.ratio_of_geometric_means([8], [2]).hi == math.inf


def test_a_share_of_things_that_come_one_by_one_has_wilsons_interval() -> None:
    hits = np.array([1] * 57 + [0] * 3)
    assert statistics.share_of(hits, np.ones(60)) == statistics.wilson(57, 60)
    assert statistics.share_of(hits * 0 + 1, np.ones(60)) == statistics.wilson(60, 60)
    nothing = statistics.share_of(np.zeros(4), np.zeros(4))
    assert math.isnan(nothing.estimate) and (nothing.lo, nothing.hi) == (0, 1)


@pytest.mark.parametrize(("share", "alike"), [(0.5, 0.3), (0.97, 0.3), (0.97, 0.9)])
def test_the_interval_of_a_share_holds_the_truth_where_its_things_come_in_groups(
    share: float, alike: float
) -> None:
    """Of three words of a document each is as the first one with probability `alike`."""
    draw, held = np.random.default_rng(5), 0
    for _ in range(1000):
        first = draw.random((80, 1)) < share
        own = draw.random((80, 3)) < share
        words = np.where(draw.random((80, 3)) < alike, first, own)
        counted = draw.random((80, 3)) < 0.8
        found = statistics.share_of((words & counted).sum(1), counted.sum(1))
        held += found.lo <= share <= found.hi
    assert 0.92 <= held / 1000 <= 0.99


@pytest.mark.parametrize(
    ("values", "share"),
    [
        ([3.0 - 0.1 * k for k in range(10)], 0.3 / 0.9 / 2.25),  # from step 70 on: 2.4 … 2.1
        ([2.0] * 10, None),
        ([2.0 * 0.9985**k for k in range(10)], None),  # half a per cent in the last third
        ([3, 2.5, 2.2, 2.1, 2.0, 2.0, 1.9, 1.95, 2.1, 2.3], None),  # rises again
        ([2.5, 2.0, 1.9, 1.8, 1.8, 1.8, 1.8, 1.8, 1.8, 1.5], None),  # one outlier at the end
        ([3.0 - 0.1 * k for k in range(9)] + [2.19], 0.21 / 0.9 / 2.25),  # slower at the end
        ([3.0, 2.0], None),
        ([math.nan] * 10, None),
    ],
)
def test_a_loss_that_still_falls_is_known_by_the_last_third(
    values: list[float], share: float | None
) -> None:
    steps = [10 * (k + 1) for k in range(len(values))]
    found = statistics.still_falling(steps, values)
    assert found == (None if share is None else pytest.approx(share))


def test_few_late_validations_are_joined_by_the_ones_before() -> None:
    """A slow machine leaves validations out: the last one alone lies in the last third."""
    steps, values = [9, 18, 27, 50, 61, 279], [0.692, 0.689, 0.691, 0.689, 0.693, 0.623]
    falls = statistics.still_falling(steps, values)
    assert falls == pytest.approx((0.689 - 0.623) / 229 * 93 / 0.689)


def test_noise_alone_is_hardly_ever_a_falling_loss() -> None:
    """A loss that has arrived and moves by half a per cent between validations of one text."""
    draw = np.random.default_rng(3)
    runs = 1.6 * (1 + 0.005 * draw.normal(size=(500, 10)))
    steps = list(range(10, 110, 10))
    falling = [statistics.still_falling(steps, list(run)) for run in runs]
    assert sum(one is not None for one in falling) <= 5


def test_a_training_improves_until_its_validations_or_its_answers_say_otherwise() -> None:
    """Where every answer is right, or no validation got better, nothing more is to be gained."""

    def curve(best: float) -> list[tuple[float, float | None, float | None]]:
        return [(k, 0.5**k, min(best, 0.2 * k)) for k in range(12)]

    falling = statistics.still_falling(range(12), [0.5**k for k in range(12)])
    assert falling is not None
    assert statistics.still_improving(curve(0.99), "budget") == falling
    assert statistics.still_improving(curve(1.0), "budget") is None
    assert statistics.still_improving(curve(0.99), "patience") is None
    assert statistics.still_improving([], "steps") is None
    gaps = [(1.0, None, None), *((k, 0.5**k, None) for k in range(2, 12))]
    assert statistics.still_improving(gaps, "steps") is not None


@pytest.mark.parametrize(
    ("loss", "n_gram", "expected"),
    [(1.0, 0.9, True), (0.9, 0.9, True), (0.8, 0.9, False), (None, 0.9, False), (1.0, None, False)],
)
def test_a_model_is_better_than_counting_only_below_the_loss_of_an_n_gram(
    loss: float | None, n_gram: float | None, expected: bool
) -> None:
    assert statistics.no_better_than_counting(loss, n_gram) is expected
