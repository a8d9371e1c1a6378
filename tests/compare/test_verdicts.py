"""What is said of each claim, on grids whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from rnnctl.compare import verdicts as rules
from rnnctl.compare.contrasts import contrasts, named_pairs
from rnnctl.compare.report import compare
from rnnctl.compare.summary import estimates, summarise
from rnnctl.compare.verdicts.evidence import Evidence, Finding, below
from rnnctl.reports import render
from rnnctl.reports.as_table import SCREEN_LINES, as_table
from rnnctl.reports.comparison import brief, untested
from rnnctl.results.base import Estimate, Warning_
from rnnctl.results.comparison import DiagnosedOn, ExchangeRecord, Member, Row, Verdict

Grid = Callable[..., list[Member]]


def _said(members: Sequence[Member]) -> dict[str, Verdict]:
    return {verdict.id: verdict for verdict in compare(members).verdicts}


def _with(member: Member, **values: float) -> Member:
    made = {key: Estimate(estimate=value) for key, value in values.items()}
    return member.model_copy(update={"values": {**member.values, **made}})


def test_every_claim_gets_a_verdict_with_numbers_a_rule_and_a_command(grid: Grid) -> None:
    said = _said(grid())
    assert list(said) == [claim.id for claim in rules.CLAIMS]
    for verdict in said.values():
        assert verdict.rule
        assert verdict.command.startswith("rnnctl ")
        assert verdict.findings
        assert any(char.isdigit() for char in verdict.findings[0].sentence)


def test_a_world_as_the_lecture_tells_it(grid: Grid) -> None:
    members = [
        _with(member, accuracy=0.99 if member.cell != "rnn" else 0.13 + member.seed / 500)
        if member.bench
        else member
        for member in grid()
    ]
    said = _said(members)
    for claim in ("vanishes", "leaves-out", "gates-solve", "cell-state", "gru-as-well"):
        assert said[claim].outcome == "shown", said[claim]
    assert said["gru-fewer-ops"].outcome == "shown"
    assert said["gru-faster"].outcome == "contradicted"  # the made-up machine says so


def test_a_world_where_initialisation_decides_and_gates_do_nothing(grid: Grid) -> None:
    """Only recall, equally good (or bad) with and without gates at each initialisation."""
    members = [
        _with(m, accuracy=(0.98 if m.init == "good" else 0.13) + m.seed / 500)
        for m in grid(recall_seeds=5)
        if m.bench
    ]
    said = _said(members)
    assert said["gates-solve"].outcome == "contradicted"
    assert said["leaves-out"].outcome == "shown"  # the textbook's RNN is the one of PyTorch's init


def test_sources_that_contradict_each_other_are_not_clear(grid: Grid) -> None:
    """Gates help on the text, but both cells solve recall alike."""
    members = [
        _with(m, accuracy=0.98 + m.seed / 500) if m.bench else m for m in grid(recall_seeds=5)
    ]
    verdict = _said(members)["gates-solve"]
    assert {finding.outcome for finding in verdict.findings} == {"shown", "contradicted"}
    assert verdict.outcome == "inconclusive"


def test_a_long_memory_refutes_that_the_rnn_forgets(grid: Grid) -> None:
    members = [
        _with(m, horizon=120.0 + m.seed, reach_1pct=400.0 + m.seed, gradient_half_life=70.0)
        for m in grid(recall_seeds=0)
    ]
    said = _said(members)
    assert said["vanishes"].outcome == "contradicted"
    assert said["leaves-out"].outcome == "contradicted"


def test_what_is_said_of_the_rnn_stands_beside_what_the_others_reach(grid: Grid) -> None:
    said = _said(grid(recall_seeds=0))
    for claim in ("vanishes", "leaves-out"):
        sentence = said[claim].findings[0].sentence
        assert "the longest of the other cells is lstm good with " in sentence
    alone = _said([m for m in grid(recall_seeds=0) if m.cell == "rnn"])
    assert "other cells" not in alone["vanishes"].findings[0].sentence


def test_an_exploding_gradient_counts_as_the_claim_says(grid: Grid) -> None:
    members = [m.model_copy(update={"explodes": m.cell == "rnn"}) for m in grid(recall_seeds=0)]
    verdict = _said(members)["vanishes"]
    assert verdict.outcome == "shown"
    assert "explodes" in verdict.findings[0].sentence
    two = _said([m for m in members if m.seed < 2])["vanishes"]
    assert two.outcome == "not tested" and "explodes" in two.findings[0].sentence


@pytest.mark.parametrize(
    ("shares", "outcome", "why"),
    [
        ((0.1, 0.9), "contradicted", ""),
        ((0.3, 0.1), "inconclusive", "c alone has less than 0.5 of it"),
    ],
)
def test_the_cell_state_carries_it_only_where_c_alone_has_most_of_the_effect(
    grid: Grid, shares: tuple[float, float], outcome: str, why: str
) -> None:
    members = []
    for member in grid(recall_seeds=0):
        c, h = (Estimate(estimate=value + member.seed / 1000) for value in shares)
        swapped = ExchangeRecord(measure="loss", lag=8, c=c, h=h, full=Estimate(estimate=0.5))
        members.append(member.model_copy(update={"exchange": swapped if member.exchange else None}))
    verdict = _said(members)["cell-state"]
    assert verdict.outcome == outcome
    assert why in verdict.findings[0].sentence


@pytest.mark.parametrize(
    ("worse", "outcome"),
    [(0.0, "shown"), (-0.3, "shown"), (0.019, "inconclusive"), (0.05, "contradicted")],
)
def test_as_well_means_within_two_hundredths_of_a_bit(
    grid: Grid, worse: float, outcome: str
) -> None:
    draw = np.random.default_rng(5)
    members = [
        _with(m, bits_per_byte=2.2 + (worse if m.cell == "gru" else 0) + 0.004 * draw.normal())
        for m in grid(recall_seeds=0)
    ]
    verdict = _said(members)["gru-as-well"]
    assert verdict.outcome == outcome
    assert ("better by 0.3" in verdict.findings[0].sentence) == (worse == -0.3)


def test_of_classifiers_more_accuracy_is_better(grid: Grid) -> None:
    def sentiment(member: Member) -> Member:
        accuracy = 0.88 if member.cell == "gru" else 0.80
        changed = _with(member, accuracy=accuracy + member.seed / 1000, retention_start=0.3)
        return changed.model_copy(update={"task": "classify"})

    said = _said([sentiment(member) for member in grid(recall_seeds=0)])
    assert said["gru-as-well"].outcome == "shown"
    worse = [
        _with(m, accuracy=0.8 if m.cell == "gru" else 0.88).model_copy(update={"task": "classify"})
        for m in grid(recall_seeds=0)
    ]
    assert _said(worse)["gru-as-well"].outcome == "contradicted"


def test_operations_need_no_data_and_speed_needs_its_own(grid: Grid) -> None:
    members = [m.model_copy(update={"speed": None}) for m in grid(recall_seeds=0)]
    said = _said(members)
    assert said["gru-fewer-ops"].outcome == "shown"
    assert "73,728 against 98,304" in said["gru-fewer-ops"].findings[0].sentence
    assert said["gru-faster"].outcome == "not tested"
    assert said["gru-faster"].command == "rnnctl compare RUN RUN --measure"
    assert not said["gru-faster"].findings


def test_speed_is_compared_at_the_same_hidden_size(grid: Grid) -> None:
    sentence = _said(grid())["gru-faster"].findings[0].sentence
    assert sentence.startswith("both with 128 units")
    assert "as trained here (152 units)" in sentence


def test_two_seeds_are_not_enough_and_the_verdict_says_how_many_are(grid: Grid) -> None:
    verdict = _said(grid(seeds=2, recall_seeds=0))["gates-solve"]
    assert verdict.outcome == "not tested"
    sentence = verdict.findings[0].sentence
    assert "2 seeds each are too few to claim anything, 5 each are enough" in sentence
    assert verdict.command == "rnnctl compare CORPUS --seeds 5"


def test_without_any_rnn_nothing_is_said_of_it(grid: Grid) -> None:
    said = _said([m for m in grid(recall_seeds=0) if m.cell != "rnn"])
    for claim in ("vanishes", "leaves-out", "gates-solve"):
        assert (said[claim].outcome, said[claim].findings) == ("not tested", ())


def test_a_claim_without_truth_is_made_in_at_most_five_per_cent_of_grids(grid: Grid) -> None:
    """LSTM and RNN with the same horizons: "gates solve it" must not be said to hold."""
    draw = np.random.default_rng(7)
    members = [m for m in grid(recall_seeds=0) if m.cell in ("rnn", "lstm")]
    wrong, grids = 0, 150
    for _ in range(grids):
        noise = [float(value) for value in 20 * np.exp(0.4 * draw.normal(size=len(members)))]
        changed = [_with(m, horizon=value) for m, value in zip(members, noise, strict=True)]
        tests = compare(changed)
        outcome = {v.id: v.outcome for v in tests.verdicts}["gates-solve"]
        wrong += outcome == "shown"
    assert wrong / grids <= 0.05


def test_equal_quality_is_called_unequal_in_at_most_five_per_cent_of_grids(grid: Grid) -> None:
    """The GRU exactly as far behind as "as well" allows: a verdict either way is an error."""
    draw = np.random.default_rng(8)
    members = [m for m in grid(recall_seeds=0) if m.init == "good" and m.cell != "rnn"]
    wrong, grids = 0, 150
    for _ in range(grids):
        changed = [
            _with(m, bits_per_byte=2.2 + (0.02 if m.cell == "gru" else 0) + 0.01 * draw.normal())
            for m in members
        ]
        outcome = {v.id: v.outcome for v in compare(changed).verdicts}["gru-as-well"]
        wrong += outcome != "inconclusive"
    assert wrong / grids <= 0.08  # 5 % is expected; 150 grids have a spread of 1.8 points


def test_all_clear_sources_must_agree() -> None:
    shown, contradicted, open_, not_tested = (
        Finding(outcome, "") for outcome in ("shown", "contradicted", "inconclusive", "not tested")
    )
    assert rules.combine([shown, open_, not_tested]) == "shown"
    assert rules.combine([contradicted, contradicted]) == "contradicted"
    assert rules.combine([shown, contradicted]) == "inconclusive"
    assert rules.combine([open_, not_tested]) == "inconclusive"
    assert rules.combine([not_tested]) == rules.combine([]) == "not tested"


def test_bounds_decide_by_the_whole_interval() -> None:
    assert below(Estimate(estimate=5, ci95=(4, 6)), 7) == "shown"
    assert below(Estimate(estimate=5, ci95=(4, 6)), 5.5) == "inconclusive"
    assert below(Estimate(estimate=5, ci95=(4, 6), n=2), 5.5) == "not tested"
    assert below(Estimate(estimate=5, ci95=(4, 6)), 3) == "contradicted"
    assert below(Estimate(estimate=5), 100) == "not tested"  # no interval, no verdict
    beyond = Estimate(estimate=None, status="censored", censored_at=256)
    assert below(beyond, 100) == "contradicted"
    assert below(beyond, 300) == "inconclusive"


def test_verdicts_are_decided_without_torch_or_files() -> None:
    said = rules.verdicts(Evidence(rows=(), members=()))
    assert [verdict.outcome for verdict in said if verdict.id != "gru-fewer-ops"] == [
        "not tested"
    ] * 6


def _horizons(cell: str, values: Sequence[Estimate]) -> Row:
    numbers = {"horizon": summarise(values, "log")}
    return Row(name=f"{cell} torch", kind="trained", cell=cell, init="torch", numbers=numbers)


def test_lower_bounds_prove_neither_a_loss_nor_that_gates_do_not_help() -> None:
    beyond = Estimate(estimate=None, status="censored", censored_at=40, unit="words")
    long = [beyond.model_copy(update={"censored_at": 256})] * 5
    near = estimates([235, 238, 240, 241, 244])
    for lstm, rnn in (([beyond] * 5, [*estimates([38.0]), *[beyond] * 4]), (long, near)):
        rows = (_horizons("lstm", lstm), _horizons("rnn", rnn))
        tested = contrasts(named_pairs(rows, [], "text"))
        said = rules.verdicts(Evidence(rows=rows, members=(), contrasts=tested))
        outcomes = {verdict.id: verdict.outcome for verdict in said}
        assert outcomes["gates-solve"] == "inconclusive"
        expected = "contradicted" if rnn is near else "inconclusive"
        assert outcomes["leaves-out"] == expected


UNLIKE: list[tuple[dict[str, object], str]] = [
    ({"level": "word"}, "level"),
    ({"layers": 2}, "layers"),
    ({"recipe": {"steps": "10", "bptt": "64"}}, "steps"),
    ({"embedding_size": 8}, "embedding-size"),
    ({"hidden_size": 8, "recurrent_parameters": 600}, "hidden-size"),
]


@pytest.mark.parametrize(("change", "said"), UNLIKE)
def test_cells_that_were_not_trained_alike_decide_nothing(
    grid: Grid, change: dict[str, object], said: str
) -> None:
    """An LSTM of another level, size or length of training is no proof of what gates do."""
    members = [m.model_copy(update={"recipe": {"steps": "600", "bptt": "64"}}) for m in grid(5, 0)]
    alike = _said(members)
    assert (alike["gates-solve"].outcome, alike["gru-as-well"].outcome) == ("shown", "shown")
    changed = [m.model_copy(update=change) if m.cell == "lstm" else m for m in members]
    result = compare(changed)
    horizons = [one for one in result.contrasts if one.endpoint == "horizon"]
    assert [(one.outcome, one.note, one.p, one.tested) for one in horizons] == [
        ("not alike", f"trained differently: {said}", None, False)
    ] * 3
    assert result.family == 0
    verdicts = {verdict.id: verdict for verdict in result.verdicts}
    for claim in ("gates-solve", "gru-as-well"):
        assert verdicts[claim].outcome == "not tested"
        assert f"trained differently: {said}" in verdicts[claim].findings[0].sentence
    assert f"trained differently: {said}" in " ".join(render(result, "table", 200).split())


def test_what_is_a_cells_own_does_not_make_it_unlike(grid: Grid) -> None:
    """Rate and, at equal size by some measure, the hidden size; and with it what the user chose."""
    for change in (
        {"lr": 0.001, "recipe": {"nonlinearity": "tanh"}},
        {"hidden_size": 100},  # with as many parameters
        {"recurrent_parameters": 10, "hidden_size": 128},
    ):
        members = [m.model_copy(update=change) if m.cell == "rnn" else m for m in grid(5, 0)]
        (torch, good, _) = compare(members).contrasts
        assert (torch.outcome, good.outcome, good.note) == ("more", "more", "")
    small = {"hidden_size": 8, "recurrent_parameters": 600, "recipe": {"budget": "30"}}
    for seconds, outcome in ((14.0, "more"), (30.0, "not alike")):
        members = [
            m.model_copy(update=small | {"train_seconds": seconds})
            if m.cell == "rnn"
            else m.model_copy(update={"recipe": {"budget": "30"}, "train_seconds": 14.5})
            for m in grid(5, 0)
        ]
        assert compare(members).contrasts[1].outcome == outcome
        assert compare(members, any_size=True).contrasts[1].outcome == "more"


def test_of_several_rows_those_that_were_trained_alike_are_held_against_each_other(
    grid: Grid,
) -> None:
    members = [m.model_copy(update={"recipe": {"steps": "600"}}) for m in grid(5, 0)]
    short = [
        m.model_copy(update={"recipe": {"steps": "100"}, "path": m.path + "-short"})
        for m in members
        if (m.cell, m.init) == ("lstm", "good")
    ]
    result = compare([*short, *members])
    assert [row.name for row in result.rows if row.cell == "lstm"][1] == "lstm good steps=100"
    good = result.contrasts[1]
    assert (good.first, good.outcome) == ("lstm good steps=600", "more")


def test_horizons_on_different_texts_are_not_tested(grid: Grid) -> None:
    def on(text: str) -> DiagnosedOn:
        return DiagnosedOn(text=text, preset="quick", seed=0, longest=80, unit="words")

    members = [
        m.model_copy(update={"diagnosed": on("a" if m.cell == "lstm" else "b")}) for m in grid(5, 0)
    ]
    result = compare(members)
    assert {(c.outcome, c.note) for c in result.contrasts} == {
        ("not alike", "measured on different texts")
    }
    assert [warning.code for warning in result.warnings] == ["MEASURED_APART"]


def test_what_counts_in_tokens_is_left_out_where_tokens_differ(grid: Grid) -> None:
    members = grid(2, 0)
    result = compare(members)
    tokens = {"perplexity", "gradient_half_life", "reach_1pct"}
    assert tokens <= set(result.rows[0].numbers)
    mixed = [m.model_copy(update={"level": "word"}) if m.cell == "rnn" else m for m in members]
    result = compare(mixed)
    assert [w.text for w in result.warnings if w.code == "DIFFERENT_TOKENS"] == [
        "the runs read different tokens (level=char; level=word): numbers per token or in tokens "
        "are left out (perplexity, gradients, the gates' τ, learning curves)"
    ]
    for row in result.rows:
        assert not tokens & set(row.numbers) and set(row.curves) == {"use", "effect"}
        assert {"bits_per_byte", "horizon"} <= set(row.numbers)
    assert "perplexity (" not in render(result, "table", 200)


def test_a_seed_without_a_horizon_refutes_nothing(grid: Grid) -> None:
    """Nor does a ratio of horizons below one word prove anything."""
    nothing = Estimate(estimate=None, status="undefined")
    for change in (
        lambda m: {"horizon": nothing if m.cell == "rnn" and m.seed == 1 else Estimate(estimate=9)},
        lambda m: {"horizon": Estimate(estimate=0.3 + m.seed / 100 if m.cell == "lstm" else 0.0)},
    ):
        members = [m.model_copy(update={"values": {**m.values, **change(m)}}) for m in grid(5, 0)]
        verdict = _said(members)["gates-solve"]
        assert verdict.outcome == "inconclusive", verdict.findings
        assert any(
            word in verdict.findings[0].sentence
            for word in ("1 seed has no value", "10 horizons below one word count as 1")
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"session": "two"}, "not in one session"),
        ({"session": ""}, "not in one session"),
        ({"threads": 1}, "threads 1 and 2"),
        ({"batch_size": 8}, "batch sizes 8 and 32"),
        ({"chunk": 16}, "tokens a step 16 and 64"),
        ({"same_size_hidden": 64}, "hidden sizes 152 and 128"),
        ({"same_size_hidden": None}, "hidden sizes 152 and 128"),
    ],
)
def test_speeds_that_were_not_measured_alike_decide_nothing(
    grid: Grid, change: dict[str, object], said: str
) -> None:
    members = [
        m.model_copy(update={"speed": m.speed.model_copy(update=change)})
        if m.cell == "gru" and m.speed
        else m
        for m in grid(5, 0)
    ]
    verdict = _said(members)["gru-faster"]
    assert verdict.outcome == "not tested"
    assert (
        said in verdict.findings[0].sentence
        and "timed in the same way" in verdict.findings[0].sentence
    )
    first = next(m for m in members if m.cell == "gru")
    mixed = [first, *grid(5, 0)[3:]]  # others were
    assert _said(mixed)["gru-faster"].outcome == "contradicted"


def test_two_seeds_that_agree_to_the_last_digit_prove_nothing(grid: Grid) -> None:
    equal = [
        _with(m, accuracy=0.83 if m.cell == "gru" else 0.85, reach_1pct=9.0, horizon=4.0)
        for m in grid(3, 0)
    ]
    labelled = [m.model_copy(update={"task": "classify"}) for m in equal]
    for members in (equal, labelled):
        for claim, three in (("vanishes", "shown"), ("leaves-out", "shown")):
            assert _said([m for m in members if m.seed < 2])[claim].outcome == "not tested"
            assert _said(members)[claim].outcome == three
    two = _said([m for m in labelled if m.seed < 2])["gru-as-well"]
    assert two.outcome == "not tested"
    assert "2 seeds are too few" in two.findings[0].sentence
    assert _said(labelled)["gru-as-well"].outcome == "contradicted"
    beyond = Estimate(estimate=None, status="censored", censored_at=256, n=2)
    assert below(beyond, 100) == "not tested"
    assert below(beyond.model_copy(update={"n": 3}), 100) == "contradicted"


def test_a_longer_memory_that_is_still_short_solves_nothing(grid: Grid) -> None:
    """Twice the RNN's horizon, and less than a sentence."""
    short = {"rnn": 1.9, "lstm": 4.0, "gru": 4.0}
    members = [_with(m, horizon=short[m.cell] * (1 + m.seed / 50)) for m in grid(5, 0)]
    verdict = _said(members)["gates-solve"]
    assert verdict.outcome == "inconclusive"
    assert "is shorter than a sentence (15 words)" in verdict.findings[0].sentence


