"""Imports point down, and what must start fast stays light (contracts in pyproject.toml)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LIGHT = (
    "rnnctl.errors",
    "rnnctl.config",
    "rnnctl.catalog",
    "rnnctl.results.base",
    "rnnctl.runs",
    "rnnctl.reports",
    "rnnctl.cli.app",
    "rnnctl.cli.console",
    "rnnctl.cli.options",
)


def test_the_import_contracts_hold(root: Path) -> None:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_nothing_heavy(module: str) -> None:
    program = (
        f"import sys, {module}; "
        "print([m for m in ('torch', 'datasets', 'tokenizers', 'altair', 'sklearn', 'scipy',"
        " 'numba') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def _sources(root: Path) -> list[Path]:
    return sorted((root / "rnnctl").rglob("*.py"))


def test_only_the_command_line_prints_and_exits(root: Path) -> None:
    """The library returns results; `print`, `sys.exit` and `sys.argv` belong to cli/.

    The last lines of a module that is also a process of its own (`__main__`) are not library.
    """
    found = []
    for path in _sources(root):
        inside = path.relative_to(root / "rnnctl")
        if inside.parts[0] in ("cli", "__main__.py"):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        tree.body = [node for node in tree.body if not _is_entry(node)]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.exit"):
                found.append(f"{inside}:{node.lineno}")
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.argv":
                found.append(f"{inside}:{node.lineno}")
    assert found == []


def _is_entry(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def test_nothing_is_unpickled_or_executed(root: Path) -> None:
    banned = {"eval", "exec", "pickle.load", "pickle.loads", "torch.load", "marshal.loads"}
    found = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in _sources(root)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in banned
    ]
    assert found == []


def test_every_wrong_call_is_told_what_to_do(root: Path) -> None:
    found = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in _sources(root)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "UsageError"
        and "hint" not in {keyword.arg for keyword in node.keywords}
    ]
    assert found == []


def test_nothing_swallows_everything(root: Path) -> None:
    """Catching everything is only right for cleaning up or for saying whose fault it is: with
    `raise` at the end, or `raise … from` what was caught.
    """
    found = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in _sources(root)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and not (
            isinstance(last := node.body[-1], ast.Raise)
            and (last.exc is None or (last.cause and ast.unparse(last.cause) == node.name))
        )
    ]
    assert found == []
