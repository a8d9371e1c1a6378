"""The entry point: one command line from its words to an exit code."""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import traceback
from types import FrameType, TracebackType

from rnnctl.openmp import set_up_threads

DONE, FAILED, INTERRUPTED, TERMINATED = 0, 1, 130, 143
# New objects between two collections. Python's 700 makes it look 200 times for garbage while it
# imports torch, a tenth of the time until a command starts to work.
_COLLECT_AFTER = 50_000


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code.

    0 done, 1 the work failed, 2 the call was wrong, 130 interrupted, 143 terminated. Without
    `argv` it takes the process's own arguments and sets the process up: signals, encodings.
    """
    if argv is None:
        _set_up_process()
        argv = sys.argv[1:]
    stdout = sys.stdout
    try:
        # Flushed here: what Python itself flushes at exit can fail, and nobody would explain it.
        code = _run(argv) or _flush(argv)
    except BrokenPipeError as problem:
        code = _pipe_closed(problem, argv)
    except OSError as problem:
        code = _report(problem, argv)
        _discard(1)
    finally:
        sys.stdout = stdout  # typer wraps it when a pipe breaks
        _let_go_of_messages()
    return code


def _flush(argv: list[str]) -> int:
    """Write what is left, while a closed pipe or a full disk can still be reported."""
    from rnnctl.cli import console
    from rnnctl.errors import StorageError

    if sys.stdout is None:
        return DONE
    try:
        console.stdout_write("", flush=True)
    except StorageError as problem:
        _discard(1)
        return _report(problem, argv)
    return DONE


def _run(argv: list[str]) -> int:
    import typer

    from rnnctl.cli.app import run
    from rnnctl.errors import RnnctlError
    from rnnctl.machine import cap_libraries

    try:
        cap_libraries()
        return run(argv)
    # Of RuntimeErrors only PyTorch's lack of memory is explained; the others are defects of ours.
    except (RnnctlError, typer.TyperException, MemoryError, RuntimeError) as problem:
        return _report(problem, argv)
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as ending:
        cause = ending.__context__
        if isinstance(cause, BrokenPipeError):  # typer ends the process for it
            raise cause from None
        return ending.code if isinstance(ending.code, int) else FAILED


def _report(problem: BaseException, argv: list[str]) -> int:
    """Print message and hint; raise it again when it is a defect of ours."""
    from rnnctl.cli import console
    from rnnctl.cli.failures import explain

    explanation = explain(problem, command=argv[0] if argv else "")
    if explanation is None:
        raise problem
    if _debugging():
        traceback.print_exception(problem)
    console.error(explanation.message, explanation.hint)
    return explanation.code


def _pipe_closed(problem: BrokenPipeError, argv: list[str]) -> int:
    """The reader of our output has gone: end quietly. Any other broken pipe is an error."""
    if not _reader_has_gone():
        return _report(problem, argv)
    _discard(1)
    return DONE


def _reader_has_gone() -> bool:
    # Windows has no poll, and a pipe that breaks there without a reader is all we know.
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    for descriptor in (1, 2):
        # Standard error too: in `rnnctl … 2>&1 | head` the display is what finds the pipe closed.
        poll.register(descriptor, 0)  # errors and hang-ups are always reported
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _discard(descriptor: int) -> None:
    """Let what is left in the buffer go nowhere, or Python complains about it at exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, descriptor)
    os.close(devnull)


def _let_go_of_messages() -> None:
    """Messages that nobody can read are no failure: else Python would exit with 120."""
    own = sys.__stderr__
    if own is None or sys.stderr is not own:
        return
    try:
        own.flush()
    except OSError:
        _discard(2)


def _set_up_process() -> None:
    set_up_threads()
    gc.set_threshold(_COLLECT_AFTER)
    # As an exception it passes through every `finally`: files are closed, a training is saved.
    signal.signal(signal.SIGTERM, _terminate)
    sys.excepthook = _report_defect
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            # data is UTF-8 whatever the locale says; half a character shows as an escape
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)


def _report_defect(
    kind: type[BaseException], problem: BaseException, trace: TracebackType | None
) -> None:
    """What nobody foresaw, in one line; the traceback with RNNCTL_DEBUG=1."""
    if _debugging():
        sys.__excepthook__(kind, problem, trace)
        return
    from rnnctl.cli import console

    if isinstance(problem, ModuleNotFoundError) and not (problem.name or "rnnctl").startswith(
        "rnnctl"
    ):
        console.error(
            f"the package {problem.name} is missing, and rnnctl needs it ({sys.executable})",
            "install rnnctl again with this Python, or use the one that it is installed for",
        )
        return
    last = traceback.extract_tb(trace)[-1]
    text = f"{kind.__name__}: {problem} ({os.path.basename(last.filename)}:{last.lineno})"  # noqa: PTH119
    console.error(
        f"this is a defect of rnnctl: {text}",
        "RNNCTL_DEBUG=1 before the command shows where; please report it",
    )


def _debugging() -> bool:
    return os.environ.get("RNNCTL_DEBUG", "") not in ("", "0")
