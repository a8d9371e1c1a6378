"""Counts in sentences."""

from __future__ import annotations

import pytest

from rnnctl.wording import first_few, plural, with_unit


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ("word",), "0 words"),
        (1, ("word",), "1 word"),
        (1200, ("word",), "1,200 words"),
        (1, ("text stands", "texts stand"), "1 text stands"),
        (2, ("text stands", "texts stand"), "2 texts stand"),
    ],
)
def test_a_count_and_what_is_counted(count: int, words: tuple[str, ...], text: str) -> None:
    assert plural(count, *words) == text


@pytest.mark.parametrize(
    ("shown", "unit", "text"),
    [
        ("1", "words", "1 word"),
        ("> 1", "words", "> 1 word"),
        ("1.0", "words", "1.0 words"),
        ("21", "tokens", "21 tokens"),
        ("1", "tokens/s", "1 tokens/s"),
        ("1", "%", "1 %"),
        ("1", "", "1"),
    ],
)
def test_a_number_and_its_unit(shown: str, unit: str, text: str) -> None:
    assert with_unit(shown, unit) == text


@pytest.mark.parametrize(
    ("names", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a, b"), (["a", "b", "c", "d"], "a, b and 2 more")],
)
def test_a_long_list_is_cut_short(names: list[str], text: str) -> None:
    assert first_few(names, 2) == text
