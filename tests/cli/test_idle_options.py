"""No option without an effect: what would do nothing beside the others is refused, everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnctl import catalog, config
from rnnctl.cli.app import load_command
from rnnctl.cli.idle import rules_of
from rnnctl.cli.options import parameter_of

CommandLine = Callable[..., Any]
TEXT = "the cat sat on the mat and ate the rat with a hat. \n" * 6
RULES = [
    (name, rule) for name in catalog.COMMANDS for rule in rules_of(catalog.load("command", name))
]

# For each rule, by its first option: a call in which its options do nothing.
IDLE: dict[tuple[str, str], tuple[tuple[Any, ...], dict[str, tuple[Any, ...]]]] = {
    ("generate", "top_k"): (
        ("RUN", "a", "--temperature", 0),
        {"top_k": (5,), "top_p": (0.5,), "min_p": (0.5,), "seed": (3,)},
    ),
    ("generate", "count"): (("RUN", "--lines"), {"count": (2,), "state_in": ("FILE",)}),
    ("generate", "prompt"): (("RUN", "--lines"), {"prompt": ("a text",)}),
    ("generate", "copied"): (("RUN", "--lines"), {"copied": ()}),
    ("generate", "stop"): (
        ("RUN", "a", "--length", 0),
        {
            "stop": ("t",), "temperature": (0.5,), "top_k": (5,), "top_p": (0.5,), "min_p": (0.5,),
            "repetition_penalty": (2,), "seed": (3,), "count": (2,),
        },
    ),
    ("score", "lines"): (
        ("RUN", "--answer"),
        {
            "lines": (), "documents": ("line",), "per_token": (), "read_as": ("csv",), "jsonl": (),
            "text_field": ("a",), "encoding": ("latin-1",), "max_line": (9,), "fail_fast": (),
            "state_in": ("FILE",), "state_out": ("NEW",), "words": (), "format": ("json",),
        },
    ),
    ("diagnose", "scorer_timeout"): (
        ("RUN",), {"scorer_timeout": (3,), "documents": ("line",)},
    ),
    ("diagnose", "items"): (
        ("--scorer", "x", "--text", "FILE"),
        {"items": ("FILE",), "show": ("a",), "label_field": ("a",), "threads": (1,)},
    ),
    ("train", "overwrite"): (("FILE",), {"overwrite": ()}),
    ("compare", "recall_lags"): (
        ("FILE", "--no-recall"), {"recall_lags": (9,), "recall_seeds": (2,)},
    ),
}  # fmt: skip


def option_names(command: str) -> dict[str, str]:
    """Parameter -> option, for the options of a command; "" for an argument."""
    return {
        one.name: max(one.opts, key=len) if one.param_type_name == "option" else ""
        for one in load_command(command).params
    }


def test_every_rule_has_a_case_for_each_of_its_options() -> None:
    assert {(name, rule.options[0]): set(rule.options) for name, rule in RULES} == {
        case: set(options) for case, (_, options) in IDLE.items()
    }


@pytest.mark.parametrize(
    ("case", "parameter"), [(case, one) for case, (_, options) in IDLE.items() for one in options]
)
def test_an_option_that_would_do_nothing_is_refused(
    rnnctl: CommandLine, make_run: Any, tmp_path: Path, case: tuple[str, str], parameter: str
) -> None:
    command, _ = case
    arguments, options = IDLE[case]
    (tmp_path / "file.txt").write_text(TEXT)
    places = {"RUN": make_run(TEXT), "FILE": tmp_path / "file.txt"}
    name = option_names(command)[parameter]
    given = [places.get(one, one) for one in options[parameter]]
    plain = [places.get(one, one) for one in arguments]
    outcome = rnnctl(command, *plain, *([name] if name else []), *given, stdin="a\n")
    assert outcome.code == 2 and outcome.out == ""
    assert outcome.err.startswith(f"error: {name or 'PROMPT'} has no effect ")
    assert "\n\nhint: leave " in outcome.err


# Each option of `generate`, added to a call in which it makes a difference.
BASE = ("RUN", "the cat", "--length", 12, "--seed", 1)
EFFECTS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "--length": (("RUN", "the cat", "--no-end"), ("--length", 3)),
    "--count": (BASE, ("--count", 2)),
    "--stop": (BASE, ("--stop", "t", "--stop", "a", "--stop", "e", "--stop", " ")),
    "--end": (("RUN", "the cat"), ("--no-end",)),
    "--lines": (("RUN", "--length", 12), ("--lines",)),
    "--temperature": (BASE, ("--temperature", 0)),
    "--top-k": (BASE, ("--top-k", 1)),
    "--top-p": (BASE, ("--top-p", 0.01)),
    "--min-p": (BASE, ("--min-p", 0.99)),
    "--repetition-penalty": (BASE, ("--repetition-penalty", 50)),
    "--seed": (BASE[:4], ("--seed", 2)),
    "--state-in": (BASE, ("--state-in", "STATE")),
    "--copied": (BASE, ("--copied",)),
    "--format": (BASE, ("--format", "json")),
    "--output": (BASE, ("--output", "NEW")),
    "--quiet": (("RUN", "é", "--length", 1), ("--quiet",)),
}
ELSEWHERE = {"--device", "--threads", "--help"}  # where it is computed changes nothing else


def test_every_option_of_generate_has_an_effect_on_something() -> None:
    names = {name for name in option_names("generate").values() if name}
    assert names == set(EFFECTS) | ELSEWHERE - {"--help"}


@pytest.mark.parametrize("option", EFFECTS)
def test_an_option_of_generate_changes_what_comes_out(
    rnnctl: CommandLine, make_run: Any, tmp_path: Path, option: str
) -> None:
    run = make_run(TEXT, running=False)
    rnnctl("score", run, "--state-out", tmp_path / "state", stdin="a hat on a rat")
    places = {"RUN": run, "STATE": tmp_path / "state", "NEW": tmp_path / "new.txt"}
    base, more = ([places.get(one, one) for one in part] for part in EFFECTS[option])
    assert rnnctl("generate", *base, stdin="the\nrat\n") != rnnctl(
        "generate", *base, *more, stdin="the\nrat\n"
    )


@pytest.mark.parametrize("stop", ["\\n", "é", "Z"])
def test_a_stop_text_that_the_model_cannot_write_is_refused(
    rnnctl: CommandLine, make_run: Any, stop: str
) -> None:
    outcome = rnnctl("generate", make_run(TEXT), "the", "--stop", stop)
    assert outcome.code == 2 and outcome.out == ""
    assert outcome.err.startswith(f"error: --stop {stop} has no effect: the model never writes ")
    assert ("$'\\n'" in outcome.err) == (stop == "\\n")


@pytest.mark.parametrize("level", ["word", "byte", "bpe"])
def test_a_stop_text_that_the_model_can_write_is_not(
    rnnctl: CommandLine, make_run: Any, level: str
) -> None:
    run = make_run(TEXT, level=level)
    for stop in ("\n", "cat", "he m", ". "):
        assert rnnctl("generate", run, "the", "--length", 3, "--stop", stop).code == 0


def test_every_condition_of_a_setting_concerns_an_option_of_train() -> None:
    """So that with the rules above each option of `train` either always counts or is checked."""
    from rnnctl.tasks.effects import conditions

    names = option_names("train")
    for section, name, _ in conditions():
        field = config.SECTIONS[section].model_fields[name]
        option = config.option(name, field)
        assert option is not None and names[parameter_of(name, option.name)] == option.name
