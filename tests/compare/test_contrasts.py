"""The confirmatory family: who is in it, what it can claim, how often it is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rnnctl.compare.contrasts import Pair, contrasts, family, named_pairs, seeds_needed
from rnnctl.compare.report import compare
from rnnctl.compare.summary import estimates, summarise
from rnnctl.results.base import Estimate
from rnnctl.results.comparison import SeedSummary


def _side(values: list[float]) -> SeedSummary:
    return summarise(estimates(values), "log")


def _beyond(bound: float, *known: float) -> SeedSummary:
    """Five seeds, all but the known ones known to lie beyond a bound only."""
    censored = Estimate(estimate=None, status="censored", censored_at=bound)
    return summarise([*estimates(known), *[censored] * (5 - len(known))], "log")


def _pair(a: list[float], b: list[float], name: str = "a") -> Pair:
    return Pair("horizon", "text", name, "b", _side(a), _side(b))


@pytest.mark.parametrize(("comparisons", "needed"), [(1, 4), (2, 5), (3, 5), (6, 5), (7, 6)])
def test_how_many_seeds_can_claim_anything(comparisons: int, needed: int) -> None:
    """2 / C(2n, n) times the number of comparisons must not exceed 0.05."""
    assert seeds_needed(comparisons) == needed
    assert 2 / math.comb(2 * needed, needed) * comparisons <= 0.05
    assert 2 / math.comb(2 * needed - 2, needed - 1) * comparisons > 0.05


def test_a_clear_difference_of_five_seeds_is_claimed() -> None:
    (made,) = contrasts([_pair([50, 55, 60, 65, 70], [5, 6, 7, 8, 9])])
    assert made.outcome == "more"
    assert made.p == pytest.approx(2 / 252)
    assert made.superiority == 1
    assert made.effect.estimate == pytest.approx(8.66, rel=0.01)
    (other,) = contrasts([_pair([5, 6, 7, 8, 9], [50, 55, 60, 65, 70])])
    assert other.outcome == "less"


def test_lower_bounds_show_what_they_can_and_nothing_more() -> None:
    """A side of lower bounds may be any amount more than it is known to be."""
    known = _side([235, 238, 240, 241, 244])
    (more,) = contrasts([Pair("horizon", "text", "a", "b", _beyond(256), known)])
    assert more.outcome == "more"
    assert more.effect.ci95[0] is not None and more.effect.ci95[1] is None
    (less,) = contrasts([Pair("horizon", "text", "a", "b", known, _beyond(256))])
    assert less.outcome == "less" and less.effect.ci95[0] is None
    longer = _side([300, 310, 320, 330, 340])
    (open_,) = contrasts([Pair("horizon", "text", "a", "b", longer, _beyond(256))])
    assert open_.tested and open_.outcome == "no clear difference"
    (nothing,) = contrasts([Pair("horizon", "text", "a", "b", _beyond(40), _beyond(40))])
    assert nothing.outcome == "no clear difference"
    assert (nothing.effect.estimate, nothing.effect.status) == (None, "undefined")


def test_too_few_seeds_are_said_to_be_too_few_whatever_they_show() -> None:
    (made,) = contrasts([_pair([500, 510], [5, 5.1])])
    assert made.outcome == "not enough seeds to claim"
    assert (made.p, made.p_holm, made.tested) == (None, None, False)
    assert made.effect.estimate == pytest.approx(100, rel=0.01)


def test_pairs_without_enough_seeds_do_not_cost_the_others_anything() -> None:
    many = _pair([50, 55, 60, 65], [5, 6, 7, 8], "many")
    few = _pair([50, 55], [5, 6], "few")
    assert family([few, many]) == [many]
    made = {contrast.first: contrast for contrast in contrasts([few, many])}
    assert made["many"].p_holm == made["many"].p == pytest.approx(2 / 70)
    assert made["few"].outcome == "not enough seeds to claim"


def test_the_family_is_chosen_by_numbers_of_seeds_and_never_by_values() -> None:
    draw = np.random.default_rng(0)
    shapes = [(4, 4), (5, 5), (5, 5), (3, 3)]
    chosen = set()
    for _ in range(20):
        pairs = [
            _pair(list(draw.lognormal(size=a)), list(draw.lognormal(size=b)), f"{k}")
            for k, (a, b) in enumerate(shapes)
        ]
        chosen.add(tuple(pair.first for pair in family(pairs)))
    assert chosen == {("1", "2")}


def test_no_difference_is_declared_in_at_most_five_per_cent_of_grids() -> None:
    """Six pairs without any difference: a claim anywhere in the family counts as an error."""
    draw = np.random.default_rng(2)
    grids, wrong = 400, 0
    for _ in range(grids):
        rows = [list(20 * np.exp(0.4 * draw.normal(size=5))) for _ in range(6)]
        pairs = [_pair(rows[k], rows[(k + 1) % 6], str(k)) for k in range(6)]
        wrong += any(c.outcome in ("more", "less") for c in contrasts(pairs))
    assert wrong / grids <= 0.05


def test_the_named_pairs_are_those_of_the_verdicts(grid) -> None:  # type: ignore[no-untyped-def]
    result = compare(grid(seeds=2, recall_seeds=2))
    pairs = named_pairs(result.rows, result.bench, "text")
    assert [(pair.endpoint, pair.first, pair.second) for pair in pairs] == [
        (endpoint, first, second)
        for endpoint in ("horizon", "recall")
        for first, second in (
            ("lstm torch", "rnn torch"),
            ("lstm good", "rnn good"),
            ("gru good", "lstm good"),
        )
    ]


def test_cells_that_share_no_initialisation_are_still_compared(grid) -> None:  # type: ignore[no-untyped-def]
    members = [
        member
        for member in grid(seeds=2, recall_seeds=0)
        if (member.cell, member.init) in (("rnn", "torch"), ("lstm", "good"))
    ]
    (contrast,) = compare(members).contrasts
    assert (contrast.first, contrast.second) == ("lstm good", "rnn torch")


def test_recall_is_tested_at_the_longest_lag(grid) -> None:  # type: ignore[no-untyped-def]
    members = grid(seeds=1, recall_seeds=5)
    easy = [
        member.model_copy(
            update={
                "bench": "task:recall:lag=10", "lag": 10, "fingerprint": "easy",
                "path": member.path + "-10", "values": {"accuracy": estimates([1.0])[0]},
            }
        )
        for member in members
        if member.bench
    ]  # fmt: skip
    result = compare([*members, *easy])
    assert {row.lag for row in result.bench} == {10, 40}
    assert {test.corpus for test in result.contrasts if test.endpoint == "recall"} == {
        "task:recall:lag=40"
    }


def test_a_horizon_below_one_word_counts_as_one() -> None:
    """A ratio of 3 that rests on the floor of a logarithm is none."""
    (made,) = contrasts([_pair([0.30, 0.31, 0.32, 0.33, 0.34], [0.0] * 5)])
    assert (made.effect.estimate, made.outcome) == (None, "no clear difference")
    (made,) = contrasts([_pair([4.0, 4.1, 4.2, 4.3, 4.4], [0.0] * 4 + [0.7])])
    assert made.effect.estimate == pytest.approx(4.2, rel=0.01)
    assert made.outcome == "more"
    assert made.note == made.effect.note == "5 horizons below one word count as 1"
    accuracies = _side([0.9, 0.91, 0.92, 0.93, 0.94]), _side([0.1, 0.11, 0.12, 0.13, 0.14])
    (recall,) = contrasts([Pair("recall", "t", "a", "b", *accuracies)])
    assert recall.effect.estimate == pytest.approx(0.8)


def test_the_family_does_not_depend_on_which_seeds_have_a_horizon() -> None:
    nothing = Estimate(
        estimate=None, status="undefined", note="no measurable effect even when near"
    )
    lstm, gru = _side([40, 50, 60, 45, 55]), _side([161, 162, 170, 166, 158])
    full = _side([20, 22, 19, 25, 30])
    part = summarise([*estimates([20, 22, 30]), nothing, nothing], "log")
    none = summarise([nothing] * 5, "log")
    found = []
    for rnn in (full, part, none):
        pairs = [
            Pair("horizon", "t", "lstm torch", "rnn torch", lstm, rnn),
            Pair("horizon", "t", "lstm good", "rnn good", lstm, full),
            Pair("horizon", "t", "gru good", "lstm good", gru, lstm),
        ]
        assert family(pairs) == pairs
        found.append(contrasts(pairs))
    assert [one[0].outcome for one in found] == ["more", *["no clear difference"] * 2]
    for one, missing in zip(found[1:], (2, 5), strict=True):
        assert (one[0].n, one[0].p, one[0].tested) == (5, None, True)
        assert one[0].note == f"{missing} seeds have no value"
        assert one[0].effect.ci95 == (None, None)
        assert one[2].p_holm == found[0][2].p_holm and one[2].outcome == "more"
