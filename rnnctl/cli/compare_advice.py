"""What is missing where there is one run and nothing to compare it with."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rnnctl.nn.cells import find_cell

if TYPE_CHECKING:
    from rnnctl.results.comparison import Comparison


def advice(result: Comparison) -> Iterator[str]:
    """The commands that give a single run something to be compared with."""
    if len(result.members) != 1:
        return
    (member,) = result.members
    has_gates = find_cell(member.cell).has_gates
    cell, name = ("rnn", "a plain RNN") if has_gates else ("lstm", "an LSTM")
    run, other = shlex.quote(member.path), shlex.quote(f"{member.path}-{cell}")
    yield (
        f"one run is no comparison: `rnnctl train --config {run} --cell {cell} --run {other}` "
        f"trains {name} on the same text, `rnnctl compare {run} {other}` compares both"
    )
    if "horizon" not in member.values:
        yield "`rnnctl diagnose RUN` of each measures what they remember, to be compared as well"
