"""Models whose memory is known on paper, beside those of the selftest, through run directories."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from rnnctl import statistics
from rnnctl.diagnostics.known_answers import hand_made_runs as made
from rnnctl.diagnostics.known_answers.hand_made_runs import OPEN, SMALL, STOP, WORDS, HandMade
from rnnctl.diagnostics.selftest import diagnose_run
from rnnctl.results.base import Estimate
from rnnctl.results.diagnostics import DiagnosticsResult, Measurement

Weights = dict[str, torch.Tensor]
Number = Mapping[str, int]


def diagnosed(run: HandMade, *names: str) -> DiagnosticsResult:
    return made.measured(run, diagnose_run, *names)


def scalar(record: Measurement | None, name: str) -> Estimate:
    found = made.scalar(record, name)
    assert found is not None, name
    return found


def holds(found: Estimate, truth: float, *, slack: float = 1e-3) -> bool:
    """Whether the printed interval holds the truth, up to a relative `slack` of the arithmetic."""
    assert found.estimate is not None, found
    low, high = (found.estimate if end is None else end for end in found.ci95)
    return low - slack * abs(truth) <= truth <= high + slack * abs(truth)


def counter() -> HandMade:
    """An LSTM that counts the words since the last stop, in sentences of ten words and a stop."""

    def set_weights(weights: Weights, number: Number) -> None:
        weights["embedding.weight"][number[STOP], 0] = 1.0
        for gate, bias in ((0, OPEN), (1, OPEN), (2, SMALL), (3, OPEN)):
            made._gate(weights, "bias_ih", gate)[:] = bias
        for gate in (0, 1):  # at a stop nothing is kept and nothing is written
            made._gate(weights, "weight_ih", gate)[:] = -2 * OPEN
        weights["decoder.bias"][:] = -OPEN
        weights["decoder.bias"][made.ids_of(number)] = 0.0
        weights["decoder.bias"][number[STOP]] = math.log(len(WORDS)) - 8 * 9.5
        weights["decoder.weight"][number[STOP], 0] = 8 / SMALL

    return HandMade("lstm", 1, made.random_documents(sentence=10), set_weights, embedding=1)


def test_a_counter_needs_the_text_since_the_last_stop_and_no_word_of_it() -> None:
    """With nine words of context it may be the tenth that is next, or the stop; with ten a stop."""
    found = diagnosed(counter(), "use", "first_last", "effect", "hold", "gates")
    for start in ("foreign", "zero"):
        horizon = scalar(found.use, f"n_eff_{start}")
        assert holds(horizon, 10.0) and horizon.estimate == 10
    assert holds(scalar(found.use, "early_gain_50"), 0.0)
    assert scalar(found.first_last, "rise").estimate == 0
    assert found.effect is not None and found.effect.status == "undefined"
    assert found.hold is not None and found.hold.status == "undefined"
    assert holds(scalar(found.gates, "reset_interval"), 11.0)


def gru_with_resets() -> HandMade:
    """A GRU with z = .95 whose keep gate shuts at a full stop."""

    def set_weights(weights: Weights, number: Number) -> None:
        made._identities(weights, number, gain=0.3 / 0.05)
        weights["embedding.weight"][number[STOP], len(WORDS)] = 1.0
        made._gate(weights, "weight_ih", 2)[:, :16] = torch.eye(16)
        made._gate(weights, "bias_ih", 1)[:] = math.log(0.95 / 0.05)
        made._gate(weights, "weight_ih", 1)[:, 16] = -OPEN

    return HandMade("gru", 16, made.random_documents(sentence=10), set_weights, embedding=17)


def test_a_leaky_gru_that_is_reset_is_no_leaky_gru() -> None:
    """The median window ends at a stop 5 words back, long before .95 ** k is one half."""
    found = diagnosed(gru_with_resets(), "reach", "gates", "first_last")
    median = scalar(found.reach, "half_life_median")
    assert holds(median, 4.5, slack=0.15) and scalar(found.reach, "reset_share").estimate == 1
    assert holds(scalar(found.gates, "reset_interval"), 11.0)
    assert "RESETS" in {warning.code for warning in found.warnings}
    assert scalar(found.first_last, "rise").estimate == pytest.approx(0, abs=1e-6)


def only_the_upper_layer() -> HandMade:
    """h₁' = x forgets at once, h₂' = .95 h₂ + h₁'."""

    def set_weights(weights: Weights, number: Number) -> None:
        made._identities(weights, number, gain=0.1)
        for layer in (0, 1):
            weights[f"recurrent.weight_ih_l{layer}"][:] = torch.eye(16)
        weights["recurrent.weight_hh_l1"][:] = 0.95 * torch.eye(16)

    return HandMade("rnn", 16, made.random_documents(), set_weights, layers=2)


