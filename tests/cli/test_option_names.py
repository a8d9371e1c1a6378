"""Messages and hints name options that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rnnctl import catalog
from rnnctl.config import SECTIONS, option_of
from rnnctl.errors import UsageError
from rnnctl.tasks.recipes import resolve

CommandLine = Callable[..., Any]
ELSEWHERE = {"--nproc-per-node", "--upgrade"}  # torchrun's and pip's


def options_of(help_text: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z0-9-]*", help_text))


@pytest.mark.parametrize("part", SECTIONS.values())
def test_every_setting_is_named_by_an_option_that_exists(rnnctl: CommandLine, part: Any) -> None:
    known = options_of(rnnctl("train", "--help").out)
    named = {option_of(field) for field in part.model_fields} - {"CORPUS"}
    assert {name for name in named if name.startswith("--")} <= known
    assert all(name in part.model_fields for name in named if not name.startswith("--"))


def test_what_has_no_option_is_named_as_in_the_file() -> None:
    with pytest.raises(UsageError) as caught:
        resolve({"training": {"beta1": 7, "average": 2, "lr": -1, "speed": 3}})
    assert caught.value.message == (
        "--lr -1 must be more than 0; beta1 7 must be less than 1; average 2 must be less than 1; "
        "speed 3 is not a setting"
    )


MESSAGES = ("Error", "Interrupted", "Warning_", "Advice", "hint", "warn", "note")


def _texts(path: Path) -> Iterator[str]:
    """What errors, warnings and hints are made of."""
    for call in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(MESSAGES):
            for node in ast.walk(call):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_options_in_messages_exist(rnnctl: CommandLine, root: Path) -> None:
    known = set(ELSEWHERE) | {"--version", "--help"}
    for command in catalog.COMMANDS:
        known |= options_of(rnnctl(command, "--help").out)
    found = {
        f"{path.relative_to(root)}: {option}"
        for path in sorted((root / "rnnctl").rglob("*.py"))
        for text in _texts(path)
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]", text)
        if option not in known
    }
    assert not found
