"""What the tests of the numerics share: every level of processor that this machine has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rnnctl import machine


@pytest.fixture(scope="module", params=["generic", "avx2", "all there is"])
def processor(request: pytest.FixtureRequest) -> Iterator[str]:
    """The level to which the test is capped; skipped where this processor has not got it.

    It decides which passes and products are chosen here. What libraries choose is capped by
    RNNCTL_CPU for the whole process.
    """
    best = machine.level()
    usable = [name for name in machine.levels() if not machine.outranks(name, best)]
    name = best if request.param == "all there is" else request.param
    if name not in usable:
        pytest.skip(f"this processor is used as {machine.described()} and has no {name}")
    if request.param == best:
        pytest.skip(f"{best} is all there is, which is tested already")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(machine.CAP, name)
        yield name
