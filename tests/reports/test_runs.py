"""The table of runs: one line a run at 80 columns, as long as names are the default ones."""

from __future__ import annotations

from rnnctl.reports.as_table import as_table
from rnnctl.reports.training import runs
from rnnctl.results.base import Environment
from rnnctl.results.training import RunLine, RunsResult

NAMES = ("text-lstm-20261129-230706", "text-lstm-20261129-230706-2")


def table(*states: str, horizon: str = "> 111 words") -> str:
    lines = tuple(
        RunLine(
            run=f"runs/{name}", state=state, cell="lstm", size="1x512", steps=12_345,
            best="3.607 bits/byte", horizon=horizon,
        )
        for name, state in zip(NAMES, states, strict=True)
    )  # fmt: skip
    environment = Environment(rnnctl="0", python="3")
    found = RunsResult(environment=environment, root="runs", runs=lines)
    return as_table(list(runs(found)), width=80)


def test_a_finished_run_is_one_line() -> None:
    said = table("finished", "finished")
    for name in NAMES:
        (line,) = [one for one in said.splitlines() if one.startswith(f"{name} ")]
        assert "12,345  3.607 bits/byte  > 111" in line
    assert "all of them finished" in said and "state" not in said


def test_a_run_that_is_not_finished_says_so() -> None:
    said = table("finished", "stopped")
    assert "stopped" in said and "state" in said and "all of them finished" not in said


def test_a_dash_for_a_horizon_says_where_the_reason_is_found() -> None:
    why = "no memory horizon: `rnnctl diagnose RUN` measures it, or says why there is none"
    assert why in " ".join(table("finished", "finished", horizon="").split())
    assert "no memory horizon" not in table("finished", "finished")
