"""Which engine a training uses: each one is timed on the training's own shapes.

Which is fastest depends on the processor, on the versions of PyTorch and numba, on the cell, its
sizes and the precision, and no table holds for the next machine. So the first time that such layers
are trained on a machine each engine takes some steps forwards and backwards, within about a second,
and the answer is kept in the cache. A kept answer that is damaged, or of another machine or other
versions, is measured anew.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from rnnctl import __version__, integrity, machine
from rnnctl.data.cache import cache_directory, recall, remember
from rnnctl.errors import StorageError
from rnnctl.nn import engines
from rnnctl.nn.recurrent import Recurrent

KEPT_AS = "engines.json"
FEW_STEPS = 16  # of the sequence, to begin with: what a step costs hardly depends on their number
ENOUGH_S = 0.06  # for one timing
REPEATS = 3
HOPELESS = 2.0  # times as slow as another one at the first try: not tried again
# An engine must be so much faster to be preferred to the one before it in `PREFERRED`: what differs
# by less than the noise should not change from one measurement to the next.
CLEARLY = 0.95
PREFERRED = ("fused", "torch", "closed")


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine, and the milliseconds that each took for one training step when it was measured.

    No times where there was only one to choose from.
    """

    engine: str
    milliseconds: dict[str, float]


def settle(
    recurrent: Recurrent, steps: int, streams: int, *, bf16: bool, starts: bool = False
) -> Choice:
    """The fastest engine for training these layers on `streams` sequences of `steps` tokens.

    bf16: whether the products are in bf16, by autocast. starts: whether the state is zeroed within
    sequences. Threads are those that torch uses now. The layers are not changed, nor is the state
    of PyTorch's random generator. Takes about a second the first time, and compiles what was not
    compiled yet; the answer is kept. An engine that was asked for is not questioned.
    """
    weight = recurrent.get_parameter("weight_hh_l0")
    if recurrent.engine != "auto":
        return Choice(recurrent.engine, {})
    with torch.autocast(weight.device.type, torch.bfloat16, enabled=bf16):
        possible = engines.able(recurrent.cell, weight)
    names = [name for name in PREFERRED if name in possible]
    if weight.device.type != "cpu":
        return Choice("torch" if "torch" in names else "closed", {})
    if "fused" in names and not engines.fused_available():
        names.remove("fused")
    if len(names) == 1:
        return Choice(names[0], {})
    shapes = {
        "cell": recurrent.cell.name,
        "inputs": recurrent.input_size,
        "hidden": recurrent.hidden_size,
        "layers": recurrent.num_layers,
        "directions": recurrent.directions,
        "steps": steps,
        "streams": streams,
        "bf16": bf16,
        "starts": starts,
        "threads": torch.get_num_threads(),
    }
    known = KeptTimings(cache_directory() / KEPT_AS)
    found = known.get(shapes, names)
    if found is None:
        found = _measured(recurrent, names, steps, streams, bf16=bf16, starts=starts)
        known.put(shapes, found)
    best = names[0]
    for name in names[1:]:
        if found[name] < CLEARLY * found[best]:
            best = name
    return Choice(best, found)


def _measured(
    recurrent: Recurrent, names: list[str], steps: int, streams: int, *, bf16: bool, starts: bool
) -> dict[str, float]:
    """Milliseconds of a training step by each engine, the shortest of a few."""
    few = min(steps, FEW_STEPS)
    before = recurrent.engine
    shortest = dict.fromkeys(names, math.inf)

    def timed(name: str, length: int) -> float:
        recurrent.engine = name
        return _timed(recurrent, length, streams, bf16=bf16, starts=starts)

    try:
        with torch.random.fork_rng(devices=[]):
            for name in names:  # what is not compiled yet is compiled now
                timed(name, min(2, few))
            first = {name: timed(name, few) / few for name in names}
            used = min(steps, max(few, math.floor(ENOUGH_S / min(first.values()))))
            hopeful = [name for name in names if first[name] < HOPELESS * min(first.values())]
            shortest.update({name: first[name] for name in names if name not in hopeful})
            for _ in range(REPEATS):
                for name in hopeful:
                    # The shortest and not the mean: other programs only ever make it longer.
                    shortest[name] = min(shortest[name], timed(name, used) / used)
    finally:
        recurrent.engine = before
    return {name: round(1e3 * seconds * steps, 3) for name, seconds in shortest.items()}


def _timed(recurrent: Recurrent, steps: int, streams: int, *, bf16: bool, starts: bool) -> float:
    """Seconds of one pass forwards and backwards; no gradient is left behind."""
    inputs = torch.randn(steps, streams, recurrent.input_size, requires_grad=True)
    where = torch.rand(steps, streams) < 1 / FEW_STEPS if starts else None
    begin = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        outputs, _ = recurrent(inputs, starts=where)
    torch.autograd.grad(outputs.float().sum(), [inputs, *recurrent.parameters()])
    return time.perf_counter() - begin


class KeptTimings:
    """Timings in the cache. What cannot be read, or is of another machine, is not there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._here = _here()
        self._timings: dict[str, dict[str, float]] = {}
        with suppress(KeyError, ValueError, TypeError, AttributeError):
            content = recall(path) or {}
            if content["machine"] == self._here:
                self._timings = dict(content["milliseconds"])

    def get(self, shapes: dict[str, Any], names: list[str]) -> dict[str, float] | None:
        """What was measured for these shapes, if it was for just these engines."""
        found = self._timings.get(_key(shapes))
        if not isinstance(found, dict) or set(found) != set(names):
            return None
        sound = all(isinstance(ms, int | float) and 0 < ms < math.inf for ms in found.values())
        return found if sound else None

    def put(self, shapes: dict[str, Any], found: dict[str, float]) -> None:
        """Keep it, if the cache can be written to; else it is measured again next time."""
        timings = {**self._timings, _key(shapes): found}
        content = {"machine": self._here, "milliseconds": timings}
        with suppress(StorageError):
            remember(self._path, content)


def _key(shapes: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in shapes.items())


def _here() -> dict[str, str]:
    """What the timings hold for: processor, cores, versions and the passes' source."""
    versions = {"rnnctl": __version__, "torch": str(torch.__version__)}
    with suppress(PackageNotFoundError):
        versions["numba"] = version("numba")
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    digest = integrity.digest_of(path.read_bytes() for path in sources)
    cores = str(machine.available_cores())
    return {
        **versions,
        "cpu": machine.processor(),
        "level": machine.described(),
        "cores": cores,
        "source": digest[:12],
    }
