"""The report of a diagnosis: what is drawn, what is said where a number does not exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rnnctl.diagnostics.measurements import EFFECT, HOLD, POSITION, REACH, USE
from rnnctl.errors import UsageError
from rnnctl.reports import diagnostics
from rnnctl.reports.as_table import as_table, fits_screen
from rnnctl.reports.charts import save_plot
from rnnctl.results.base import Curve, Environment, Estimate, Warning_
from rnnctl.results.diagnostics import (
    DataRecord,
    DiagnosticsResult,
    EffectRecord,
    GateMode,
    GatesRecord,
    HeadlineRecord,
    HoldRecord,
    ModelRecord,
    PanelRow,
    PositionRecord,
    ReachRecord,
    Sampling,
    UseRecord,
)

MISSING = Estimate(estimate=None, status="undefined", note="it is no better than the n-gram")


def result(**parts: Any) -> DiagnosticsResult:
    """A word model's diagnosis of nothing but `parts`."""
    model = ModelRecord(
        id="a", task="lm_word", cell="lstm", layers=1, embedding=8, hidden=8, parameters=99,
        state_floats=16, init="good", readout="each step", train_bptt=64, state_policy="carried",
        seed=0, quality={},
    )  # fmt: skip
    data = DataRecord(
        name="text", sha256="0" * 64, documents=1, running=True, tokens=100, words_per_token=1.0,
        chars_per_token=5.0, distance_unit="words", unknown_rate=0.0,
    )  # fmt: skip
    head = HeadlineRecord(kind="use_neff", sentence="s", estimate=3.0, unit="words")
    return DiagnosticsResult(
        environment=Environment(rnnctl="0", python="3"), preset="quick", model=model, data=data,
        headline=head, **parts,
    )  # fmt: skip


def shown(found: DiagnosticsResult, width: int = 80) -> str:
    return as_table(diagnostics.blocks(found), width=width)


def curve(x: list[float], y: list[float]) -> Curve:
    return Curve(x_unit="words", y_unit="nats per word", x=tuple(x), y=tuple(y))


def test_a_number_that_does_not_exist_says_why() -> None:
    names = {"overtakes_reference": "context to predict like an n-gram"}
    row = PanelRow(name="use", question="?", numbers={"overtakes_reference": MISSING}, names=names)
    use = UseRecord(reference="interpolated Kneser-Ney 3-gram, 99 tokens of the training text")
    text = " ".join(shown(result(panel=(row,), use=use)).split())
    assert "context to predict like an n-gram: it is no better than the n-gram" in text
    assert "note: n-gram: interpolated Kneser-Ney 3-gram, 99 tokens of the training text" in text


@pytest.mark.parametrize(
    ("unit", "n", "words"),
    [
        ("document", 12, "USE 12 documents"),
        ("document", 1, "USE 1 document"),
        ("stretch of 512 tokens", 1200, "USE 1,200 stretches of 512 tokens"),
    ],
)
def test_what_the_intervals_resample(unit: str, n: int, words: str) -> None:
    text = shown(result(use=UseRecord(sampling=Sampling(unit=unit, n=n))))
    assert f"intervals resample: {words}\n" in text


def test_two_losses_that_count_differently_say_so() -> None:
    row = PanelRow(name="quality", question="?", numbers={"loss_here": Estimate(estimate=4.6)})
    plain = result(panel=(row,))
    assert "spelling" not in shown(plain)
    strange = plain.model_copy(
        update={"data": plain.data.model_copy(update={"unknown_rate": 0.06})}
    )
    for text in (shown(strange), as_table(diagnostics.brief(strange))):
        said = "not include the spelling of unknown words (6 % of the tokens); that of `rnnctl"
        assert said in " ".join(text.split())


