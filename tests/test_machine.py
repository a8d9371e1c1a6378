"""What the machine can do, and how `RNNCTL_CPU` caps it; threads in every library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import threadpoolctl
import torch

from rnnctl import machine
from rnnctl.errors import UsageError
from rnnctl.machine import set_threads
from rnnctl.runs import Run

CommandLine = Callable[..., Any]

FLAGS = {
    "generic": frozenset({"sse2"}),
    "avx2": frozenset({"avx2", "fma"}),
    "avx512": frozenset({"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"}),
}
FLAGS["avx512bf16"] = FLAGS["avx512"] | {"avx512_bf16"}


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An x86 with all instructions, whatever the tests run on."""
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(machine, "_flags", lambda: FLAGS["avx512bf16"])
    monkeypatch.delenv(machine.CAP, raising=False)
    machine.levels.cache_clear()
    monkeypatch.setattr(machine, "levels", machine.levels.__wrapped__)
    return monkeypatch


@pytest.mark.parametrize("name", FLAGS)
def test_the_level_is_the_best_that_the_flags_allow(
    name: str, processor: pytest.MonkeyPatch
) -> None:
    processor.setattr(machine, "_flags", lambda: FLAGS[name])
    assert machine.level() == name
    assert not machine.capped()
    for cap in FLAGS:
        processor.setenv(machine.CAP, cap)
        assert machine.level() == min(name, cap, key=list(FLAGS).index)  # never raised
        assert machine.capped() == (machine.level() != name)


def test_an_arm_processor_has_its_own_level(processor: pytest.MonkeyPatch) -> None:
    processor.setattr(machine.platform, "machine", lambda: "arm64")
    assert machine.level() == "neon"
    processor.setenv(machine.CAP, "avx2")
    assert machine.level() == "neon"
    processor.setenv(machine.CAP, "generic")
    assert machine.level() == "generic"


def test_an_unknown_level_names_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, rnnctl: CommandLine
) -> None:
    monkeypatch.setenv(machine.CAP, "fast")
    with pytest.raises(UsageError, match="RNNCTL_CPU=fast"):
        machine.level()
    outcome = rnnctl("runs")
    assert outcome.code == 2
    assert "RNNCTL_CPU=fast" in outcome.err
    for name in machine.LEVELS:
        assert name in outcome.err


def test_bf16_where_it_is_slow_says_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine.CAP, "generic")
    with pytest.raises(UsageError, match="no fast bf16") as caught:
        machine.find_arithmetic("cpu", "bf16")
    assert "fp32" in str(caught.value.hint)
    assert not machine.find_arithmetic("cpu", "auto").bf16
    went_on = machine.find_arithmetic("cpu", "bf16", insist=False)
    assert not went_on.bf16
    assert "fp32" in went_on.note


def test_a_command_refuses_bf16_where_it_is_slow(
    monkeypatch: pytest.MonkeyPatch, rnnctl: CommandLine, tmp_path: Path
) -> None:
    monkeypatch.setenv(machine.CAP, "generic")
    text = tmp_path / "text.txt"
    text.write_text("one two three\n" * 200, encoding="utf-8")
    outcome = rnnctl("train", text, "--run", tmp_path / "run", "--precision", "bf16", "--steps", 2)
    assert outcome.code == 2
    assert "no fast bf16" in outcome.err and "hint: " in outcome.err
    assert not (tmp_path / "run").exists()


def test_a_run_in_bf16_goes_on_elsewhere_in_fp32(
    monkeypatch: pytest.MonkeyPatch, rnnctl: CommandLine, tmp_path: Path
) -> None:
    """It trains on, and everything else works too."""
    if not machine.has_fast_bf16():
        pytest.skip(f"no fast bf16 here: {machine.described()}")
    text, run = tmp_path / "text.txt", tmp_path / "run"
    text.write_text("one two three four five\n" * 400, encoding="utf-8")
    common = ("--quiet", "--no-diagnose", "--evaluate-every", 2)
    done = rnnctl(
        "train", text, "--run", run, "--precision", "bf16", "--steps", 2, "--hidden-size", 8,
        *common,
    )  # fmt: skip
    assert done.code == 0, done.err
    monkeypatch.setenv(machine.CAP, "generic")
    resumed = rnnctl("train", "--resume", run, "--steps", 4, "--no-diagnose")
    assert resumed.code == 0, resumed.err
    assert "continues in fp32" in " ".join(resumed.err.split())
    assert rnnctl("generate", run, "--length", 5).code == 0
    assert rnnctl("score", run, stdin="one two").code == 0
    shown = rnnctl("info", run)
    assert "float32" in shown.out and "generic, capped by RNNCTL_CPU" in shown.out


