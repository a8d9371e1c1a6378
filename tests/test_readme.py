"""Everything the README shows is run, in its order, in one directory; benchmarks are parsed.

A block ```` ```console ```` holds ``$ command`` lines and what they print. Each command is run by
bash and must succeed, or, where the block shows an ``error:``, fail with that error. Trainings are
cut short (`QUICK`), since the commands are tested here and not what the models learn. A block after
``<!-- benchmark -->`` takes long and is only parsed; one after ``<!-- setup -->`` installs, and
`.ci/run` runs that.

``RNNCTL_README=1 pytest tests/test_readme.py`` runs everything at full length and writes what was
printed into the README.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
WRITING = bool(os.environ.get("RNNCTL_README"))
BLOCK = re.compile(r"(<!-- (?P<kind>\w+) -->\n+)?```console\n(?P<body>.*?)```", re.DOTALL)
MAX_LINES = 84  # of one command's output in the README

# Replaced in a command before it is run as a test: long trainings become short ones.
QUICK = [
    (re.compile(r" --(budget|steps|epochs) \S+"), ""),
    (re.compile(r"rnnctl train(?! --(resume|config))"),
     "rnnctl train --steps 4 --evaluate-every 4 --hidden-size 16 --threads 1 --no-diagnose"),
    (re.compile(r"--length \d+"), "--length 30"),
    (re.compile(r"rnnctl selftest$"), "rnnctl selftest gt03"),
]  # fmt: skip


@dataclass
class Example:
    """One command of the README, and what it shows below it."""

    command: str
    shown: str
    kind: str
    line: int


def examples() -> Iterator[Example]:
    text = README.read_text("utf-8")
    for block in BLOCK.finditer(text):
        kind = block["kind"] or "run"
        line = text[: block.start("body")].count("\n") + 1
        for part in re.split(r"^\$ ", block["body"], flags=re.MULTILINE)[1:]:
            command, shown = _split(part)
            yield Example(command, shown, kind, line)


def _split(part: str) -> tuple[str, str]:
    """The command (which may go on after a backslash) and its output."""
    lines = part.split("\n")
    end = next(i for i, line in enumerate(lines) if not line.endswith("\\"))
    return "\n".join(lines[: end + 1]), "\n".join(lines[end + 1 :]).strip("\n")


EXAMPLES = list(examples())
RUN = [example for example in EXAMPLES if example.kind == "run"]

pytestmark = pytest.mark.timeout(7200 if WRITING else 600)


def quick(command: str) -> str:
    """The command with its trainings cut short."""
    for pattern, replacement in QUICK:
        command = pattern.sub(replacement, command)
    return command


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the checkout's data and examples, and `rnnctl` on the path."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "data").symlink_to(ROOT / "data")
    tools = folder / ".bin"
    tools.mkdir()
    for name, module in (("rnnctl", "rnnctl"),):
        script = tools / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.fixture(scope="module")
def printed(place: Path) -> dict[int, subprocess.CompletedProcess[str]]:
    """What every example printed, in the README's order."""
    environment = {
        **os.environ,
        "PATH": f"{place / '.bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
        "NO_COLOR": "1",
    }
    if not WRITING:
        environment |= {"OMP_NUM_THREADS": "1"}
    done = {}
    for number, example in enumerate(RUN):
        command = example.command if WRITING else quick(example.command)
        done[number] = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=place, env=environment, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=1200,
        )  # fmt: skip
    return done


@pytest.mark.parametrize("number", range(len(RUN)), ids=[f"line-{example.line}" for example in RUN])
def test_an_example_runs(number: int, printed: dict[int, subprocess.CompletedProcess[str]]) -> None:
    example, done = RUN[number], printed[number]
    failing = re.search(r"^error: .*", example.shown, re.MULTILINE)
    if failing:
        assert done.returncode in (1, 2), done.stdout + done.stderr
        assert _shape(failing[0]) in _shape(done.stderr)
    else:
        assert done.returncode == 0, f"$ {example.command}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", range(len(RUN)), ids=[f"line-{example.line}" for example in RUN])
def test_what_is_shown_has_the_shape_of_what_is_printed(
    number: int, printed: dict[int, subprocess.CompletedProcess[str]]
) -> None:
    """The words at the left of each shown table stand in what was printed, numbers aside.

    Lines with tabs are a model's answers, and those of a model cut short may be others.
    """
    example, done = RUN[number], printed[number]
    if "generate" in example.command or "error:" in example.shown:
        return
    words = set(re.findall(r"[a-z][a-z_]{3,}", done.stdout + done.stderr))
    shown = re.findall(r"^ {0,3}([a-z][a-z_]{3,})\b(?!.*\t)", example.shown, re.MULTILINE)
    missing = [word for word in shown if word not in words]
    assert len(missing) <= len(shown) / 4, f"{example.command}: {missing} not printed any more"


