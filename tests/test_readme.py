"""What README.md and the pages of `rnnctl help` show is run; benchmarks are parsed.

How examples are written, found and run is said in `regenerate_examples.py`. Each command must
succeed, or, where the page shows an ``error:``, fail with that error. Trainings are cut short
(`QUICK`), since the commands are tested here and not what the models learn.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from regenerate_examples import PAGES, ROOT, Example, examples, make_place, run

README = ROOT / "README.md"
RESULTS = ROOT / "tests" / "benchmarks" / "RESULTS.md"
EXAMPLES = examples([*PAGES, RESULTS])
RUN = [example for example in EXAMPLES if example.runs]
MOST_LINES_OF_README = 200

# Replaced in a command before it is run as a test: long trainings become short ones.
QUICK = [
    (re.compile(r" --(budget|steps|epochs) \S+"), ""),
    (re.compile(r"rnnctl train(?! --(resume|config))"),
     "rnnctl train --steps 4 --evaluate-every 4 --hidden-size 16 --threads 1 --no-diagnose"),
    (re.compile(r"--length \d+"), "--length 30"),
    (re.compile(r"rnnctl selftest$"), "rnnctl selftest gt03"),
]  # fmt: skip

pytestmark = pytest.mark.timeout(600)


def quick(command: str) -> str:
    """The command with its trainings cut short."""
    for pattern, replacement in QUICK:
        command = pattern.sub(replacement, command)
    return command


@pytest.fixture(scope="module")
def printed(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, subprocess.CompletedProcess[str]]:
    """What every command printed, in the pages' order."""
    place = tmp_path_factory.mktemp("examples")
    environment = make_place(place) | {"OMP_NUM_THREADS": "1"}
    done: dict[str, subprocess.CompletedProcess[str]] = {}
    for example in RUN:
        if example.command not in done:
            done[example.command] = run(quick(example.command), place, environment)
    return done


@pytest.mark.parametrize("example", RUN, ids=lambda example: example.name)
def test_an_example_runs(
    example: Example, printed: dict[str, subprocess.CompletedProcess[str]]
) -> None:
    done = printed[example.command]
    failing = re.search(r"^error: .*", example.shown, re.MULTILINE)
    if failing:
        assert done.returncode in (1, 2), done.stdout + done.stderr
        assert _shape(failing[0]) in _shape(done.stderr)
    else:
        assert done.returncode == 0, f"$ {example.command}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("example", RUN, ids=lambda example: example.name)
def test_what_is_shown_has_the_shape_of_what_is_printed(
    example: Example, printed: dict[str, subprocess.CompletedProcess[str]]
) -> None:
    """The words at the left of each shown table stand in what was printed, numbers aside.

    Lines with tabs are a model's answers, and those of a model cut short may be others.
    """
    done = printed[example.command]
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
    ids=lambda example: example.name,
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
    setup = [e.command for e in EXAMPLES if e.kind == "setup" and e.page == README]
    assert len(setup) == 2
    train, tests = setup
    assert train.startswith("python3 -m venv .venv && .venv/bin/pip install")
    assert train.endswith(".venv/bin/rnnctl train")
    assert re.fullmatch(r"python3 -m venv \.venv && .*\.venv/bin/pytest.*", tests)
    runner = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "python3 -m venv .venv && .*pytest.*" in runner


def test_the_readme_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= MOST_LINES_OF_README


@pytest.mark.parametrize("page", [*PAGES, RESULTS], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_tree_is_the_tree() -> None:
    """Every path of the annotated tree exists, and every package of rnnctl is in it."""
    page = (ROOT / "rnnctl" / "docs" / "architecture.md").read_text("utf-8")
    block = re.search(r"```text\nrnnctl/\n(.*?)```", page, re.DOTALL)
    assert block, "the page has no annotated tree"
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
