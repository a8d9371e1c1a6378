"""Numbers over seeds: intervals that cover, and values that are missing or censored."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rnnctl.compare.summary import at_least, estimates, rows_of, summarise, summarise_curves
from rnnctl.reports.numbers import over_seeds
from rnnctl.results.base import Curve, Estimate
from rnnctl.results.comparison import DiagnosedOn

GRIDS = 2000


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_intervals_over_five_seeds_cover_the_truth_in_92_to_97_per_cent(scale: str) -> None:
    draw = np.random.default_rng(1)
    covered = 0
    for _ in range(GRIDS):
        noise = draw.normal(size=5)
        values = 30 * np.exp(0.4 * noise) if scale == "log" else 2.2 + 0.01 * noise
        made = summarise(estimates(map(float, values)), scale)  # type: ignore[arg-type]
        lo, hi = made.ci95
        assert lo is not None
        assert hi is not None
        covered += lo <= (30 if scale == "log" else 2.2) <= hi
    assert 0.92 <= covered / GRIDS <= 0.97


def test_a_log_scale_has_the_geometric_mean() -> None:
    made = summarise(estimates([2.0, 8.0]), "log")
    assert made.estimate == pytest.approx(4.0)
    assert made.seeds == (2.0, 8.0)
    lo, hi = made.ci95
    assert lo is not None
    assert hi is not None
    assert math.sqrt(lo * hi) == pytest.approx(4.0)


def test_one_seed_has_no_interval_and_says_so() -> None:
    made = summarise(estimates([3.0]), "linear")
    assert (made.estimate, made.ci95, made.n) == (3.0, (None, None), 1)
    assert "one seed" in made.note


def test_censored_seeds_enter_as_bounds_and_are_counted() -> None:
    beyond = Estimate(estimate=None, status="censored", censored_at=256)
    some = summarise([*estimates([64.0]), beyond], "log")
    assert (some.censored, some.estimate) == (1, pytest.approx(128.0))
    assert "1 of 2 seeds is a lower bound" in some.note
    assert some.ci95[0] is not None and some.ci95[1] is None  # it may be any amount beyond
    every = summarise([beyond, beyond], "log")
    assert (every.status, every.censored_at, every.estimate) == ("censored", 256, None)


def test_values_that_do_not_exist_are_left_out_and_counted() -> None:
    nothing = Estimate(estimate=None, status="undefined", note="no effect even when near")
    made = summarise([nothing, *estimates([1.0, 2.0])], "linear")
    assert made.n == 2
    assert "1 of 3" in made.note
    none = summarise([nothing, nothing], "linear")
    assert (none.status, none.note, none.estimate) == ("undefined", nothing.note, None)


def test_a_horizon_of_nothing_is_shorter_than_the_shortest_step_measured() -> None:
    """It is no tenth of a word: the smallest step bounds it, and the table says so."""
    none = Estimate(estimate=0.0, ci95=(0.0, 9.7), unit="words")
    some = summarise([none, *estimates([8.0, 8.0])], "log", "words", step=0.18)
    assert some.estimate == pytest.approx((0.18 * 8 * 8) ** (1 / 3))
    assert (some.seeds, some.upper_bounds) == ((0.18, 8.0, 8.0), (True, False, False))
    assert some.ci95[0] == 0  # nobody knows how far below the step it is
    assert "1 seed has none measurable and counts as 0.18 words, the shortest measured" in some.note
    assert over_seeds(some, 2).startswith("< 2.3 [0, ")
    beyond = Estimate(estimate=None, status="censored", censored_at=256, unit="words")
    both = summarise([none, beyond], "log", "words", step=1.0)
    assert both.ci95 == (0.0, None) and over_seeds(both, 2) == "16 [0, ?]"


def test_where_no_seed_has_a_horizon_there_is_none() -> None:
    none = Estimate(estimate=0.0, ci95=(0.0, 9.7), unit="words")
    every = summarise([none, none], "log")
    assert (every.estimate, every.ci95) == (0.0, (None, None))
    assert over_seeds(every, 2) == "none measurable"
    assert over_seeds(summarise([none], "log"), 2) == "none measurable, at most 9.7"
    assert at_least(every, 1.0).ci95 == (1.0, 1.0)  # what it counts as in ratios and verdicts


def test_the_step_is_that_of_the_horizons_own_curve(grid) -> None:  # type: ignore[no-untyped-def]
    (member,) = [m for m in grid(seeds=1, recall_seeds=0) if (m.cell, m.init) == ("rnn", "good")]
    fine = DiagnosedOn(text="", preset="quick", seed=0, longest=90.0, shortest=0.18, unit="words")
    none = {"horizon": Estimate(estimate=0.0, ci95=(0.0, 3.0), unit="words")}
    made = member.model_copy(update={"diagnosed": fine, "values": member.values | none})
    (row,) = rows_of({"rnn": [made]})
    assert row.numbers["horizon"].seeds == (0.18,)


def _curve(x: list[float], y: list[float | None]) -> Curve:
    return Curve(x_unit="words", y_unit="nats", x=tuple(x), y=tuple(y))


def test_intervals_of_shares_stay_between_0_and_1() -> None:
    made = summarise(estimates([0.1, 0.9]), "linear", most=1.0)
    assert made.ci95 == (0.0, 1.0)


def test_curves_are_averaged_where_all_seeds_have_them() -> None:
    made = summarise_curves([_curve([1, 2, 4], [1, 2, None]), _curve([2, 4, 8], [4, 6, 8])])
    assert made is not None
    assert made.x == (2, 4)
    assert made.y == (3, 6)
    assert made.n == (2, 1)
    assert made.lo[0] is not None
    assert made.lo[0] < 3
    assert made.lo[1] is None
    assert summarise_curves([]) is None


def test_gradients_are_averaged_as_logarithms_and_their_bands_stay_above_nothing() -> None:
    made = summarise_curves([_curve([1, 9], [1, 1e-2]), _curve([1, 9], [1, 1e-4])], "log")
    assert made is not None
    assert made.y == pytest.approx((1, 1e-3))
    assert 0 < made.lo[1] < 1e-4 < 1e-2 < made.hi[1]


def test_rows_of_one_cell_and_size_share_what_was_measured_of_their_speed(grid) -> None:  # type: ignore[no-untyped-def]
    members = [
        m.model_copy(update={"speed": m.speed if m.init == "torch" else None})
        for m in grid(seeds=2, recall_seeds=0)
    ]
    groups = {i: [m for m in members if (m.cell, m.init) == ("gru", i)] for i in ("torch", "good")}
    torch, good = rows_of(groups)
    assert good.numbers["train_tokens_per_s"] == torch.numbers["train_tokens_per_s"]


def test_a_fast_model_takes_less_than_a_tenth_of_a_millisecond(grid) -> None:  # type: ignore[no-untyped-def]
    (member,) = [m for m in grid(seeds=1, recall_seeds=0) if (m.cell, m.init) == ("rnn", "good")]
    fast = member.speed.model_copy(update={"generate_ms_per_token": (0.03, 0.04)})
    (row,) = rows_of({"rnn": [member.model_copy(update={"speed": fast})]})
    assert row.numbers["generate_ms_per_token"].estimate == pytest.approx(0.0346, rel=0.01)


def test_curves_of_different_length_in_time_are_interpolated() -> None:
    made = summarise_curves([_curve([0, 10, 20], [0, 10, 20]), _curve([1, 11, 19], [1, 11, 19])])
    assert made is not None
    assert made.x == (10,)
    assert made.y == (10,)


def test_rows_are_measured_against_the_lstm(grid) -> None:  # type: ignore[no-untyped-def]
    members = [member for member in grid(seeds=2, recall_seeds=0) if member.init == "good"]
    groups = {cell: [m for m in members if m.cell == cell] for cell in ("rnn", "lstm", "gru")}
    rows = {row.name: row for row in rows_of(groups)}
    assert rows["lstm"].deviation == 0
    assert rows["rnn"].deviation == pytest.approx(0, abs=0.01)
    assert rows["rnn"].numbers["horizon"].scale == "log"
    assert rows["rnn"].numbers["bits_per_byte"].n == 2
    assert rows["rnn"].seeds == (0, 1)


def test_a_number_says_which_seeds_are_lower_bounds_and_how_many_have_none() -> None:
    beyond = Estimate(estimate=None, status="censored", censored_at=256)
    nothing = Estimate(estimate=None, status="undefined")
    made = summarise([*estimates([64.0]), beyond, nothing], "log")
    assert (made.seeds, made.lower_bounds, made.missing) == ((64, 256), (False, True), 1)
    assert summarise([beyond, nothing], "log").lower_bounds == (True,)
    assert summarise([nothing] * 3, "log").missing == 3
    low = at_least(summarise([*estimates([0.2, 4.0]), beyond], "log"), 1.0)
    assert (low.seeds, low.lower_bounds, low.missing) == ((1, 4, 256), (False, False, True), 0)


def test_a_gradient_that_has_sunk_to_nothing_is_part_of_the_mean() -> None:
    """One that survives in one seed of five does not stand for all five."""
    dead = _curve([1, 2, 3], [1, 1e-3, None])
    made = summarise_curves([*[dead] * 4, _curve([1, 2, 3], [1, 0.9, 0.8])], "log")
    assert made is not None
    assert made.n == (5, 5, 5)
    assert made.y[2] == pytest.approx(0.8 ** (1 / 5) * 1e-12 ** (4 / 5))
    learning = summarise_curves([_curve([1, 2], [1, None]), _curve([1, 2], [3, 5])])
    assert learning is not None and learning.y == (2, 5)
