"""Hostile lines through the filters: each answered or given an error, its neighbours untouched.

All of them: `python tests/benchmarks/trust.py hostile`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Command = Callable[..., Any]
PARTS = range(4)
EXAMPLES_OF_A_PART = 250
LINES = 20  # hostile ones in each example
MAX_LINE = 200

PLAIN = b"good film"
OBJECT = b'{"text": "good film", "n": 1.50}'
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
OBJECTS = st.builds(
    lambda value, text: json.dumps({**value, "text": text}).encode(),
    st.dictionaries(st.sampled_from(["text", "prediction", "error", "a", "\ud800"]), VALUES),
    VALUES,
)
TEXTS = st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass"))
LONG = st.builds(lambda size, what: what * size, st.integers(1, 400), st.sampled_from([b"x", b"["]))


@st.composite
def altered(draw: Any) -> bytes:
    """A good object with bytes changed or cut off."""
    data = bytearray(OBJECT)
    for _ in range(draw(st.integers(1, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


HOSTILE = st.one_of(st.binary(max_size=60), TEXTS, OBJECTS, LONG, altered()).map(
    lambda line: line.replace(b"\n", b" ")
)


@pytest.fixture(scope="module")
def runs(make_run: Callable[..., Path]) -> dict[str, Path]:
    text = "good film, bad film, naïve 猫 film. " * 5
    return {
        "classify": make_run(text, labels=("bad", "good"), level="word"),
        "score": make_run(text),
    }


def answers(rnnctl: Command, command: str, run: Path, lines: list[bytes]) -> list[dict[str, Any]]:
    arguments = ["--format", "json", "--max-line", str(MAX_LINE)]
    more = ["--lines"] if command == "score" else []
    done = rnnctl(command, run, *arguments, *more, stdin=b"\n".join(lines) + b"\n")
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.split("\n")[:-1]]


def without_line(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "line"}


def near(one: Any, other: Any) -> bool:
    """Equal but for rounding."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, float):
        return bool(one == pytest.approx(other, abs=1e-5, rel=1e-5))
    return bool(one == other)


def check(rnnctl: Command, command: str, run: Path, good: bytes, hostile: list[bytes]) -> None:
    lines = [good]
    for line in hostile:
        lines += [line, good]
    found = answers(rnnctl, command, run, lines)
    assert len(found) == len(lines)
    alone = without_line(answers(rnnctl, command, run, [good])[0])
    assert "error" not in alone
    assert all(near(without_line(answer), alone) for answer in found[::2])
    key = "prediction" if command == "classify" else "nats"
    for line, answer in zip(hostile, found[1::2], strict=True):
        given_ = [answer.get(f"rnnctl_{name}", answer.get(name)) for name in ("error", key)]
        assert isinstance(given_[0], str) or given_[1] is not None, (line, answer)
        assert len(line) <= MAX_LINE or "--max-line" in answer["error"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("good", [PLAIN, OBJECT])
@pytest.mark.parametrize("command", ["classify", "score"])
@pytest.mark.parametrize("part", PARTS)
def test_neighbours_of_hostile_lines(
    part: int, command: str, good: bytes, rnnctl: Command, runs: dict[str, Path]
) -> None:
    seen = 0

    @settings(
        max_examples=EXAMPLES_OF_A_PART,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow,
                               HealthCheck.data_too_large],
    )  # fmt: skip
    @given(hostile=st.lists(HOSTILE, min_size=LINES, max_size=LINES))
    def hold(hostile: list[bytes]) -> None:
        nonlocal seen
        seen += len(hostile)
        check(rnnctl, command, runs[command], good, hostile)

    hold()
    print(f"hostile lines: {seen:,}")


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(hostile=st.lists(HOSTILE, max_size=6), good=st.sampled_from([PLAIN, OBJECT]))
@pytest.mark.parametrize("command", ["classify", "score"])
def test_a_few_hostile_lines(
    rnnctl: Command, runs: dict[str, Path], command: str, good: bytes, hostile: list[bytes]
) -> None:
    check(rnnctl, command, runs[command], good, hostile)