def test_a_longer_memory_with_a_worse_loss_solves_nothing(grid: Grid) -> None:
    members = [
        _with(m, bits_per_byte={"rnn": 2.2, "lstm": 2.4, "gru": 2.4}[m.cell]) for m in grid(5, 0)
    ]
    good = [m for m in members if m.init == "good"]
    verdict = _said(good)["gates-solve"]
    assert verdict.outcome == "inconclusive"
    assert "its bits per byte is worse than the RNN's by 0.2" in verdict.findings[0].sentence


def test_an_lstm_that_recalls_a_little_more_solves_nothing(grid: Grid) -> None:
    members = [
        _with(m, accuracy=(0.2 if m.cell == "rnn" else 0.4) + m.seed / 500)
        for m in grid()
        if m.bench
    ]
    verdict = _said(members)["gates-solve"]
    assert verdict.outcome == "inconclusive"
    assert "less than half way from chance" in verdict.findings[0].sentence


def _single(member: Member, horizon: float) -> Member:
    value = Estimate(estimate=horizon, ci95=(0.9 * horizon, 1.1 * horizon), unit="words")
    return member.model_copy(update={"values": {**member.values, "horizon": value}})


def test_single_runs_differ_as_models_and_claims_need_seeds(grid: Grid) -> None:
    members = [_single(m, {"rnn": 2.0, "lstm": 6.5, "gru": 2.1}[m.cell]) for m in grid(1, 0)]
    verdict = _said(members)["gates-solve"]
    assert verdict.outcome == "not tested"
    assert (
        "as models the two differ: lstm torch 6.5 words [5.9, 7.2], rnn torch 2 words "
        "[1.8, 2.2]; a claim about the cells needs more seeds"
    ) in verdict.findings[0].sentence
    close = [_single(m, 2.0 + 0.1 * (m.cell == "lstm")) for m in grid(1, 0)]
    assert "the intervals of the two models overlap" in (
        _said(close)["gates-solve"].findings[0].sentence
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [({"load_per_core": 3.2}, "a load of 3.2 per core"), ({"steady": False}, "within a fifth")],
)
def test_no_speed_is_judged_on_a_busy_machine(
    grid: Grid, change: dict[str, object], said: str
) -> None:
    members = [
        m.model_copy(update={"speed": m.speed.model_copy(update=change)}) if m.speed else m
        for m in grid(5, 0)
    ]
    verdict = _said(members)["gru-faster"]
    assert verdict.outcome == "not tested"
    assert said in verdict.findings[0].sentence
    assert verdict.command.endswith("--measure")
    (hint,) = [text for text in untested(compare(members)) if "--measure" in text]
    assert hint.endswith("tests it while nothing else runs")


