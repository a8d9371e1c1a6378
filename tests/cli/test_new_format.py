"""A report format that another package adds works in every command that writes a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rnnctl import catalog

CommandLine = Callable[..., Any]
PLUGIN = Path(__file__).parents[1] / "plugin"
TEXT = "the cat sat on the mat and ate the rat with a hat. \n" * 60


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The other package is on this process's path."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    catalog._extensions.cache_clear()
    yield
    catalog._extensions.cache_clear()


def values(text: str) -> dict[str, str]:
    """The lines ``name=value`` of a report."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_train_and_the_commands_for_runs_write_it(rnnctl: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    small = ("--steps", 2, "--hidden-size", 4, "--embedding-size", 4, "--no-diagnose", "--quiet")
    run, asked = tmp_path / "run", ("--format", "pairs")
    trained = rnnctl("train", tmp_path / "text.txt", *small, "--run", run, *asked)
    assert trained.code == 0, trained.err
    found = values(trained.out)
    assert (found["schema_id"], found["steps"], found["cell"]) == ("rnnctl.train/1", "2", "lstm")
    assert found["environment.rnnctl"]
    schemas = {"info": "info", "evaluate": "evaluate", "runs": "runs", "compare": "comparison"}
    for command, schema in schemas.items():
        outcome = rnnctl(command, run, *asked)
        assert outcome.code == 0, outcome.err
        assert values(outcome.out)["schema_id"].startswith(f"rnnctl.{schema}/")


@pytest.mark.parametrize(("command", "schema"), [("generate", "generate"), ("score", "score")])
def test_generate_and_score_write_it(
    rnnctl: CommandLine, make_run: Any, tmp_path: Path, command: str, schema: str
) -> None:
    outcome = rnnctl(command, make_run(TEXT), "--format", "pairs", stdin="the cat")
    assert outcome.code == 0, outcome.err
    assert values(outcome.out)["schema_id"].startswith(f"rnnctl.{schema}/")
    file = tmp_path / "report.txt"
    assert rnnctl(command, make_run(TEXT), "--format", "pairs", "-o", file, stdin="x").code == 0
    assert file.read_text().endswith("\n")


def test_diagnose_writes_it(rnnctl: CommandLine, make_run: Any) -> None:
    outcome = rnnctl(
        "diagnose", make_run(TEXT), "gates", "--text", "-", "--format", "pairs", stdin=TEXT
    )
    assert outcome.code == 0, outcome.err
    assert values(outcome.out)["schema_id"] == "rnnctl.diagnostics/1"


def test_a_format_that_does_not_exist_gets_the_nearest(rnnctl: CommandLine) -> None:
    outcome = rnnctl("runs", "--format", "pair")
    assert outcome.code == 2 and "there is no format 'pair'" in outcome.err
    assert "did you mean `pairs`?" in outcome.err


def test_one_that_cannot_be_loaded_names_its_package(rnnctl: CommandLine, make_run: Any) -> None:
    outcome = rnnctl("info", make_run(TEXT), "--format", "broken")
    assert outcome.code == 1 and outcome.out == ""
    assert "the format 'broken' of the package minimal-unit cannot be loaded" in outcome.err
    assert "hint: reinstall minimal-unit" in outcome.err


def test_one_whose_own_code_fails_is_not_a_defect_of_rnnctl(
    rnnctl: CommandLine, make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a cell with facts that contradict each other, or a mistake in the syntax."""
    (tmp_path / "fails_at_once.py").write_text('raise ValueError("two gates are one too many")')
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = {"fails": ("fails_at_once:render", "its-package")}
    monkeypatch.setattr(catalog, "_extensions", lambda kind: entry if kind == "format" else {})
    monkeypatch.setattr(catalog._extensions, "cache_clear", lambda: None, raising=False)
    outcome = rnnctl("info", make_run(TEXT), "--format", "fails")
    assert outcome.code == 1 and outcome.out == ""
    assert "the format 'fails' of the package its-package cannot be loaded" in outcome.err
    assert "ValueError: two gates are one too many" in outcome.err
    assert "hint: correct fails_at_once in its-package" in outcome.err
