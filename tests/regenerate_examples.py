"""The console examples of README.md and of the pages of `rnnctl help`: found, run, written anew.

A block ```` ```console ```` holds ``$ command`` lines and what they print. All pages are run in
their order in one directory, by bash; a command that stands on several pages is run once. A comment
on the line before a block says what is special about it:

* ``<!-- setup -->``: it installs; `.ci/run` runs the second one, and nothing here does.
* ``<!-- benchmark -->``: it takes long, and is only parsed.
* ``<!-- silent -->``: it is run, and its output is not shown.
* ``<!-- lines 12 -->``: of each command's output at most 12 lines are shown, the middle left out.

`tests/test_readme.py` runs all of them with trainings cut short. This program runs them at full
length (about ten minutes on two cores) and writes what they print into the pages, and the picture
of the README:

    python tests/regenerate_examples.py
"""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    ROOT / "README.md",
    *(
        ROOT / "rnnctl" / "docs" / f"{name}.md"
        for name in ("guide", "deploying", "memory", "compare", "corpora", "promises", "extending")
    ),
)
BLOCK = re.compile(
    r"(<!-- (?P<kind>[a-z]+)(?: (?P<number>\d+))? -->\n+)?```console\n(?P<body>.*?)```", re.DOTALL
)
MOST_LINES = 84  # of one command's output, where its block does not say
PICTURE = ROOT / ".readme" / "terminal.svg"
# What the picture shows: a command, and its output from the first match to the second.
PICTURED = (
    ("rnnctl train --level word --cell lstm", r"^LSTM trained", r"^test "),
    ("rnnctl compare runs/lstm", r"^RNN, LSTM and GRU", r"^Is the GRU faster"),
)
PICTURE_COLUMNS = 84


@dataclass(frozen=True)
class Example:
    """One command of a page, and what the page shows below it."""

    page: Path
    line: int
    kind: str
    lines: int
    command: str
    shown: str

    @property
    def name(self) -> str:
        """For messages: README-12."""
        return f"{self.page.stem}-{self.line}"

    @property
    def runs(self) -> bool:
        """Whether it is run, and not only parsed."""
        return self.kind not in ("setup", "benchmark")


def examples(pages: Sequence[Path] = PAGES) -> list[Example]:
    """All examples of the pages, in order."""
    return [example for page in pages for example in _of_page(page)]


def _of_page(page: Path) -> Iterator[Example]:
    text = page.read_text("utf-8")
    for block in BLOCK.finditer(text):
        kind = block["kind"] or "run"
        assert kind in ("run", "setup", "benchmark", "silent", "lines"), f"{page}: {kind}"
        line = text[: block.start("body")].count("\n") + 1
        most = int(block["number"] or MOST_LINES)
        for part in re.split(r"^\$ ", block["body"], flags=re.MULTILINE)[1:]:
            command, shown = _split(part)
            yield Example(page, line, kind, most, command, shown)


def _split(part: str) -> tuple[str, str]:
    """The command, which may go on after a backslash, and its output."""
    lines = part.split("\n")
    end = next(i for i, line in enumerate(lines) if not line.endswith("\\"))
    return "\n".join(lines[: end + 1]), "\n".join(lines[end + 1 :]).strip("\n")


def make_place(folder: Path) -> dict[str, str]:
    """Make `folder` a place to run examples in; returns the environment for it.

    It has the checkout's bundled data, and `rnnctl` on the path.
    """
    (folder / "data").symlink_to(ROOT / "data")
    tools = folder / ".bin"
    tools.mkdir()
    script = tools / "rnnctl"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rnnctl "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    python = tools / "python"
    python.symlink_to(sys.executable)
    return {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
        "NO_COLOR": "1",
    }


def run(command: str, place: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What a command prints in that place."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=place, env=environment, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=1800,
    )  # fmt: skip


def shortened(done: subprocess.CompletedProcess[str], example: Example, place: Path) -> str:
    """What a page shows of an output: of progress the beginning and the end, a long middle cut."""
    notes = [line for line in done.stderr.splitlines() if line.strip()]
    if "error:" in done.stderr:
        notes = done.stderr.rstrip("\n").splitlines()
    elif "rnnctl train" not in example.command:
        notes = []
    elif len(notes) > 8:
        notes = [*notes[:5], "  …", *notes[-3:]]
    lines = [*notes, *done.stdout.rstrip("\n").splitlines()]
    if len(lines) > example.lines:
        last = 3 if example.lines > 6 else 1
        if example.lines >= 16 and "rnnctl train" in example.command:
            last = 7  # from the memory horizon on
        lines = [*lines[: example.lines - last - 1], "…", *lines[-last:]]
    text = "".join(f"{line.rstrip()}\n" for line in lines)
    return text.replace(str(place), "/home/me").replace(str(ROOT), "/home/me/rnnctl")


def draw_picture(outputs: dict[str, str]) -> None:
    """Write the picture of the README: the excerpts in PICTURED, one below the other."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=PICTURE_COLUMNS, file=io.StringIO(), force_terminal=True)
    for begin, first, last in PICTURED:
        command = next(known for known in outputs if known.startswith(begin))
        lines = outputs[command].splitlines()
        start = next((i for i, line in enumerate(lines) if re.search(first, line)), 0)
        ends = [i for i in range(start + 1, len(lines)) if re.search(last, lines[i])]
        end = ends[-1] if ends else start + 12
        for line in [f"$ {command}", *lines[start : end + 1], ""]:
            style = "bold bright_green" if line.startswith("$ ") else ""
            console.print(Text(line[:PICTURE_COLUMNS], style=style), soft_wrap=True)
    svg = console.export_svg(title="rnnctl", unique_id="rnnctl")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # nothing is fetched
    PICTURE.write_text(svg, encoding="utf-8")


def main() -> int:
    """Run all examples and write their output into the pages. 1 where one failed."""
    place = Path(tempfile.mkdtemp(prefix="rnnctl-examples-"))
    environment = make_place(place)
    outputs: dict[str, str] = {}
    texts = {page: page.read_text("utf-8") for page in PAGES}
    failed = 0
    done: dict[str, subprocess.CompletedProcess[str]] = {}
    for example in examples():
        if not example.runs:
            continue
        if example.command not in done:
            print(f"{example.name}: {example.command}", flush=True)
            done[example.command] = run(example.command, place, environment)
        result = done[example.command]
        wrong = bool(result.returncode) is not example.shown.startswith("error:")
        if wrong:
            failed += 1
            print(f"  exit code {result.returncode}\n{result.stderr}", file=sys.stderr)
            continue
        outputs[example.command] = result.stdout
        new = "" if example.kind == "silent" else shortened(result, example, place)
        old = f"$ {example.command}\n" + (f"{example.shown}\n" if example.shown else "")
        # An example with an empty output is followed by the next command or by the block's end.
        place_of = texts[example.page].find(old)
        assert place_of >= 0, example.name
        texts[example.page] = texts[example.page].replace(old, f"$ {example.command}\n{new}", 1)
    for page, text in texts.items():
        page.write_text(text, encoding="utf-8")
    draw_picture(outputs)
    shutil.rmtree(place)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
