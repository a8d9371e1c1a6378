"""What `--help` says, word for word: tests/golden/help-*.txt.

After a change that is meant, write them anew and read the difference:
``RNNCTL_GOLDEN=1 pytest tests/cli/test_help.py``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rnnctl import catalog
from rnnctl.cli.failures import explain

PAGES = ["", *catalog.COMMANDS]


@pytest.fixture(scope="module")
def golden(root: Path) -> Path:
    return root / "tests" / "golden"


def page(command: str, columns: int) -> str:
    environment = {**os.environ, "TYPER_USE_RICH": "0", "COLUMNS": str(columns)}
    arguments = [sys.executable, "-m", "rnnctl", *([command] if command else []), "--help"]
    done = subprocess.run(
        arguments, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    return done.stdout.decode("utf-8")


@pytest.mark.parametrize("command", PAGES)
def test_help_says_what_it_said(command: str, golden: Path) -> None:
    file = golden / f"help-{command or 'rnnctl'}.txt"
    text = page(command, 80)
    if os.environ.get("RNNCTL_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text("utf-8"), "RNNCTL_GOLDEN=1 writes it anew"


@pytest.mark.parametrize("command", catalog.COMMANDS)
def test_a_way_to_need_less_memory_is_an_option_of_the_command(command: str, golden: Path) -> None:
    told = explain(MemoryError(), command)
    assert told is not None and told.hint
    text = (golden / f"help-{command}.txt").read_text("utf-8")
    assert all(option in text for option in re.findall(r"--[a-z-]+", told.hint))


@pytest.mark.parametrize("command", PAGES)
def test_help_fits_a_terminal(command: str) -> None:
    assert max(map(len, page(command, 80).splitlines())) <= 80


@pytest.mark.parametrize("command", catalog.COMMANDS)
def test_every_option_is_explained(command: str) -> None:
    """Every option says something beside its type and default."""
    from rnnctl.cli.app import load_command

    for parameter in load_command(command).params:
        text = getattr(parameter, "help", "") or ""
        assert len(text.split()) >= 2, f"{command} {parameter.opts} has no help"


@pytest.mark.parametrize("command", catalog.COMMANDS)
def test_shared_options_mean_the_same_everywhere(command: str) -> None:
    from rnnctl.cli.app import load_command

    short = {"-o": "--output", "-q": "--quiet"}
    for parameter in load_command(command).params:
        for letter, name in short.items():
            if letter in parameter.opts:
                assert name in parameter.opts, f"{command}: {letter} is not {name}"