def test_hardly_faster_is_not_called_faster(grid: Grid) -> None:
    def at(ratio: float) -> list[Member]:
        made = []
        for member in grid(5, 0):
            assert member.speed is not None
            speeds = tuple(1000.0 * factor for factor in (1.0, 1.002, 0.998, 1.001, 0.999))
            change: dict[str, object] = {"train_tokens_per_s": speeds}
            if member.cell == "gru":
                noise = (1.0, 1.001, 0.999, 1.002, 1.0)
                change["same_size_train_tokens_per_s"] = tuple(
                    ratio * one * more for one, more in zip(speeds, noise, strict=True)
                )
            made.append(member.model_copy(update={"speed": member.speed.model_copy(update=change)}))
        return made

    assert _said(at(1.02))["gru-faster"].outcome == "contradicted"
    assert _said(at(1.2))["gru-faster"].outcome == "shown"


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_the_short_report_fits_on_a_screen(grid: Grid, seeds: int) -> None:
    """The headline first and last, a line for each row, and for each claim a verdict."""
    result = compare(grid(seeds))
    lines = as_table(brief(result)).splitlines()
    assert len(lines) <= SCREEN_LINES and max(map(len, lines)) <= 80
    headline = lines[1]
    assert headline.startswith("Memory horizon in words: ")
    assert any(line.startswith(headline[:60]) for line in lines[-3:])
    assert lines[-1].endswith("--verbose")
    assert all(any(line.startswith(row.name) for line in lines) for row in result.rows)
    for verdict in result.verdicts:
        (said,) = [line for line in lines if line.startswith(verdict.question)]
        assert f"  {verdict.outcome}" in said, said
    assert not any(line.startswith(" " * 20) for line in lines[10:]), lines  # one line each
    decided = [one for one in result.verdicts if one.outcome != "not tested"]
    assert all(one.findings[0].short for one in decided)
    names = " ".join(" ".join(lines).split())
    assert "cell and initialisation: " in names
    for word, said in (
        ("good", "good begins with orthogonal"),
        ("chrono", "chrono begins with gates"),
    ):
        assert (said in names) == any(f" {word}" in row.name for row in result.rows)


