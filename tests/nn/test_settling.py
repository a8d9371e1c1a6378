"""The engine that a training uses is the one that was fastest, and the answer is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnctl.nn import engines, settling
from rnnctl.nn.recurrent import Recurrent
from rnnctl.nn.settling import KEPT_AS, settle

SPEEDS = {"fused": 3.0, "torch": 2.0, "closed": 5.0}  # seconds a step


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RNNCTL_CACHE", str(tmp_path))
    monkeypatch.setattr(engines, "fused_available", lambda: True)
    return tmp_path / KEPT_AS


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each engine takes as long as `SPEEDS` says; what was timed is in the list."""
    timed: list[str] = []

    def fake(recurrent: Recurrent, steps: int, streams: int, **options: bool) -> float:
        timed.append(recurrent.engine)
        return SPEEDS[recurrent.engine] * steps

    monkeypatch.setattr(settling, "_timed", fake)
    return timed


def layers(cell: str = "gru", **options: Any) -> Recurrent:
    return Recurrent(cell, 3, 4, 2, **options)


def test_the_fastest_is_taken_and_remembered(cache: Path, clock: list[str]) -> None:
    found = settle(layers(), 20, 2, bf16=False)
    assert found.engine == "torch"
    assert found.milliseconds == {name: 20e3 * seconds for name, seconds in SPEEDS.items()}
    assert set(clock) == set(SPEEDS)
    clock.clear()
    assert settle(layers(), 20, 2, bf16=False) == found
    assert not clock
    settle(layers(), 21, 2, bf16=False)  # other shapes are measured for themselves
    assert clock


def test_a_hopeless_engine_is_tried_once(
    cache: Path, clock: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SPEEDS, "closed", 50.0)
    settle(layers(), 20, 2, bf16=False)
    assert clock.count("closed") == 2 < clock.count("torch")  # to compile and load, and to see


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"null", b'{"machine": 1}', b"\xff\xfe", b'{"machine": {}, "milliseconds": {}}'],
)
def test_a_damaged_or_foreign_answer_is_measured_anew(
    cache: Path, clock: list[str], content: bytes
) -> None:
    cache.write_bytes(content)
    assert settle(layers(), 20, 2, bf16=False).engine == "torch"
    assert clock
    assert json.loads(cache.read_text("utf-8"))["milliseconds"]


@pytest.mark.parametrize("number", ["fast", -1, None, 0, float("nan")])
def test_numbers_that_are_none_are_measured_anew(
    cache: Path, clock: list[str], number: object
) -> None:
    settle(layers(), 20, 2, bf16=False)
    content = json.loads(cache.read_text("utf-8"))
    for timings in content["milliseconds"].values():
        timings["torch"] = number
    cache.write_text(json.dumps(content), "utf-8")
    clock.clear()
    assert settle(layers(), 20, 2, bf16=False).engine == "torch"
    assert clock


def test_another_processor_is_measured_anew(
    cache: Path, clock: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(layers(), 20, 2, bf16=False)
    clock.clear()
    monkeypatch.setattr(settling.machine, "processor", lambda: "another")
    settle(layers(), 20, 2, bf16=False)
    assert clock


def test_without_a_place_to_keep_it_it_is_measured_each_time(
    tmp_path: Path, clock: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RNNCTL_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        clock.clear()
        settle(layers(), 20, 2, bf16=False)
        assert clock


def test_what_was_asked_for_is_not_questioned(cache: Path, clock: list[str]) -> None:
    assert settle(layers(engine="closed"), 20, 2, bf16=False).engine == "closed"
    assert not clock


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_measuring_leaves_no_trace(
    cell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the engines that there really are."""
    monkeypatch.setenv("RNNCTL_CACHE", str(tmp_path))
    engines.compiler_problem.cache_clear()
    model = layers(cell, dropout_between=0.5).train()
    before = torch.get_rng_state()
    found = settle(model, 5, 2, bf16=False, starts=True)
    assert found.engine in ("torch", "closed", "fused")
    assert all(0 < ms < 1e5 for ms in found.milliseconds.values())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(weight.grad is None for weight in model.parameters())
    assert model.engine == "auto"


def test_where_nothing_can_be_compiled_other_engines_do(
    cache: Path, clock: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "fused_available", lambda: False)
    assert settle(layers(), 20, 2, bf16=False).engine == "torch"
    assert "fused" not in clock


def test_a_numba_that_cannot_keep_code_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    compiling = pytest.importorskip("rnnctl.nn.cpu.compiling")

    def fails() -> None:
        raise RuntimeError("cannot cache function '_same': no locator available\nfor file x")

    monkeypatch.setattr(compiling, "try_compiling", fails)
    engines.compiler_problem.cache_clear()
    try:
        assert "no locator" in engines.compiler_problem()
        assert "\n" not in engines.compiler_problem()
        assert not engines.fused_available()
        assert engines.choose("auto", layers("gru").cell, torch.zeros(2, 2, 3)) == "torch"
        with pytest.raises(engines.MissingExtraError, match="cannot compile"):
            layers(engine="fused")
    finally:
        engines.compiler_problem.cache_clear()