def test_an_interval_without_an_upper_end_says_why() -> None:
    head = HeadlineRecord(
        kind="use_neff", sentence="s", estimate=50.0, ci95=(17.0, None), unit="words"
    )
    text = shown(result().model_copy(update={"headline": head}))
    assert "[17, ?]" in text and "beyond the longest distance measured" in text


def test_bars_fall_with_the_curve_and_name_their_top() -> None:
    use = UseRecord(curves={"foreign": curve([0, 1, 10, 100], [2.0, 1.5, 0.1, 0.001])})
    line = next(row for row in shown(result(use=use)).splitlines() if row.startswith("USE  "))
    bars = line[11:43]
    assert bars[0] == "█" and bars[-1] == "▁" and sorted(bars, reverse=True) == list(bars)
    assert "█ 1.5 nats per word" in line


def test_places_are_drawn_beside_the_bag_of_words() -> None:
    fifths = [0.1, 0.3, 0.5, 0.7, 0.9]
    drawn = {
        "occlusion": curve(fifths, [0.1, 0.2, 0.4, 0.6, 0.8]),
        "reference_occlusion": curve(fifths, [0.5] * 5),
    }
    text = shown(result(position=PositionRecord(curves=drawn)))
    model, bag = (line for line in text.splitlines() if line.startswith(("this model", "bag of")))
    assert "███  0.10, 0.20, 0.40, 0.60, 0.80 nats" in model and "███" * 5 in bag
    assert max(map(len, text.splitlines())) <= 80


def test_a_number_of_the_panel_lies_in_its_interval() -> None:
    value = Estimate(estimate=8.96, ci95=(8.951, 8.97), unit="words")
    row = PanelRow(name="use", question="", numbers={"n_eff_foreign": value})
    assert "9.0 words [9.0, 9.0]" in " ".join(shown(result(panel=(row,))).split())


def test_what_a_probe_had_and_two_groups_of_units_are_said() -> None:
    half = Estimate(estimate=6.5, ci95=(5.7, 7.2), unit="words")
    hold = HoldRecord(examples=512, dimensions=256, scalars={"hold_half_extrapolated": half})
    gates = GatesRecord(modes=(GateMode(share=0.5, tau=0.434), GateMode(share=0.5, tau=None)))
    text = " ".join(shown(result(hold=hold, gates=gates), 200).split())
    assert "linear probe of 512 examples reads, 2 for each of the 256 numbers" in text
    assert "half of the bits would last 6.5 words" in text
    assert "two groups by time constant: 50 % near 0.434 tokens, 50 % near no end" in text


@pytest.mark.parametrize(
    ("horizon", "per_token", "said"),
    [
        ({"estimate": 3.0}, 1.0, False),
        ({"estimate": 14.9}, 1.0, False),
        ({"estimate": 15.1}, 1.0, True),
        ({"estimate": 3.1}, 0.2, True),  # characters: a horizon of 15.5 tokens
        ({"estimate": None, "status": "censored", "censored_at": 111.0}, 1.0, True),
        ({"estimate": None, "status": "undefined"}, 1.0, False),
    ],
)
def test_gates_that_keep_less_than_the_horizon_are_explained(
    horizon: dict[str, Any], per_token: float, said: bool
) -> None:
    """The slowest tenth of units keeps 3 tokens; both reports fit, also with many warnings."""
    tau = {name: Estimate(estimate=x, unit="tokens") for name, x in
           (("tau_p50", 0.4), ("tau_p90", 3.0))}  # fmt: skip
    found = result(
        gates=GatesRecord(scalars=tau),
        warnings=tuple(Warning_(code="X", text=f"{k} " + "word " * 25) for k in range(9)),
    )
    head = HeadlineRecord(kind="use_neff", sentence="s", unit="words", **horizon)
    data = found.data.model_copy(update={"words_per_token": per_token})
    found = found.model_copy(update={"headline": head, "data": data})
    for blocks in (diagnostics.brief(found), diagnostics.blocks(found)):
        assert ("both can be true" in " ".join(as_table(blocks).split())) == said
    assert fits_screen(diagnostics.brief(found))