def test_one_training_of_each_cell_is_said_to_be_too_few(grid: Grid) -> None:
    shown = as_table(brief(compare(grid(1))))
    assert "not tested, one seed: " in shown
    assert "one seed: " not in as_table(brief(compare(grid(2))))


def test_the_short_report_keeps_what_is_wrong_in_sight(grid: Grid) -> None:
    """Warnings have room, or are counted; rows give way last."""
    warnings = tuple(Warning_(code="X", text=f"warning number {k} " + "x " * 30) for k in range(9))
    result = compare(grid(3)).model_copy(update={"warnings": warnings})
    text = as_table(brief(result))
    assert text.count("\n") <= SCREEN_LINES
    shown = sum(f"warning number {k} " in text for k in range(9))
    assert f"{9 - shown} more warnings" in " ".join(text.split())


def test_half_trained_members_are_a_caveat(grid: Grid) -> None:
    """Named by row; not of untrained members, and not of the recall task."""
    members = grid(3)
    assert not [one for one in compare(members).warnings if one.code == "STILL_IMPROVING"]
    changed = [
        one.model_copy(update={
            "still_improving": one.bench is not None or one.cell == "gru"
            or (one.cell == "lstm" and one.init == "good" and one.seed == 0),
        })
        for one in members
    ]  # fmt: skip
    (said,) = [one for one in compare(changed).warnings if one.code == "STILL_IMPROVING"]
    rows = [row.name for row in compare(members).rows if row.cell == "gru"]
    assert f"training ended: lstm good (1 of 3), {', '.join(rows)}; with a longer" in said.text