def _shape(text: str) -> str:
    return re.sub(r"\d+", "#", text)


# --- blocks that are not run --------------------------------------------------------------------


@pytest.mark.parametrize(
    "example",
    [example for example in EXAMPLES if example.kind == "benchmark"],
    ids=lambda example: f"line-{example.line}",
)
def test_a_benchmark_command_is_understood(example: Example) -> None:
    for words in _simple_commands(example.command):
        if words[0] == "rnnctl":
            _parse(words[1:])
        elif Path(words[0]).name.startswith("python"):
            _parse_script(words[1:])
        else:
            assert words[0] in {"cat", "echo", "head", "time", "zcat"}, words


def _simple_commands(command: str) -> Iterator[list[str]]:
    """The commands of a pipeline as words; redirections and assignments left out."""
    for part in re.split(r"[|;]|&&", command.replace("\\\n", " ")):
        words = shlex.split(re.sub(r"[<>]\s*\S+", "", part))
        while words and (re.fullmatch(r"\w+=\S*", words[0]) or words[0] == "time"):
            words.pop(0)
        if words:
            yield words


def _parse(words: list[str]) -> None:
    """Parse as the command would, without running it."""
    from rnnctl.cli.app import load_command

    command = load_command(words[0])
    with command.make_context(f"rnnctl {words[0]}", list(words[1:])):
        pass


def _parse_script(words: list[str]) -> None:
    """A benchmark script is there and knows the options it is given."""
    if words[0] == "-m":
        assert words[1] in ("pytest", "rnnctl"), words
        return
    script = ROOT / words[0]
    assert script.is_file(), f"{words[0]} is not there"
    source = script.read_text("utf-8")
    for option in (word for word in words[1:] if word.startswith("--")):
        assert option.split("=")[0] in source, f"{words[0]} does not know {option}"


def test_the_two_commands_are_there() -> None:
    """One line installs and trains, one installs and tests; .ci/run runs the second."""
    setup = [example.command for example in EXAMPLES if example.kind == "setup"]
    assert len(setup) == 2
    train, tests = setup
    assert train.startswith("python3 -m venv .venv && .venv/bin/pip install")
    assert train.endswith(".venv/bin/rnnctl train")
    assert re.fullmatch(r"python3 -m venv \.venv && .*\.venv/bin/pytest.*", tests)
    runner = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "python3 -m venv .venv && .*pytest.*" in runner


def test_links_lead_somewhere() -> None:
    text = README.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), f"the README links to {target}"


def test_the_tree_is_the_tree() -> None:
    """Every path of the annotated tree exists, and every package of rnnctl is in it."""
    block = re.search(r"```text\nrnnctl/\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert block, "the README has no annotated tree"
    parent, named = "rnnctl/", {"rnnctl/"}
    for indent, name in re.findall(r"^( *)([\w./]+)", block[1], re.MULTILINE):
        if len(indent) > 2:
            continue
        parent = parent if indent else name
        named.add(parent + name if indent else name)
    for name in named:
        assert (ROOT / name).exists(), f"{name} is in the tree only"
    for path in (ROOT / "rnnctl").iterdir():
        if path.name.startswith("__") or path.suffix not in ("", ".py"):
            continue
        name = f"rnnctl/{path.name}" + ("/" if path.is_dir() else "")
        assert name in named, f"{name} is not in the tree"


@pytest.mark.skipif(not WRITING, reason="RNNCTL_README=1 writes the output into the README")
def test_write_the_output_into_the_readme(
    printed: dict[int, subprocess.CompletedProcess[str]],
) -> None:
    text = README.read_text("utf-8")
    for number, example in enumerate(RUN):
        shown = _shorten(printed[number].stderr, printed[number].stdout, example.command)
        old = f"$ {example.command}\n" + (f"{example.shown}\n" if example.shown else "")
        assert old in text, example.command
        text = text.replace(old, f"$ {example.command}\n{shown}", 1)
    README.write_text(text, encoding="utf-8")


def _shorten(errors: str, output: str, command: str) -> str:
    """Progress is left out but for its start and end; long output is cut in the middle."""
    notes = [line for line in errors.splitlines() if line.strip()]
    if "error:" in errors:
        notes = errors.rstrip("\n").splitlines()
    elif "rnnctl train" not in command:
        notes = []
    elif len(notes) > 8:
        notes = [*notes[:5], "  …", *notes[-3:]]
    lines = [*notes, *output.rstrip("\n").splitlines()]
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 4], "…", *lines[-3:]]
    return "".join(f"{line.rstrip()}\n" for line in lines)
