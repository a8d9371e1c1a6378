"""GT01 to GT22 and the models in run directories: the instrument where the answer is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rnnctl import __version__
from rnnctl.diagnostics.known_answers import close
from rnnctl.diagnostics.selftest import answers, diagnose_run, known_ids, remember, remembered
from rnnctl.results.diagnostics import InstrumentCheck


@pytest.mark.parametrize("name", known_ids())
def test_known_answer(name: str) -> None:
    (answer,) = answers(diagnose_run, [name])
    wrong = [check for check in answer.items if not check.passed]
    assert answer.items
    assert not wrong, wrong
    assert answer.passed


def test_weights_of_a_known_answer_are_drawn_alike_each_time() -> None:
    torch.manual_seed(1)
    first = list(answers(diagnose_run, ["GT09"]))
    torch.manual_seed(2)
    assert list(answers(diagnose_run, ["GT09"])) == first


def test_all_are_there() -> None:
    ids = known_ids()
    assert [name for name in ids if name.startswith("GT")] == [f"GT{k:02d}" for k in range(1, 23)]
    assert [name for name in ids if name.startswith("RD")] == [f"RD{k:02d}" for k in range(1, 15)]


def test_an_answer_outside_its_tolerance_or_missing_is_not_passed() -> None:
    assert not close("x", 1.0, [1.0, 1.2], 0.1).passed
    assert not close("x", 1.0, float("nan"), 0.1).passed
    assert close("x", [1.0, 2.0], [1.05, 1.95], 0.1).passed


def test_the_outcome_is_remembered_per_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNCTL_CACHE", str(tmp_path / "cache"))
    assert remembered() is None
    remember(20, 1)
    assert remembered() == InstrumentCheck(passed=20, failed=1)
    remember(21, 0)
    assert remembered() == InstrumentCheck(passed=21, failed=0)
    monkeypatch.setattr("rnnctl.diagnostics.selftest.__version__", "9.9")
    assert remembered() is None
    remember(1, 2)
    monkeypatch.setattr("rnnctl.diagnostics.selftest.__version__", __version__)
    assert remembered() == InstrumentCheck(passed=21, failed=0)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"0.1.0": 3}', '{"0.1.0": {"passed": "x"}}'])
def test_a_damaged_memory_is_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setenv("RNNCTL_CACHE", str(tmp_path))
    (tmp_path / "selftest.json").write_text(content)
    assert remembered() is None
    remember(3, 0)
    assert remembered() == InstrumentCheck(passed=3, failed=0)