def test_members_that_an_n_gram_beats_are_a_caveat(grid: Grid) -> None:
    members = grid(2)
    assert not [one for one in compare(members).warnings if "COUNTING" in one.code]
    changed = [
        one.model_copy(update={"no_better_than_counting": one.cell == "rnn"}) for one in members
    ]
    (said,) = [one for one in compare(changed).warnings if "COUNTING" in one.code]
    trained = [row for row in compare(members).rows if row.kind == "trained"]
    rows = [row.name for row in trained if row.cell == "rnn"]
    assert f"(an n-gram has a lower loss): {', '.join(rows)}; train longer" in said.text


def test_what_tells_cells_apart_whose_horizons_are_bounds(grid: Grid) -> None:
    """Two horizons "> 111" look alike, and the beginning may count eight times as much in one."""
    rise = {"lstm": 66.0, "gru": 7.8, "rnn": 1.1}
    members = [
        one.model_copy(update={"values": one.values | {
            "first_last": Estimate(estimate=rise[one.cell], unit="% perplexity"),
            "horizon": Estimate(estimate=None, status="censored", censored_at=111.0, unit="words"),
        }})
        if not one.bench else one
        for one in grid(1)
    ]  # fmt: skip
    lines = as_table(brief(compare(members))).splitlines()
    said = " ".join(" ".join(lines[1:4]).split())
    assert "Perplexity of the last sentence without the first: " in said
    assert all(f"{name} {size} %" in said for name, size in
               (("LSTM", "66"), ("GRU", "7.8"), ("RNN", "1.1")))  # fmt: skip
    assert len(lines) <= SCREEN_LINES