def test_a_diagnosis_is_drawn_as_a_comparison_is(tmp_path: Path) -> None:
    use = UseRecord(curves={"foreign": curve([1, 2, 4, 8], [1.0, 0.3, 0.1, 0.02])})
    assert save_plot(result(use=use), tmp_path / "plot.svg") == ["context"]
    assert b"Loss against context length" in (tmp_path / "plot.svg").read_bytes()


def test_a_diagnosis_without_curves_is_not_drawn(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no data here"):
        save_plot(result(), tmp_path / "plot.svg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("count", "left"), [(0, ""), (2, ""), (30, "more warnings and")])
def test_the_short_report_shows_the_warnings_that_fit_and_counts_the_others(
    count: int, left: str
) -> None:
    said = [f"warning number {k}, which says {'something ' * 9}" for k in range(count)]
    warnings = tuple(Warning_(code="SOME", text=text) for text in said)
    found = result().model_copy(update={"warnings": warnings})
    out = as_table(diagnostics.brief(found), width=80)
    assert out.count("\n") <= 24
    assert out.count("warning: warning number") == (count if not left else 6)
    assert ("more warning" in out) == bool(left) and left in " ".join(out.split())
    assert out.rstrip().endswith("--verbose")


def test_answers_are_a_verdict_in_words_and_a_number() -> None:
    """By hand: what is said of half-distances, gradients and places of known size."""

    def words(value: float | None, unit: str = "words", **more: Any) -> Estimate:
        return Estimate(estimate=value, ci95=(None, None), unit=unit, **more)

    beyond = words(None, status="censored", censored_at=128.0)
    use = {
        1.9: "a word or two: 1.9 words", 6.5: "less than a sentence: 6.5 words",
        19.0: "a sentence or more: 19 words", 107.0: "several sentences: 107 words",
        0.0: "not measurably: at most 3 words",
    }  # fmt: skip
    for value, answer in use.items():
        one = words(value).model_copy(update={"ci95": (None, 3.0)} if not value else {})
        assert USE.answer(UseRecord(scalars={"n_eff_foreign": one})) == answer
    nothing = words(0.0).model_copy(update={"ci95": (None, None)})
    assert USE.answer(UseRecord(scalars={"n_eff_foreign": nothing})) == "not measurably"
    record = UseRecord(scalars={"n_eff_foreign": beyond})
    assert USE.answer(record) == "as far as was measured: > 128 words"
    letters = UseRecord(scalars={"n_eff_foreign": words(41, "chars")})
    assert USE.answer(letters) == "less than a sentence: 41 chars"
    halves = {6.7: "no: halved after 6.7 words", 38.0: "partly: halved after 38 words",
              60.0: "yes: halved only after 60 words"}  # fmt: skip
    for value, answer in halves.items():
        assert EFFECT.answer(EffectRecord(scalars={"half_distance": words(value)})) == answer
    record_of_hold = HoldRecord(scalars={"hold_half": beyond})
    assert HOLD.answer(record_of_hold) == "yes: half gone after > 128 words"
    for last, answer in (
        (14.0, "no: half left at 2 tokens, 1 % at 14 tokens"),
        (120.0, "yes: half left at 2 tokens, 1 % at 120 tokens"),
    ):
        scalars = {"half_life": words(2.0, "tokens"), "reach_1pct": words(last, "tokens")}
        assert REACH.answer(ReachRecord(scalars=scalars)) == answer
    for size, ends, answer in (
        (0.31, (0.2, 0.4), "yes: first / last fifth 0.31 [0.20, 0.40]"),
        (1.02, (0.93, 1.11), "not clearly: first / last fifth 1.0 [0.93, 1.1]"),
    ):
        ratio = Estimate(estimate=size, ci95=ends)
        assert POSITION.answer(PositionRecord(scalars={"first_over_last": ratio})) == answer
