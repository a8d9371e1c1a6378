"""Members as command lines: fair, complete, and understood by `rnnctl train`."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from rnnctl.compare.plan import (
    GRID,
    TUNING_SEED,
    Settings,
    deviations,
    hidden_sizes,
    match_in_words,
    members,
    rates_provenance,
    trials,
    tuning,
)
from rnnctl.errors import UsageError
from rnnctl.tasks.recipes import default_rate


def _option(arguments: tuple[str, ...], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def test_every_row_has_every_seed_and_seeds_are_paired() -> None:
    planned = [one for one in members(Settings(seeds=3, recall_seeds=2)) if one.stage == "text"]
    assert len(planned) == 3 * 2 * 3
    assert len({one.name for one in planned}) == len(planned)
    for row in {one.row for one in planned}:
        assert [one.seed for one in planned if one.row == row] == [0, 1, 2]


def test_everything_but_cell_init_size_rate_and_seed_is_equal() -> None:
    free = {"--cell", "--init", "--hidden-size", "--lr", "--seed"}
    seen = set()
    for one in members(Settings(sources=("a.txt",), options=("--level", "word"))):
        if one.stage == "text":
            words = list(one.arguments)
            for name in free:
                at = words.index(name)
                del words[at : at + 2]
            seen.add(tuple(words))
    assert len(seen) == 1
    assert (next(iter(seen))[0], next(iter(seen))[-1]) == ("a.txt", "word")


def test_options_of_one_cell_or_initialisation_go_to_its_members_only() -> None:
    options = ("--nonlinearity", "relu", "--horizon=50", "--level", "word")
    for one in members(Settings(inits=("good", "chrono"), options=options, recall_lags=())):
        assert ("relu" in one.arguments) == (one.cell == "rnn")
        assert ("--horizon=50" in one.arguments) == (one.init == "chrono")
        assert one.arguments[-2:] == ("--level", "word")


def test_chrono_is_for_cells_with_gates_and_a_plain_rnn_takes_good_once() -> None:
    settings = Settings(inits=("chrono", "good"), options=("--horizon", "50"), recall_lags=(20,))
    planned = [one for one in members(settings) if one.stage != "untrained"]
    assert {one.row for one in planned} == {
        "rnn good", "lstm chrono", "lstm good", "gru chrono", "gru good",
    }  # fmt: skip
    assert len({one.name for one in planned}) == len(planned)
    for one in planned:
        horizon = {"text": "50", "recall": "20"}[one.stage] if one.init == "chrono" else ""
        assert (_option(one.arguments, "--horizon") if horizon else "") == horizon
        assert ("--horizon" in one.arguments) == bool(horizon)


def test_the_match_decides_the_sizes() -> None:
    assert hidden_sizes(Settings()) == {"rnn": 284, "lstm": 128, "gru": 152}
    assert max(map(abs, deviations(Settings()).values())) < 0.01
    assert set(hidden_sizes(Settings(match="hidden")).values()) == {128}
    sizes = (("rnn", 300), ("lstm", 100), ("gru", 120))
    assert hidden_sizes(Settings(match="steps", sizes=sizes)) == dict(sizes)
    assert hidden_sizes(Settings(match="time")) == hidden_sizes(Settings())
    with pytest.raises(UsageError, match="'elman'"):
        hidden_sizes(Settings(cells=("elman",)))


def test_what_was_equal_is_said_with_its_deviation() -> None:
    said = match_in_words(Settings())
    assert "recurrent parameters within 0.08 % (" in said
    assert "rnn 284, lstm 128, gru 152" in said
    assert "steps 300" in said
    timed = match_in_words(Settings(match="time", limit=("--budget", "60s")))
    assert "60s of training each, one after another" in timed
    assert match_in_words(Settings(match="hidden")).startswith("hidden size")


def test_every_cell_is_searched_with_the_same_rates_on_a_seed_that_is_not_reported() -> None:
    planned = tuning(Settings(seeds=5))
    by_row: dict[str, list[float]] = {}
    for one in planned:
        by_row.setdefault(one.row, []).append(one.lr)
        assert one.seed == TUNING_SEED
    assert len(by_row) == 6
    assert set(map(tuple, by_row.values())) == {GRID}
    assert len(GRID) >= 4
    chosen = dict.fromkeys(by_row, 0.5)
    assert {one.lr for one in members(Settings(), chosen) if one.stage == "text"} == {0.5}


def test_members_train_at_the_default_rates_of_train() -> None:
    """So no contrast rests on a rate that suits one cell only."""
    settings = Settings(limit=("--steps", "300"), recall_seeds=1)
    rates = {one.row: one.lr for one in members(settings) if one.stage == "text"}
    for cell, size in hidden_sizes(settings).items():
        tokens = 300 * 32 * 64
        assert rates[f"{cell} good"] == default_rate("lm", "char", cell, size, tokens=tokens)
    assert rates["gru good"] < rates["lstm good"]
    assert rates["rnn torch"] < rates["rnn good"]
    assert f"lstm good {rates['lstm good']:g}" in rates_provenance(settings)
    words = Settings(limit=("--steps", "300"), options=("--level", "word"))
    assert {m.lr for m in members(words) if m.row == "lstm good"} == {
        default_rate("lm", "word", "lstm", 128)
    }


def test_an_untrained_network_and_the_recall_task_stand_beside() -> None:
    planned = members(Settings(recall_lags=(10, 40), recall_seeds=5))
    (untrained,) = [one for one in planned if one.stage == "untrained"]
    assert _option(untrained.arguments, "--steps") == "1"
    assert untrained.lr < 1e-9
    recall = [one for one in planned if one.stage == "recall"]
    assert len(recall) == 2 * 5 * 6
    assert {one.arguments[0] for one in recall} == {"task:recall:lag=10", "task:recall:lag=40"}
    assert not [one for one in members(Settings(recall_lags=())) if one.stage == "recall"]


def test_every_member_is_one_line_that_rnnctl_train_understands() -> None:
    """Every option of every member is one of `train` (and of `diagnose` after it)."""
    from rnnctl.cli.app import load_command

    known = {
        name: {
            option
            for parameter in load_command(name).params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for name in ("train", "diagnose")
    }
    settings = Settings(sources=("my corpus.txt",), rates="grid")
    root = Path("runs/x y")
    for one in [*members(settings), *tuning(settings), *trials(settings)]:
        line = one.line(root)
        assert "\n" not in line
        for command in line.split(" && "):
            program, name, *rest = shlex.split(command)
            assert program == "rnnctl"
            options = {word for word in rest if word.startswith("--")}
            assert options <= known[name]
        assert str(root / one.name) in shlex.split(line)


def test_early_text_reaches_a_classifiers_answer_through_its_last_state_alone() -> None:
    """Pooling or reading backwards would hide what the cells forget, whatever the recipes say."""
    from rnnctl.cli.app import load_command
    from rnnctl.cli.setting_options import settings_given
    from rnnctl.tasks.recipes import resolve

    for one in members(Settings(sources=("reviews",), task="classify", seeds=1, recall_seeds=1)):
        context = load_command("train").make_context("train", list(one.arguments))
        config = resolve(settings_given(context.params))
        assert (config.model.pool, config.model.bidirectional) == ("last", False)
        assert config.training.patience in (None, 1_000_000)
        assert one.stage != "recall" or config.training.average == 0


def test_the_plan_changes_its_fingerprint_with_anything() -> None:
    base = Settings()
    others = [Settings(seeds=4), Settings(sources=("a",)), Settings(match="hidden")]
    assert len({plan.fingerprint() for plan in (base, *others)}) == 4
    assert base.fingerprint() == Settings().fingerprint()