def test_a_run_of_a_machine_with_bf16_is_used_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, rnnctl: CommandLine, tmp_path: Path
) -> None:
    """Measuring, generating and scoring are in fp32 everywhere; training says that it goes on."""
    text, run = tmp_path / "text.txt", tmp_path / "run"
    text.write_text("one two three four five\n" * 400, encoding="utf-8")
    sizes = ("--steps", 2, "--hidden-size", 8, "--no-diagnose")
    assert rnnctl("train", text, "--run", run, *sizes).code == 0
    for name, section in (("config.json", "training"), ("computed.json", None)):
        facts = json.loads((run / name).read_text("utf-8"))
        if section is None:
            facts["bf16"] = True
        else:
            facts[section]["precision"] = "bf16"
        Run.open(run).put_file(name, json.dumps(facts).encode())
    monkeypatch.setenv(machine.CAP, "generic")
    for command in (
        ("diagnose", run, "use", "--preset", "quick"), ("compare", run), ("info", run),
        ("generate", run, "--length", 5), ("evaluate", run),
    ):  # fmt: skip
        outcome = rnnctl(*command)
        assert outcome.code == 0, (command, outcome.err)
    resumed = rnnctl("train", "--resume", run, "--steps", 4, "--no-diagnose")
    assert resumed.code == 0, resumed.err
    assert "continues in fp32" in " ".join(resumed.err.split())


def test_a_result_names_the_engine_that_computed(rnnctl: CommandLine, tmp_path: Path) -> None:
    """And a resumed run keeps it, whatever would be chosen now."""
    text, run = tmp_path / "text.txt", tmp_path / "run"
    text.write_text("one two three four five\n" * 400, encoding="utf-8")
    sizes = ("--steps", 2, "--hidden-size", 8, "--no-diagnose")
    assert rnnctl("train", text, "--run", run, *sizes).code == 0
    computed = json.loads((run / "computed.json").read_text("utf-8"))
    assert computed["engine"] in ("torch", "closed", "fused")
    assert (
        json.loads(rnnctl("info", run, "--format", "json").out)["training"]["environment"]["engine"]
        == computed["engine"]
    )
    kept = {**computed, "engine": "closed"}
    Run.open(run).put_file("computed.json", json.dumps(kept).encode())
    assert rnnctl("train", "--resume", run, "--steps", 4, "--no-diagnose").code == 0
    shown = json.loads(rnnctl("info", run, "--format", "json").out)
    assert shown["training"]["environment"]["engine"] == "closed"
    assert shown["environment"]["python"]
    scored = json.loads(rnnctl("score", run, "--format", "json", stdin="one two").out)
    assert scored["environment"]["engine"] in ("torch", "closed", "fused")


def test_a_cap_holds_for_the_libraries_too() -> None:
    """PyTorch's own kernels keep to it in a process that begins with it."""
    program = (
        "from rnnctl.machine import cap_libraries; cap_libraries()\n"
        "import torch; print(torch.backends.cpu.get_cpu_capability())\n"
        "print(torch.ops.mkldnn._is_mkldnn_bf16_supported())"
    )
    environment = {**os.environ, machine.CAP: "generic"}
    for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"):
        environment.pop(name, None)
    command = [sys.executable, "-c", program]
    shown = subprocess.check_output(command, env=environment, text=True).split()
    if machine.levels()[-1] == "generic":
        pytest.skip("nothing to cap here")
    assert shown == ["DEFAULT", "False"]


def blas_threads() -> set[int]:
    return {
        pool["num_threads"]
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    }


def test_the_number_of_threads_holds_for_torch_and_numpy() -> None:
    before = torch.get_num_threads()
    with threadpoolctl.threadpool_limits():
        try:
            assert set_threads(1) == 1
            assert blas_threads() <= {1}
            assert set_threads(None) == 1
        finally:
            torch.set_num_threads(before)
