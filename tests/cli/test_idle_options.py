"""No option without an effect: what would do nothing beside the others is refused, everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnctl import catalog, config
from rnnctl.cli.app import load_command
from rnnctl.cli.idle import rules_of
from rnnctl.cli.setting_options import parameter_of

CommandLine = Callable[..., Any]
TEXT = "the cat sat on the mat and ate the rat with a hat. \n" * 6
RULES = {name: rules_of(catalog.load("command", name)) for name in catalog.COMMANDS}

# For each rule of a command, in their order: a call in which its options do nothing.
MEMORY_IDLE = [
    (("RUN", "FILE"), {"cache_theta": (0.5,), "cache_weight": (0.5,)}),
    (("RUN", "FILE"), {"dynamic_decay": (0.5,), "dynamic_segment": (5,), "dynamic_rule": ("sgd",)}),
]
LINES_IDLE = [
    (("RUN", "FILE", "--lines"), {"documents": ("paragraph",)}),
    (("RUN", "FILE"), {"max_line": (9,), "fail_fast": ()}),
]
IDLE: dict[str, list[tuple[tuple[Any, ...], dict[str, tuple[Any, ...]]]]] = {
    "generate": [
        (
            ("RUN", "a", "--temperature", 0),
            {"top_k": (5,), "top_p": (0.5,), "min_p": (0.5,), "seed": (3,)},
        ),
        (("RUN", "--lines"), {"count": (2,), "state_in": ("FILE",)}),
        (("RUN", "--lines"), {"prompt": ("a text",)}),
        (("RUN", "--lines"), {"copied": ()}),
        (
            ("RUN", "a", "--length", 0),
            {
                "stop": ("t",), "temperature": (0.5,), "top_k": (5,), "top_p": (0.5,),
                "min_p": (0.5,), "repetition_penalty": (2,), "seed": (3,), "count": (2,),
            },
        ),
        (("RUN", "--lines"), {"format": ("html",)}),
        *MEMORY_IDLE,
    ],
    "score": [
        (
            ("RUN", "--answer"),
            {
                "files": ("FILE",), "lines": (), "documents": ("line",), "per_token": (),
                "read_as": ("csv",), "jsonl": (), "text_field": ("a",), "encoding": ("latin-1",),
                "max_line": (9,), "fail_fast": (), "state_in": ("FILE",), "state_out": ("NEW",),
                "words": (), "format": ("json",), "cache": (5,), "dynamic": (0.1,),
            },
        ),
        (
            ("RUN", "FILE", "--words"),
            {
                "per_token": (), "state_in": ("FILE",), "state_out": ("NEW",), "cache": (5,),
                "dynamic": (0.1,),
            },
        ),
        (
            ("RUN", "FILE"),
            {
                "space": ("after",), "first": ("--no-first",), "end": ("--end",), "unit": ("bits",),
                "top": (3,), "id": ("a",), "regions": ("a",),
            },
        ),
        (("RUN", "FILE"), {"format": ("csv",)}),
        *LINES_IDLE,
        (("RUN", "FILE", "--lines"), {"state_in": ("FILE",), "state_out": ("NEW",)}),
        (("RUN", "FILE", "--cache", 5), {"state_out": ("NEW",)}),
        (("RUN", "FILE", "--words"), {"format": ("html",)}),
        (("RUN", "FILE", "--per-token"), {"format": ("html",)}),
        *MEMORY_IDLE,
    ],
    "states": LINES_IDLE,
    "evaluate": [
        (
            ("RUN", "--tune-cache"),
            {
                "corpus": ("FILE",), "part": ("valid",), "window": (9,), "text_field": ("a",),
                "label_field": ("a",), "read_as": ("csv",), "encoding": ("latin-1",),
                "new_labels": ("drop",), "by": ("a",), "cache": (5,), "dynamic": (0.1,),
            },
        ),
        (("RUN", "--tune-cache"), {"tune_dynamic": ()}),
        (
            ("RUN",),
            {
                "text_field": ("a",), "label_field": ("a",), "read_as": ("csv",),
                "encoding": ("latin-1",), "new_labels": ("drop",),
            },
        ),
        (("RUN", "FILE", "--cache", 5), {"window": (9,)}),
        *MEMORY_IDLE,
    ],
    "diagnose": [
        (("RUN",), {"scorer_timeout": (3,), "documents": ("line",)}),
        (
            ("--scorer", "x", "--text", "FILE"),
            {
                "label_field": ("a",), "items": ("FILE",), "show": ("a",), "label": ("a=b",),
                "threads": (1,), "cache": (5,),
            },
        ),
        (
            ("RUN", "--snapshots"),
            {
                "items": ("FILE",), "beyond": ("shuffle",), "show": ("a",), "scorer": ("x",),
                "cache": (5,),
            },
        ),
        (
            ("RUN", "--show", "the cat"),
            {
                "preset": ("full",), "text": ("FILE",), "items": ("FILE",), "beyond": ("shuffle",),
                "plot": ("a.svg",), "curves": ("NEW",), "label": ("a=b",), "cache": (5,),
                "seed": (3,), "verbose": (),
            },
        ),
        (("RUN",), {"text_field": ("a",), "label_field": ("a",), "encoding": ("latin-1",)}),
        MEMORY_IDLE[0],
    ],
    "classify": [
        (("RUN",), {"words_overall": (), "html": ("NEW",)}),
        (("RUN",), {"format": ("html",)}),
    ],
    "train": [
        (("FILE", "--resume", "RUN"), {"run": ("NEW",), "config": ("RUN",)}),
        (("FILE", "--run", "NEW", "--resume", "auto"), {"overwrite": ()}),
        (("FILE",), {"overwrite": ()}),
        (("FILE", "--folds", 3, "--run", "NEW"), {"resume": ("auto",)}),
        (("FILE", "--resume", "RUN"), {"dry_run": ()}),
        (("FILE", "--dry-run"), {"diagnose": ("--no-diagnose",)}),
    ],
    "compare": [
        (("FILE", "--no-recall"), {"recall_lags": (9,), "recall_seeds": (2,)}),
        (
            ("RUN",),
            {
                "cells": ("rnn",), "inits": ("good",), "match": ("steps",), "seeds": (3,),
                "rates": ("grid",), "recall": ("--no-recall",), "recall_lags": (9,),
                "recall_seeds": (2,), "task": ("classify",), "hidden_size": (8,),
                "embedding_size": (8,), "layers": (2,), "steps": (3,), "epochs": (1,),
                "budget": ("9s",), "train": ("--level word",), "jobs": (1,), "run_root": ("NEW",),
                "dry_run": (),
            },
        ),
        (("FILE",), {"measure": (), "label": ("a=b",)}),
        (("FILE", "--match", "time"), {"steps": (3,), "epochs": (1,)}),
        (("FILE", "--task", "classify"), {"pairs": ("FILE",)}),
        (("RUN",), {"chart": ("forest",)}),
        (
            ("FILE", "--dry-run"),
            {
                "html": ("NEW",), "plot": ("a.svg",), "curves": ("NEW",), "format": ("json",),
                "output": ("NEW",), "pairs": ("FILE",), "verbose": (),
            },
        ),
    ],
    "lesson": [
        (
            (),
            {
                "predict": ("a",), "text": ("FILE",), "budget": ("9s",), "hold": ("forget=1",),
                "scale": (2,), "words": (9,), "hidden_size": (9,), "length": (9,), "out": ("NEW",),
                "seed": (3,), "threads": (1,),
            },
        ),
    ],
}  # fmt: skip


def option_names(command: str) -> dict[str, str]:
    """Parameter -> option, for the options of a command; "" for an argument."""
    return {
        one.name: max(one.opts, key=len) if one.param_type_name == "option" else ""
        for one in load_command(command).params
    }


def test_every_rule_has_a_case_for_each_of_its_options() -> None:
    wanted = {
        name: [set(rule.options.split()) for rule in rules]
        for name, rules in RULES.items()
        if rules
    }
    assert wanted == {name: [set(options) for _, options in cases] for name, cases in IDLE.items()}


@pytest.mark.parametrize(
    ("command", "number", "parameter"),
    [
        (command, number, one)
        for command, cases in IDLE.items()
        for number, (_, options) in enumerate(cases)
        for one in options
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    rnnctl: CommandLine,
    make_run: Any,
    tmp_path: Path,
    command: str,
    number: int,
    parameter: str,
) -> None:
    arguments, options = IDLE[command][number]
    (tmp_path / "file.txt").write_text(TEXT)
    places = {"RUN": make_run(TEXT), "FILE": tmp_path / "file.txt", "NEW": tmp_path / "new.txt"}
    name = option_names(command)[parameter]
    given = [places.get(one, one) for one in options[parameter]]
    if given and str(given[0]) in (
        "--no-first",
        "--end",
        "--no-recall",
        "--no-diagnose",
    ):  # one of two flags
        name = str(given.pop())
    plain = [places.get(one, one) for one in arguments]
    outcome = rnnctl(command, *plain, *([name] if name else []), *given, stdin="a\n")
    assert outcome.code == 2 and outcome.out == ""
    shown = name or {"files": "FILE"}.get(parameter, parameter.upper())
    why = RULES[command][number].why
    assert outcome.err.startswith(f"error: {shown} has no effect {why}\n\nhint: leave it out")
    assert not (tmp_path / "new.txt").exists()


# For each command: its options, each with a call and what is added to it, after which something
# else must come out. Capital letters stand for the files that `places` writes.
SAMPLED = ("LM", "the cat", "--length", 12, "--seed", 1)
WORDS = ("LM", "--words", "TABLE")
MEMORY: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {  # of score and of evaluate
    "--cache": (("LM", "TEXT"), ("--cache", 9)),
    "--cache-theta": (("LM", "TEXT", "--cache", 9), ("--cache-theta", 5)),
    "--cache-weight": (("LM", "TEXT", "--cache", 9), ("--cache-weight", 0.9)),
    "--dynamic": (("LM", "TEXT"), ("--dynamic", 9, "--dynamic-segment", 2)),
    "--dynamic-decay": (
        ("LM", "TEXT", "--dynamic", 9, "--dynamic-segment", 2),
        ("--dynamic-decay", 1),
    ),
    "--dynamic-segment": (("LM", "TEXT", "--dynamic", 9), ("--dynamic-segment", 2)),
    "--dynamic-rule": (
        ("LM", "TEXT", "--dynamic", 9, "--dynamic-segment", 2),
        ("--dynamic-rule", "sgd"),
    ),
}
EFFECTS: dict[str, dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]]] = {
    "generate": {
        "--length": (("LM", "the cat", "--no-end"), ("--length", 3)),
        "--count": (SAMPLED, ("--count", 2)),
        "--stop": (SAMPLED, ("--stop", "t", "--stop", "a", "--stop", "e", "--stop", " ")),
        "--end": (("LM", "the cat"), ("--no-end",)),
        "--lines": (("LM", "--length", 12), ("--lines",)),
        "--temperature": (SAMPLED[:4], ("--temperature", 0)),
        "--top-k": (SAMPLED, ("--top-k", 1)),
        "--top-p": (SAMPLED, ("--top-p", 0.01)),
        "--min-p": (SAMPLED, ("--min-p", 0.99)),
        "--repetition-penalty": (SAMPLED, ("--repetition-penalty", 50)),
        "--seed": (SAMPLED[:4], ("--seed", 2)),
        "--state-in": (SAMPLED, ("--state-in", "STATE")),
        "--copied": (SAMPLED, ("--copied",)),
        "--cache": (SAMPLED, ("--cache", 9)),
        "--cache-theta": ((*SAMPLED, "--cache", 9), ("--cache-theta", 5)),
        "--cache-weight": ((*SAMPLED, "--cache", 9), ("--cache-weight", 0.9)),
        "--dynamic": (SAMPLED, ("--dynamic", 9, "--dynamic-segment", 2)),
        "--dynamic-decay": (
            (*SAMPLED, "--dynamic", 9, "--dynamic-segment", 2),
            ("--dynamic-decay", 1),
        ),
        "--dynamic-segment": ((*SAMPLED, "--dynamic", 9), ("--dynamic-segment", 2)),
        "--dynamic-rule": (
            (*SAMPLED, "--dynamic", 9, "--dynamic-segment", 2),
            ("--dynamic-rule", "sgd"),
        ),
        "--format": (SAMPLED, ("--format", "json")),
        "--output": (SAMPLED, ("--output", "NEW")),
        "--quiet": (("LM", "ß", "--length", 1), ("--quiet",)),
    },
    "score": {
        "--lines": (("LM",), ("--lines",)),
        "--documents": (("LM", "TEXT"), ("--documents", "line")),
        "--per-token": (("LM",), ("--per-token",)),
        "--as": (("LM", "TABLE"), ("--as", "text")),
        "--jsonl": (("LM",), ("--jsonl",)),
        "--text-field": (("LM", "TABLE"), ("--text-field", "label")),
        "--encoding": (("LM", "LATIN"), ("--encoding", "cp1252")),
        "--max-line": (("LM", "--lines"), ("--max-line", 2)),
        "--fail-fast": (("LM", "--jsonl", "BAD"), ("--fail-fast",)),
        "--state-in": (("LM",), ("--state-in", "STATE")),
        "--state-out": (("LM", "--format", "json"), ("--state-out", "NEW")),
        **MEMORY,
        "--words": (("LM",), ("--words",)),
        "--space": (WORDS, ("--space", "after")),
        "--first": (WORDS, ("--no-first",)),
        "--end": (WORDS, ("--no-end",)),
        "--unit": (WORDS, ("--unit", "bits")),
        "--top": (WORDS, ("--top", 2)),
        "--id": (WORDS, ("--id", "label")),
        "--regions": (WORDS, ("--regions", "marked")),
        "--format": (("LM",), ("--format", "json")),
        "--output": (("LM",), ("--output", "NEW")),
        "--quiet": (("LM", "--lines"), ("--quiet",)),
    },
    "classify": {
        "--as": (("CLF", "TABLE"), ("--as", "text")),
        "--input": (("CLF", "BRACES"), ("--input", "text")),
        "--jsonl": (("CLF",), ("--jsonl",)),
        "--documents": (("CLF", "TEXT"), ("--documents", "file")),
        "--text-field": (("CLF", "TABLE"), ("--text-field", "label")),
        "--encoding": (("CLF", "LATIN"), ("--encoding", "cp1252")),
        "--max-line": (("CLF",), ("--max-line", 2)),
        "--fail-fast": (("CLF", "BAD"), ("--fail-fast",)),
        "--explain": (("CLF",), ("--explain",)),
        "--words-overall": (("CLF", "--explain"), ("--words-overall",)),
        "--html": (("CLF", "--explain"), ("--html", "NEW")),
        "--format": (("CLF",), ("--format", "json")),
        "--output": (("CLF",), ("--output", "NEW")),
        "--quiet": (("CLF", "BAD"), ("--quiet",)),
    },
    "pairs": {
        "--critical": (("LM", "PAIRS"), ("--critical",)),
        "--good": (("LM", "PAIRS"), ("--good", "other")),
        "--bad": (("LM", "PAIRS"), ("--bad", "other")),
        "--context": (("LM", "PAIRS"), ("--context", "before")),
        "--by": (("LM", "PAIRS"), ("--by", "kind")),
        "--each": (("LM", "PAIRS"), ("--each", "NEW")),
        "--as": (("LM", "PAIRS"), ("--as", "jsonl")),
        "--encoding": (("LM", "PAIRS"), ("--encoding", "utf-16-le")),
        "--format": (("LM", "PAIRS"), ("--format", "json")),
        "--output": (("LM", "PAIRS"), ("--output", "NEW")),
        "--seed": (("LM", "PAIRS", "--format", "json"), ("--seed", 1)),
    },
    "evaluate": {
        "--part": (("LM", "SPLIT"), ("--part", "valid")),
        **MEMORY,
        "--window": (("RUNNING", "TEXT"), ("--window", 3)),
        "--text-field": (("LM", "TABLE"), ("--text-field", "other")),
        "--label-field": (("CLF", "TABLE"), ("--label-field", "second")),
        "--as": (("LM", "TABLE"), ("--as", "text")),
        "--encoding": (("LM", "LATIN"), ("--encoding", "cp1252")),
        "--new-labels": (("CLF", "NEWER"), ("--new-labels", "drop")),
        "--by": (("CLF", "TABLE"), ("--by", "second")),
        "--format": (("LM", "TEXT"), ("--format", "json")),
        "--output": (("LM", "TEXT"), ("--output", "NEW")),
        "--quiet": (("LM", "TEXT"), ("--quiet",)),
    },
    "runs": {
        "--verify": (("FOLDER",), ("--verify",)),
        "--format": (("FOLDER",), ("--format", "json")),
        "--output": (("FOLDER",), ("--output", "NEW")),
    },
    "info": {
        "--format": (("LM",), ("--format", "json")),
        "--output": (("LM",), ("--output", "NEW")),
    },
}
# Where it is computed changes nothing else; the n-gram model of --baseline needs a training text.
# --answer reads questions, and what is tuned needs a validation text: each has tests of its own.
ELSEWHERE = {"--device", "--threads", "--baseline", "--answer", "--tune-cache", "--tune-dynamic"}
# These say nothing beside their data and warnings (pairs: beside --baseline).
SILENT = {("info", "--quiet"), ("runs", "--quiet"), ("pairs", "--quiet")}


@pytest.mark.parametrize("command", EFFECTS)
def test_every_option_is_among_those_whose_effect_is_seen(command: str) -> None:
    names = {name for name in option_names(command).values() if name}
    silent = {option for where, option in SILENT if where == command}
    assert names - ELSEWHERE - silent == set(EFFECTS[command])


@pytest.fixture(scope="module")
def places(make_run: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The files by the words that stand for them."""
    folder = tmp_path_factory.mktemp("places")
    known = TEXT + "other before kind ag né\n"
    files = {
        "TEXT": "the cat sat\non the mat\n",
        "TABLE": "text,label,other,second,marked\n"
        + "".join(f"the cat {w},a,a rat {w},b,the|cat {w}\n" for w in ("sat", "ate", "on")),
        "NEWER": "text,label\nthe cat,a\nthe rat,b\nthe mat,c\n",
        "BAD": '{"text": "the cat"}\n{"text": \n{"text": "the rat"}\n{"text": "a mat"}\n',
        "BRACES": '{"text": "the cat"}\n',
        "PAIRS": "good,bad,other,before,kind\nthe cat,the cta,a cat,on,x\n"
        "a mat,a tma,on,the,y\n,a,b,c,y\n",
    }
    for name, content in files.items():
        ending = {"TABLE": "csv", "NEWER": "csv", "PAIRS": "csv", "BAD": "jsonl", "BRACES": "jsonl"}
        (folder / f"{name}.{ending.get(name, 'txt')}").write_text(content)
    found: dict[str, Any] = {path.stem: path for path in folder.iterdir()}
    (folder / "latin.txt").write_bytes("the né\n".encode("cp1252"))
    (folder / "split").mkdir()
    for part, text in (("train", "a cat"), ("valid", "the rat sat"), ("test", "on the mat")):
        (folder / "split" / f"{part}.txt").write_text(f"{text}\n" * 9)
    found |= {"LATIN": folder / "latin.txt", "SPLIT": folder / "split"}
    found |= {"LM": make_run(known, running=False, valid=known), "RUNNING": make_run(known)}
    found["CLF"] = make_run(known, labels=("a", "b"))
    return found | {"FOLDER": found["LM"].parent}


@pytest.mark.parametrize(
    ("command", "option"), [(name, one) for name, options in EFFECTS.items() for one in options]
)
def test_an_option_changes_what_comes_out(
    rnnctl: CommandLine, places: dict[str, Any], tmp_path: Path, command: str, option: str
) -> None:
    here = places | {"NEW": tmp_path / "new", "STATE": tmp_path / "state"}
    if option == "--state-in":
        assert rnnctl("score", here["LM"], "--state-out", here["STATE"], stdin="a hat").code == 0
    base, more = ([here.get(one, one) for one in part] for part in EFFECTS[command][option])
    before = rnnctl(command, *base, stdin="the\nrat\n")
    after = rnnctl(command, *base, *more, stdin="the\nrat\n")
    wanted = (1,) if option in ("--fail-fast", "--max-line", "--jsonl") else (0, 1)
    assert after.code in wanted, after.err
    assert before != after or (tmp_path / "new").exists()


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
