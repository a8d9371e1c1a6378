"""Make .readme/terminal.svg from what the README shows: `python .readme/picture.py`.

The lines are those of README.md, so write its output first (see tests/test_readme.py).
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 84
# command of the README -> the part of its output to show, from the first match to the second
SHOWN = {
    "rnnctl train --cell lstm": (r"^LSTM trained", r"^by less than"),
    "rnnctl diagnose runs/lstm": (r"^By distance", r"^from near"),
    "rnnctl compare runs/lstm": (r"^Quality and memory", r"^gru good"),
}


def excerpt(readme: str, command: str, first: str, last: str) -> list[str]:
    """The command and the part of its output that is shown, as it stands in the README."""
    found = re.search(rf"^\$ ({re.escape(command)}.*)\n((?:.*\n)*?)(?=\$ |```)", readme, re.M)
    if not found:
        raise SystemExit(f"the README does not show `{command}`")
    lines = found[2].splitlines()
    if not lines:
        return []
    start = next((i for i, line in enumerate(lines) if re.search(first, line)), 0)
    end = next((i for i in range(start + 1, len(lines)) if re.search(last, lines[i])), start + 12)
    return [f"$ {found[1]}", *lines[start : end + 1], ""]


def main() -> None:
    """Draw the excerpts one below the other."""
    readme = (ROOT / "README.md").read_text("utf-8")
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for command, (first, last) in SHOWN.items():
        for line in excerpt(readme, command, first, last):
            style = "bold bright_green" if line.startswith("$ ") else ""
            console.print(Text(line[:WIDTH], style=style), soft_wrap=True)
    svg = console.export_svg(title="rnnctl", unique_id="rnnctl")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # nothing is fetched
    (ROOT / ".readme" / "terminal.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