def test_a_layer_without_recurrence_passes_on_what_the_next_one_keeps() -> None:
    found = diagnosed(only_the_upper_layer(), "effect", "reach")
    assert found.reach is not None
    assert holds(found.reach.blocks["l1.h"].half_life, made.half_life(0.95))
    assert "l0.h" not in found.reach.blocks  # its state is never read again: no gradient at all
    assert holds(scalar(found.effect, "half_distance"), made.half_life(0.95))
    leading = made.leading_exponent(found)
    assert leading is not None and holds(leading, math.log(0.95), slack=0.01)


def test_two_layers_of_which_the_lower_one_is_the_slow_one() -> None:
    """.95 below .6: a word's pull on its return first rises, and is no exponential anywhere."""
    lower, upper = 0.95, 0.6
    found = diagnosed(made.two_leaky_layers(lower, upper), "effect")
    after = np.arange(1, 130)
    pull = (lower**after - upper**after) / (lower - upper)
    share = pull / pull[4:9].mean()
    far = np.arange(4.0, 129.0)
    begin, half = (statistics.crossing(far, share[4:], level, decay=True) for level in (1.0, 0.5))
    assert holds(scalar(found.effect, "half_distance"), half - begin)
    for distance in (10, 30, 100):
        assert holds(scalar(found.effect, f"retention_{distance}"), share[distance])


def test_a_pull_that_changes_its_sign_from_word_to_word_has_no_half_distance() -> None:
    """h' = -.9 h + x: the mean over 4 to 8 words is a sum of five numbers of either sign."""
    found = diagnosed(made.leaky_rnn(-0.9), "effect", "reach")
    assert found.effect is not None and found.effect.status == "undefined"
    assert "changes its sign" in found.effect.note
    assert holds(scalar(found.reach, "half_life"), made.half_life(0.9))


def first_word_decides() -> HandMade:
    """h' = tanh(5 h + 2 x): the first telling word decides, and no later one changes it."""

    def set_weights(weights: Weights, number: Number) -> None:
        weights["embedding.weight"][number["good"], 0] = 1.0
        weights["embedding.weight"][number["bad"], 0] = -1.0
        weights["recurrent.weight_ih_l0"][0, 0] = 2.0
        weights["recurrent.weight_hh_l0"][0, 0] = 5.0
        weights["output.weight"][:, 0] = torch.tensor([-2.0, 2.0])

    return HandMade(
        "rnn", 1, made.told_documents(), set_weights, labels=made.LABELS, items=made.told_items()
    )


def test_a_classifier_of_the_first_telling_word() -> None:
    """Among neutral sentences the place is nothing; in texts the beginning of another one is all.

    A sentence that is left out changes nothing where another one tells the same, wherever it is.
    """
    found = diagnosed(first_word_decides(), "effect", "position")
    assert holds(scalar(found.effect, "retention_100"), 1.0, slack=0.01)
    assert scalar(found.effect, "half_distance").status == "censored"
    first = scalar(found.position, "first_opposite_flips")
    last = scalar(found.position, "last_opposite_flips")
    assert first.ci95[0] is not None and last.ci95[1] is not None
    assert first.ci95[0] > 0.3 > last.ci95[1]


def documents_of(low: int, high: int, count: int, *, lag: int = 0) -> list[made.Document]:
    """Short documents of independent words; with `lag` nine in ten repeat the word there."""
    draw = np.random.default_rng(7)
    found = []
    for length in draw.integers(low, high + 1, count):
        ids = draw.integers(len(WORDS), size=length)
        for k in range(lag, length if lag else 0):
            ids[k] = ids[k - lag] if draw.random() < made.COPIED else ids[k]
        found.append(made.as_document([WORDS[k] for k in ids]))
    return found


def test_a_window_of_five_words_in_documents_of_eight_to_fifteen() -> None:
    window = made.delay_line(5, (0.1, 0.15, 0.2, 0.25, 0.6))
    found = diagnosed(replace(window, documents=documents_of(8, 15, 200, lag=5)), "use", "hold")
    for start in ("foreign", "zero"):
        assert scalar(found.use, f"n_eff_{start}").estimate == 5
    half = scalar(found.hold, "hold_half")
    assert half.estimate is not None and 4 <= half.estimate <= 5


def test_a_leaky_model_in_documents_of_twelve_to_twenty_four() -> None:
    leaky = replace(made.leaky_rnn(0.9), documents=documents_of(12, 24, 300))
    found = diagnosed(leaky, "effect", "reach", "hold")
    assert holds(scalar(found.effect, "half_distance"), made.half_life(0.9))
    half = scalar(found.reach, "half_life")  # windows of so few tokens do not reach that far
    assert half.status == "censored" and (half.censored_at or 99) <= made.half_life(0.9)
    assert found.hold is not None and found.hold.status == "ok"


def test_documents_of_three_words_say_what_cannot_be_measured_in_them() -> None:
    tiny = replace(made.leaky_rnn(0.9), documents=documents_of(1, 3, 400))
    found = diagnosed(tiny, "use", "first_last", "effect", "hold", "reach", "gates")
    for record in (found.use, found.effect, found.hold, found.reach):
        assert record is not None and record.status == "insufficient_data"
        assert record.note
    assert found.headline.status == "insufficient_data"
