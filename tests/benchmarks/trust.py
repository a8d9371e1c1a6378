"""The full numbers behind "what is promised": kills, alterations, hostile input, long filters.

    python tests/benchmarks/trust.py                     everything, about two hours
    python tests/benchmarks/trust.py kills alterations   some of it
    python tests/benchmarks/trust.py kills --part 3/20   the third of twenty slices of it

Each is a set of tests marked `slow`, run here one after the other; a JSON line for every test, then
one with the sums. Exit code 1 if any failed. The fuzzers with coverage are apart:
`tests/data/fuzz_with_atheris.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = {
    "kills": ["training/test_kills.py"],
    "faults": ["test_storage.py", "runs/test_storage.py", "training/test_resume.py"],
    "alterations": ["training/test_altered_runs.py"],
    "hostile": [
        "data/test_fuzz.py",
        "cli/test_hostile_input.py",
        "cli/test_hostile_runs.py",
        "tasks/test_loading.py",
    ],
    "filters": ["cli/test_long_filters.py"],
    "signals": ["cli/test_signals.py", "training/test_parallel.py"],
    "totals": ["inference/test_totals.py"],
}


class Collector:
    """A pytest plugin that keeps the tests of one slice, and remembers how they went."""

    def __init__(self, part: int, parts: int) -> None:
        self._part, self._parts = part, parts
        self.passed = self.failed = 0

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = items[self._part - 1 :: self._parts]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped or not (report.when == "call" or report.failed):
            return
        self.passed += report.passed
        self.failed += report.failed
        said = report.capstdout.strip().splitlines()
        line = {"test": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration)}
        print("\n" + json.dumps(line | {"said": said[-3:]}), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--part", default="1/1", metavar="N/OF", help="a slice of the tests")
    options = parser.parse_args()
    unknown = set(options.kinds) - set(KINDS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    part, parts = map(int, options.part.split("/"))
    collector = Collector(part, parts)
    chosen = options.kinds or list(KINDS)
    files = [str(ROOT / "tests" / file) for kind in chosen for file in KINDS[kind]]
    begin = time.monotonic()
    arguments = ["-q", "-m", "", "-p", "no:cacheprovider", "--rootdir", str(ROOT), *files]
    code = pytest.main([*arguments, "--no-header", "--tb", "short"], plugins=[collector])
    sums = {"kinds": chosen, "part": options.part, "passed": collector.passed}
    sums |= {"failed": collector.failed, "seconds": round(time.monotonic() - begin)}
    print(json.dumps(sums))
    return int(code != 0)


if __name__ == "__main__":
    sys.exit(main())
