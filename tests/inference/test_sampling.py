"""Each filter against an oracle written another way: plain loops, exact tables, frequencies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import chisquare

from rnnctl.errors import UsageError
from rnnctl.inference import sampling
from rnnctl.inference.sampling import Sampling, Uniforms, choose

NOTHING = np.zeros((1, 0), dtype=np.int64)
rows = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 12)),
    elements=st.floats(-8, 8, width=32),
)
relaxed = settings(deadline=None, max_examples=60)


def softmax(row: np.ndarray) -> list[float]:
    weights = [math.exp(float(value)) for value in row]
    return [weight / math.fsum(weights) for weight in weights]


@relaxed
@given(rows, st.integers(1, 14))
def test_top_k_keeps_those_with_fewer_than_k_better(logits: np.ndarray, k: int) -> None:
    kept = np.isfinite(sampling.keep_top_k(logits, k))
    for row, mask in zip(logits, kept, strict=True):
        for value, stays in zip(row, mask, strict=True):
            assert stays == (sum(other > value for other in row) < k)


@relaxed
@given(rows, st.floats(0.01, 0.99))
def test_top_p_is_the_smallest_set_that_reaches_p(logits: np.ndarray, p: float) -> None:
    kept = np.isfinite(sampling.keep_top_p(logits, p))
    for row, mask in zip(logits, kept, strict=True):
        chances = softmax(row)
        inside = sorted(c for c, stays in zip(chances, mask, strict=True) if stays)
        outside = [c for c, stays in zip(chances, mask, strict=True) if not stays]
        assert math.fsum(inside) >= p - 1e-9
        assert math.fsum(inside[1:]) < p + 1e-9  # without its least member it does not reach p
        assert not outside or max(outside) <= inside[0] + 1e-9


@relaxed
@given(rows, st.floats(0.001, 1.0))
def test_min_p_is_relative_to_the_best(logits: np.ndarray, p: float) -> None:
    kept = np.isfinite(sampling.keep_min_p(logits, p))
    for row, mask in zip(logits, kept, strict=True):
        chances = softmax(row)
        for chance, stays in zip(chances, mask, strict=True):
            margin = chance - p * max(chances)
            assert stays == (margin >= 0) or abs(margin) < 1e-6


@relaxed
@given(rows, st.floats(0.2, 5.0), st.lists(st.integers(0, 11), max_size=6))
def test_penalty_touches_said_tokens_once(
    logits: np.ndarray, penalty: float, said: list[int]
) -> None:
    said = [token for token in said if token < logits.shape[1]]
    recent = np.tile(np.array(said, dtype=np.int64), (logits.shape[0], 1))
    out = sampling.penalize(logits, recent, penalty)
    for row, changed in zip(logits, out, strict=True):
        for token, value in enumerate(row):
            factor = (1 / penalty if value > 0 else penalty) if token in said else 1.0
            assert changed[token] == pytest.approx(value * factor, rel=1e-5)


@relaxed
@given(rows)
def test_filters_that_are_off_change_nothing(logits: np.ndarray) -> None:
    for same in (
        sampling.keep_top_k(logits, 0),
        sampling.keep_top_p(logits, 1.0),
        sampling.keep_min_p(logits, 0.0),
        sampling.penalize(logits, np.zeros((len(logits), 1), np.int64), 1.0),
    ):
        np.testing.assert_array_equal(same, logits)


def test_temperature_zero_takes_the_best() -> None:
    logits = np.array([[0.1, 3.0, 2.0], [5.0, 1.0, 1.0]], dtype=np.float32)
    none = np.zeros((2, 0), dtype=np.int64)
    chosen = choose(logits, Sampling(temperature=0), none, np.array([0.99, 0.0]))
    assert chosen.tolist() == [1, 0]


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("temperature", [1e-300, 1e-30, 1e-3, 1e30, 1e38, 1e39, math.inf])
def test_extreme_temperatures_stay_numbers(temperature: float, streams: int) -> None:
    """What is forbidden stays so, wherever it stands."""
    for forbidden, last in (([0.1, 3.0, -np.inf], 1), ([-np.inf, 0.1, 3.0], 2)):
        logits = np.array([forbidden] * streams, dtype=np.float32)
        none, uniforms = np.zeros((streams, 0), dtype=np.int64), np.full(streams, 0.999999)
        chosen = choose(logits, Sampling(temperature=temperature), none, uniforms)
        assert chosen.tolist() == [last] * streams


@pytest.mark.parametrize("streams", [1, 3])
def test_frequencies_follow_the_heated_filtered_distribution(streams: int) -> None:
    logits = np.array([[1.0, 0.0, -1.0, 2.0, -9.0]], dtype=np.float32).repeat(streams, axis=0)
    how = Sampling(temperature=0.7, top_k=3)
    chances = np.array([math.exp(v / 0.7) for v in (1.0, 0.0, 2.0)])
    chances /= chances.sum()
    source = Uniforms(1, streams)
    none = np.zeros((streams, 0), dtype=np.int64)
    n = 3000
    drawn = np.concatenate([choose(logits, how, none, source.next()) for _ in range(n)])
    counts = np.bincount(drawn, minlength=5)
    assert counts[2] == counts[4] == 0
    assert chisquare(counts[[0, 1, 3]], chances * n * streams).pvalue > 1e-4


def test_a_stream_does_not_depend_on_its_neighbours() -> None:
    many, two, third = Uniforms(7, 5), Uniforms(7, 2), Uniforms(7, 1, first=2)
    for _ in range(300):
        row = many.next()
        np.testing.assert_array_equal(row[:2], two.next())
        assert row[2] == third.next()[0]
    many.keep(np.array([0, 2, 4]))
    for _ in range(600):  # beyond what is drawn at once
        row = many.next()
        assert (row[0], row[1]) == (two.next()[0], third.next()[0])
    assert not np.array_equal(Uniforms(8, 2).next(), Uniforms(7, 2).next())


def test_the_ends_of_the_uniform_stay_inside_the_vocabulary() -> None:
    logits = np.array([[-np.inf, 0.0, 0.0, -np.inf]], dtype=np.float32)
    almost_one = np.nextafter(1.0, 0.0)
    for uniform, expected in ((0.0, 1), (almost_one, 2)):
        assert choose(logits, Sampling(), NOTHING, np.array([uniform]))[0] == expected
        both = choose(logits.repeat(2, 0), Sampling(), NOTHING.repeat(2, 0), np.full(2, uniform))
        assert both.tolist() == [expected, expected]


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": 2.0},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": math.inf},
    ],
)
def test_impossible_settings_name_their_option(wrong: dict[str, float]) -> None:
    option = "--" + next(iter(wrong)).replace("_", "-")
    with pytest.raises(UsageError, match=option):
        Sampling(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [3, 700, 2000])
def test_large_vocabularies_are_drawn_from_as_small_ones(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (40, size)).astype(np.float32)
    logits[:, ::7] = -np.inf
    uniforms = np.linspace(0, np.nextafter(1, 0), 40)
    in_blocks = choose(logits, Sampling(), np.zeros((40, 0), int), uniforms)
    assert np.isfinite(np.take_along_axis(logits, in_blocks[:, None], axis=1)).all()
    monkeypatch.setattr(sampling, "BLOCK", size)
    assert (
        choose(logits, Sampling(), np.zeros((40, 0), int), uniforms).tolist() == in_blocks.tolist()
    )


def test_a_tiny_temperature_takes_the_best() -> None:
    logits = np.array([[1.0, 3.0, -np.inf, 2.0]], dtype=np.float32)
    for temperature in (1e-6, 1e-40, 1e-300):
        assert choose(logits, Sampling(temperature=temperature), NOTHING, np.array([0.9])) == [1]


@given(
    hnp.arrays(
        np.float32, (5, 9), elements=st.sampled_from([-30.0, -1.0, 0.0, 0.5, 1e-4, -np.inf])
    ),
    hnp.arrays(np.float64, 5, elements=st.sampled_from([0.0, 0.25, 0.5, np.nextafter(1.0, 0.0)])),
    st.sampled_from([0.3, 1.0, 2.0]),
    st.booleans(),
)
def test_streams_side_by_side_say_what_each_says_alone(
    logits: np.ndarray, uniforms: np.ndarray, temperature: float, wide: bool
) -> None:
    logits[:, 4] = 0.0  # something can be said
    if wide:  # drawn from in blocks
        logits = np.repeat(logits, 100, axis=1)
    how, none = Sampling(temperature=temperature), np.zeros((5, 0), dtype=np.int64)
    alone = [
        choose(logits[i : i + 1], how, NOTHING, uniforms[i : i + 1])[0] for i in range(len(logits))
    ]
    assert choose(logits, how, none, uniforms).tolist() == alone
