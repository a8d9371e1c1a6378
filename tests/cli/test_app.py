"""The command line as a whole: what it loads, how it ends, and how it says what went wrong."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer

from rnnctl import __version__, catalog
from rnnctl.cli import console
from rnnctl.errors import DataError, Interrupted

HEAVY = ("torch", "datasets", "tokenizers", "altair", "numpy", "scipy", "sklearn", "numba")


def run(
    *arguments: str, code: str | None = None, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """The command line as a process of its own; `code` is Python to run in its place."""
    command = [sys.executable, *(("-c", code) if code else ("-m", "rnnctl")), *arguments]
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": 60, **options}
    return subprocess.run(command, check=False, **options)


# --- starting ---------------------------------------------------------------------------------


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    """By the processor's time, which does not depend on what else the machine does."""
    times = []
    for _ in range(5):
        start = os.times()
        done = run("--help")
        end = os.times()
        times.append(
            end.children_user + end.children_system - start.children_user - start.children_system
        )
        assert done.returncode == 0
    assert min(times) < 0.25, f"--help took {min(times):.3f} s of the processor's time at best"


@pytest.mark.parametrize(
    "arguments", [["--help"], *([name, "--help"] for name in catalog.COMMANDS)]
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from rnnctl.__main__ import main; code = main(sys.argv[1:]);"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = run(*arguments, code=code)
    assert done.returncode == 0, done.stderr
    assert done.stderr.decode().strip().splitlines()[-1] == "[]"


def test_every_command_is_in_the_help(rnnctl: Callable[..., Any]) -> None:
    outcome = rnnctl("--help")
    for name, (_, summary) in catalog.COMMANDS.items():
        assert name in outcome.out and summary in outcome.out
        assert summary.endswith(".") and len(summary) <= 62


def test_without_a_command_it_prints_help(rnnctl: Callable[..., Any]) -> None:
    alone, asked = rnnctl(), rnnctl("--help")
    assert alone == asked and alone.code == 0 and alone.err == ""


def test_version(rnnctl: Callable[..., Any]) -> None:
    for arguments in ("--version", "-V", "version"):
        assert rnnctl(arguments).out == f"rnnctl {__version__}\n"


def test_completion_script_names_the_program() -> None:
    shown = run("--show-completion", "bash")
    assert shown.returncode in (0, 2)  # with a shell's name only where none can be detected
    environment = {
        **os.environ,
        "_RNNCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": "rnnctl tr",
        "COMP_CWORD": "1",
    }
    done = run(env=environment)
    assert done.stdout.decode().split() == ["train"]


@pytest.mark.parametrize(
    ("words", "found"),
    [("train --ce", "--cell"), ("diagnose RUN ga", "gates"), ("diagnose RUN use h", "hold")],
)
def test_completion_of_options_and_names_needs_no_torch(words: str, found: str) -> None:
    environment = {
        **os.environ,
        "_RNNCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": f"rnnctl {words}",
        "COMP_CWORD": str(len(words.split())),
    }
    assert run(env=environment).stdout.decode().split() == [found]


# --- a command of our own, to fail in all ways --------------------------------------------------

Fail = Callable[[], None]


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Fail], None]]:
    """Registers a command `probe` that does what it is given."""
    module = types.ModuleType("probe_command")
    actions: list[Fail] = []

    def command(
        path: Annotated[Path, typer.Argument()],
        cell: Annotated[Literal["rnn", "lstm", "gru"], typer.Option()] = "lstm",
        hidden_size: Annotated[int, typer.Option(min=1)] = 4,
    ) -> None:
        for action in actions:
            action()

    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "probe_command", module)
    monkeypatch.setitem(catalog.COMMANDS, "probe", ("probe_command:command", "Fails."))
    yield actions.append


def raiser(problem: BaseException) -> Fail:
    def fail() -> None:
        raise problem

    return fail


