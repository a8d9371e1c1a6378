"""Runs command lines one after another in one process, so that torch is imported once for many.

``python -m rnnctl.cli.worker`` reads one JSON object a line from standard input,
``{"arguments": ["train", …], "log": "file"}``, and answers each with its exit code on a line of
standard output. What a command itself prints goes to its log. When its input ends while a command
runs, whoever asked for it is gone: the command is interrupted, saves itself, and the worker ends.
`rnnctl compare` starts these; importing torch for each of fifty small members would take longer
than training some of them.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from typing import TextIO

from rnnctl.openmp import set_up_threads

INTERRUPTED = (130, 143)


def serve(requests: TextIO, answers: TextIO) -> int:
    """Answer requests until they end, or until a command was told to stop."""
    waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    busy = threading.Event()
    # A thread waits for the input's end, which must be noticed while a command runs.
    threading.Thread(target=_read, args=(requests, waiting, busy), daemon=True).start()
    while (line := waiting.get()) is not None:
        request = json.loads(line)
        code = _perform([str(word) for word in request["arguments"]], str(request["log"]), busy)
        answers.write(f"{code}\n")
        answers.flush()
        if code in INTERRUPTED:
            return code
    return 0


def _read(requests: TextIO, waiting: queue.SimpleQueue[str | None], busy: threading.Event) -> None:
    for line in requests:
        waiting.put(line)
    waiting.put(None)
    if busy.is_set():
        os.kill(os.getpid(), signal.SIGINT)


def _perform(arguments: list[str], log: str, busy: threading.Event) -> int:
    """One command with its standard error in `log` and its standard output nowhere."""
    from rnnctl.cli.main import main

    with open(log, "wb") as file, open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        # By descriptor: libraries in C write their messages past sys.stderr.
        os.dup2(file.fileno(), 2)
        os.dup2(nowhere.fileno(), 1)
        busy.set()
        try:
            return main(arguments)
        finally:
            busy.clear()
            sys.stderr.flush()
            sys.stdout.flush()


def _main() -> int:
    set_up_threads()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # A shell starts its background jobs with interrupts ignored, and children inherit that; but
    # only the one who asks, or its end, interrupts a worker.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A defect ends the worker with a traceback in the log of the command that had it.
    return serve(sys.stdin, answers)


if __name__ == "__main__":
    sys.exit(_main())
