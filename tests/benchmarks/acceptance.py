"""The acceptance runs A1 to A7 and A10 of the diagnostics: fresh trainings with known outcomes.

    python tests/benchmarks/acceptance.py [A1 A2 …] [--seeds N] [-o FILE]
    python tests/benchmarks/acceptance.py A8 A11 --data ../shared/data     (slow)

prints what is expected beside what was measured, and the same as JSON. "Expected" is what other
people's runs, or earlier ones of ours in numpy, have shown ([C] computed, [S] a source, [E] an
estimate made beforehand); a row that is outside is reported and not hidden. A few minutes
on two cores; A8 and A11 train language models and classifiers and take half an hour.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

import acceptance_slow
import torch
from acceptance_models import Row
from acceptance_runs import RUNS

MARKS = {True: "ok", False: "OUTSIDE", None: ""}


def main() -> int:
    """Run what was asked for, print the table as it comes and the JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", default=list(RUNS), metavar="RUN")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--keep", type=Path, help="folder for the trained runs of A8 and A11")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    rows: list[Row] = []
    seconds: dict[str, float] = {}
    for name in arguments.runs:
        began = time.perf_counter()
        if name in acceptance_slow.RUNS:
            found = acceptance_slow.RUNS[name](arguments.data, arguments.keep)
        else:
            found = RUNS[name](arguments.seeds)
        for row in found:
            rows.append(row)
            print(
                f"{row.run:<4}{row.what:<36} {row.expected:<30} {row.measured:<38} {MARKS[row.ok]}"
            )
            sys.stdout.flush()
        seconds[name] = round(time.perf_counter() - began, 1)
    text = report(rows, seconds)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    return 0


def report(rows: list[Row], seconds: dict[str, float]) -> str:
    """Everything as JSON, with the machine."""
    found = {
        "machine": platform.platform(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "rows": [asdict(row) for row in rows],
    }
    return json.dumps(found, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    raise SystemExit(main())