USAGE = [
    (["trian"], "there is no command 'trian'", "did you mean `train`?"),
    (["xyzzy"], "there is no command 'xyzzy'", "there are: train, generate"),
    (["--verson"], "there is no option --verson", "did you mean `--version`?"),
    (["probe"], "path is missing", "`rnnctl probe --help` shows what it takes"),
    (["probe", "x", "--hiden-size", "3"], "no option --hiden-size", "`--hidden-size`?"),
    (["probe", "x", "--zzz"], "there is no option --zzz", "`rnnctl probe --help` shows"),
    (["probe", "x", "--cell", "lsmt"], "--cell lsmt must be one of: ", "mean `lstm`?"),
    (["probe", "x", "--cell", "42"], "--cell 42 must be one of: 'rnn', 'lstm', 'gru'", "--help"),
    (["probe", "x", "--cell"], "--cell needs a value", "--help"),
    (["probe", "x", "--hidden-size", "0"], "--hidden-size 0 must be at least 1", "--help"),
    (["probe", "x", "--hidden-size", "many"], "--hidden-size many must be a whole", "--help"),
    (["probe", "x", "y"], "the command does not take: y", "--help"),
]


@pytest.mark.parametrize(("arguments", "message", "hint"), USAGE, ids=lambda x: str(x)[:40])
@pytest.mark.usefixtures("probe")
def test_a_wrong_call_is_explained(
    rnnctl: Callable[..., Any], arguments: list[str], message: str, hint: str
) -> None:
    outcome = rnnctl(*arguments)
    assert outcome.code == 2 and outcome.out == ""
    first, blank, second = outcome.err.rstrip("\n").split("\n")
    assert first.startswith("error: ") and message in first
    assert blank == "" and second.startswith("hint: ") and hint in second


def test_a_missing_argument_is_named_as_the_help_writes_it(rnnctl: Callable[..., Any]) -> None:
    assert rnnctl("pairs").err.startswith("error: RUN is missing\n")


NO_MEMORY = "error: there is not enough memory\n\nhint: end other programs"
FAILURES = [
    (DataError("empty.txt", hint="give text"), 1, "error: empty.txt\n\nhint: give text\n"),
    (DataError("no hint"), 1, "error: no hint\n"),
    (DataError("bad name \x1b[31m"), 1, "error: bad name \\x1b[31m\n"),
    (Interrupted("stopped", exit_code=143), 143, "error: stopped\n"),
    (KeyboardInterrupt(), 130, ""),
    (SystemExit(143), 143, ""),
    (MemoryError(), 1, NO_MEMORY),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: 3 TB"), 1, NO_MEMORY),
    (FileNotFoundError(errno.ENOENT, "No such file", "x.txt"), 1, "error: x.txt: no such file"),
    (OSError(errno.ENOSPC, "Disk full"), 1, "error: disk full\n\nhint: the disk is full"),
]  # fmt: skip


@pytest.mark.parametrize(("problem", "code", "text"), FAILURES, ids=lambda x: repr(x)[:40])
def test_a_failure_is_explained(
    rnnctl: Callable[..., Any],
    probe: Callable[[Fail], None],
    problem: BaseException,
    code: int,
    text: str,
) -> None:
    probe(raiser(problem))
    outcome = rnnctl("probe", "x")
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.startswith(text) and "Traceback" not in outcome.err


