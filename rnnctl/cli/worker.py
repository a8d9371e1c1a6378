"""Runs command lines one after another in one process, so that torch is imported once for many.

``python -m rnnctl.cli.worker`` reads one JSON object a line from standard input,
``{"arguments": ["train", …], "log": "file"}``, and answers each with its exit code on a line of
standard output. What a command itself prints goes to its log. `rnnctl compare` starts these;
importing torch for each of fifty small members would take longer than training some of them.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TextIO

INTERRUPTED = (130, 143)


def serve(requests: TextIO, answers: TextIO) -> int:
    """Answer requests until they end, or until a command was told to stop."""
    for line in requests:
        request = json.loads(line)
        code = _perform([str(word) for word in request["arguments"]], str(request["log"]))
        answers.write(f"{code}\n")
        answers.flush()
        if code in INTERRUPTED:
            return code
    return 0


def _perform(arguments: list[str], log: str) -> int:
    """One command with its standard error in `log` and its standard output nowhere."""
    from rnnctl.__main__ import main

    with open(log, "wb") as file, open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(file.fileno(), 2)
        os.dup2(nowhere.fileno(), 1)
        try:
            return main(arguments)
        finally:
            sys.stderr.flush()
            sys.stdout.flush()


def _main() -> int:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # A defect ends the worker with a traceback in the log of the command that had it.
    return serve(sys.stdin, answers)


if __name__ == "__main__":
    sys.exit(_main())