def test_debugging_shows_the_traceback(
    rnnctl: Callable[..., Any], probe: Callable[[Fail], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    probe(raiser(DataError("broken", hint="mend it")))
    monkeypatch.setenv("RNNCTL_DEBUG", "1")
    outcome = rnnctl("probe", "x")
    assert outcome.code == 1
    assert "Traceback" in outcome.err and "in fail" in outcome.err
    assert outcome.err.endswith("error: broken\n\nhint: mend it\n")


def test_a_defect_is_not_swallowed(
    rnnctl: Callable[..., Any], probe: Callable[[Fail], None]
) -> None:
    probe(raiser(ZeroDivisionError("ours")))
    with pytest.raises(ZeroDivisionError):
        rnnctl("probe", "x")


PROGRAM = """
import sys, types
from rnnctl import catalog
from rnnctl.__main__ import main
module = types.ModuleType("probe_command")
exec(sys.argv.pop(1), module.__dict__)
sys.modules["probe_command"] = module
catalog.COMMANDS["probe"] = ("probe_command:command", "Does what it is given.")
sys.argv.append("probe")
sys.exit(main())
"""


def test_a_defect_is_one_line_in_a_process() -> None:
    done = run("def command() -> None:\n    1 / 0", code=PROGRAM)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: this is a defect of rnnctl: ZeroDivisionError: ")
    assert b"Traceback" not in done.stderr and b"RNNCTL_DEBUG=1" in done.stderr


def test_a_package_that_is_missing_is_no_defect() -> None:
    """As with a Python for which rnnctl is not installed."""
    code = "import sys; sys.modules['typer'] = None; from rnnctl.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "runs"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the package typer is missing, and rnnctl needs it (")
    assert "install rnnctl again" in done.stderr and "defect" not in done.stderr


def test_sigterm_ends_with_143() -> None:
    source = "import os, signal\ndef command() -> None:\n    os.kill(os.getpid(), signal.SIGTERM)"
    done = run(source, code=PROGRAM)
    assert (done.returncode, done.stdout, done.stderr) == (143, b"", b"")


def test_sigint_ends_with_130() -> None:
    source = "import os, signal\ndef command() -> None:\n    os.kill(os.getpid(), signal.SIGINT)"
    done = run(source, code=PROGRAM)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


# --- pipes and full disks -----------------------------------------------------------------------

MANY_LINES = """
from rnnctl.cli.console import stdout_write
def command() -> None:
    for number in range(100_000):
        stdout_write(f"{number}\\n")
"""
ONE_LINE = MANY_LINES.replace("100_000", "1")


@pytest.mark.parametrize("source", [MANY_LINES, ONE_LINE], ids=["while writing", "at the end"])
def test_a_closed_pipe_is_quiet(source: str) -> None:
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, source],
        stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(write)
    os.close(read)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, b"")


def test_another_broken_pipe_is_an_error() -> None:
    source = "def command() -> None:\n    raise BrokenPipeError(32, 'Broken pipe')"
    done = run(source, code=PROGRAM)
    assert (done.returncode, done.stderr) == (1, b"error: broken pipe\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("source", [MANY_LINES, ONE_LINE], ids=["while writing", "at the end"])
def test_a_full_disk_behind_standard_output_is_an_error(source: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(source, code=PROGRAM, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    said = b"error: cannot write standard output: the disk is full\n\nhint: make room"
    assert done.stderr.startswith(said) and done.stderr.count(b"error:") == 1


def test_output_is_utf8_in_any_locale() -> None:
    source = "def command() -> None:\n    print('na\\xefve \\N{BLACK STAR} \\udc80')"
    done = run(source, code=PROGRAM, env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"})
    assert done.stdout == "naïve ★ \\udc80\n".encode()


def test_signals_are_left_alone_when_called_from_python(rnnctl: Callable[..., Any]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    rnnctl("--version")
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("command", ["info", "runs", "train", "score"])
def test_a_name_that_is_no_unicode_is_refused_before_anything_is_made(
    rnnctl: Callable[..., Any], command: str
) -> None:
    done = rnnctl(command, "bad\udcff.txt")
    assert done.code == 2
    assert done.err.startswith("error: bad\\udcff.txt is not valid UTF-8\n\nhint: ")


def test_messages_break_between_words_in_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command in backticks stays whole, so that it can be copied; a log has one line each."""
    text = "4 claims are not shown; `rnnctl compare --seeds 4 --train '--level char' -v` tests them"
    console.hint(text)
    assert capsys.readouterr().err == f"hint: {text}\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda fallback: os.terminal_size((80, 24)))
    monkeypatch.setenv("NO_COLOR", "1")
    console.hint(text)
    first = text.partition(" `")[0]
    assert capsys.readouterr().err == f"hint: {first}\n{text.removeprefix(first).strip()}\n"


@pytest.mark.parametrize("columns", [40, 80])
def test_folded_lines_lose_nothing(columns: int) -> None:
    text = (
        "  begins, `a command` of two words;\n\nan unclosed ` tick, " + "x" * 99 + " and more. " * 9
    )
    folded = console.folded(text, columns, 6)
    assert "".join(folded.split()) == "".join(text.split())
    assert folded.startswith("  begins, `a command`")
    lines = folded.split("\n")
    assert all(len(line) <= columns or line.strip() == "x" * 99 for line in lines)
    assert len(lines[0]) <= columns - 6
