"""Turns an exception into what the person reads: message, hint, exit code."""

from __future__ import annotations

import errno
import re
from typing import Any, NamedTuple

import typer

from rnnctl.catalog import suggestion
from rnnctl.errors import RnnctlError

# What to do about an operating system's refusal that no command has explained better.
SYSTEM_HINTS = {
    errno.ENOSPC: "the disk is full: make room, or choose another place",
    errno.EDQUOT: "the disk quota is used up: make room, or choose another place",
    errno.EACCES: "you have no permission: check the owner and the mode of the file",
    errno.EPERM: "you have no permission: check the owner and the mode of the file",
    errno.EROFS: "the file system is read-only: choose another place",
    errno.ENOENT: "check the spelling of the path",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "this is a folder, and a file is needed",
    errno.EMFILE: "too many open files: raise the limit with `ulimit -n`",
}
# What makes a command need less memory, by options that it has.
NEEDS_LESS = {
    "train": "a smaller --batch-size, --bptt or --hidden-size needs less memory",
    "compare": "a smaller --hidden-size or fewer --jobs need less memory",
    "evaluate": "a smaller --window or a smaller corpus needs less memory",
    "diagnose": "a shorter --text needs less memory",
    "generate": "a smaller --count needs less memory",
    "score": "shorter lines need less memory; --max-line rejects longer ones",
    "classify": "shorter lines need less memory; --max-line rejects longer ones",
}
MORE_MEMORY = "end other programs, or use a machine with more memory"


class Explanation(NamedTuple):
    """What to print, and the exit code."""

    message: str
    hint: str
    code: int


def explain(problem: BaseException, command: str = "") -> Explanation | None:
    """What to tell the person who called `command`; None for a defect, which has no explanation."""
    if isinstance(problem, RnnctlError):
        return Explanation(problem.message, problem.hint, problem.exit_code)
    if isinstance(problem, typer.TyperException):
        return _explain_usage(problem)
    if isinstance(problem, MemoryError) or _is_out_of_memory(problem):
        hint = NEEDS_LESS.get(command, MORE_MEMORY)
        return Explanation("there is not enough memory", hint, 1)
    if isinstance(problem, OSError) and problem.strerror:
        where = f"{problem.filename}: " if problem.filename else ""
        hint = SYSTEM_HINTS.get(problem.errno or 0, "")
        return Explanation(f"{where}{problem.strerror.lower()}", hint, 1)
    return None


def _is_out_of_memory(problem: BaseException) -> bool:
    """PyTorch reports it as a RuntimeError, on a CPU without a class of its own."""
    if isinstance(problem, OSError):
        return problem.errno == errno.ENOMEM
    return isinstance(problem, RuntimeError) and bool(
        re.search(r"out of memory|not enough memory|can't allocate memory", str(problem))
    )


def _explain_usage(problem: Any) -> Explanation:
    """Typer's errors in our words, with what was meant."""
    hint = _meant(problem) or _see_help(problem)
    return Explanation(_in_plain_words(problem), hint, problem.exit_code)


def _in_plain_words(problem: Any) -> str:
    # What pydantic refused has a range in words; typer's own text would quote its internals.
    impossible = problem.__cause__
    if _is_validation_error(impossible):
        from rnnctl.config import UNCLEAR, problems_in_words

        ((_, value, what),) = problems_in_words(impossible, most=1)
        if what != UNCLEAR:
            return f"{_name_of(problem)} {value} {what}"
    message = problem.format_message() if _parameter(problem) else problem.message
    message = re.sub(r"\s*\n\s*", " ", message.replace("Value error, ", "")).rstrip(".")
    for written, plain in _PLAIN:
        message = re.sub(written, plain, message)
    named = message.split(" ", 1)[0].isupper()  # RUN, CORPUS: as the help writes it
    return message if named else message[:1].lower() + message[1:]


def _is_validation_error(problem: BaseException | None) -> bool:
    """Whether pydantic raised it; asked without importing pydantic, which takes a while."""
    return type(problem).__name__ == "ValidationError"


def _name_of(problem: Any) -> str:
    """``--steps`` or ``RUN``: how the help calls the parameter that is wrong."""
    parameter = _parameter(problem)
    if parameter.param_type_name == "argument":
        return str(parameter.human_readable_name)
    return str(max(parameter.opts, key=len))


# What typer says -> what is said here.
_PLAIN = (
    (r"^Invalid value for (?:argument )?'([^']*)'(?: / '[^']*')*: ", r"\1 "),
    (r" '([^']*)' is not one of (.*)$", r" \1 must be one of: \2"),
    (r"^Missing (?:argument|option) '([^']*)'", r"\1 is missing"),
    (r"^Option '([^']*)' requires an argument$", r"\1 needs a value"),
    (r"^Option '([^']*)' does not take a value$", r"\1 takes no value"),
    (r"^No such option: (\S+).*$", r"there is no option \1"),
    (r"^Got unexpected extra argument(?:s|\(s\))? \((.*)\)$", r"the command does not take: \1"),
)


def _parameter(problem: Any) -> Any:
    return getattr(problem, "param", None)


def _meant(problem: Any) -> str:
    """The nearest options for an unknown option, the nearest values for a wrong choice."""
    option = getattr(problem, "option_name", None)
    if option is not None:
        names = [
            name
            for parameter in (problem.ctx.command.params if problem.ctx else ())
            for name in (*parameter.opts, *parameter.secondary_opts)
            if name.startswith("--")
        ]
        near = suggestion(option, names)
        return near if near.startswith("did you mean") else ""
    wrong = re.search(r"'([^']*)' is not one of", problem.message)
    if wrong:
        choices = re.findall(r"'([^']*)'", problem.message[wrong.end() :])
        near = suggestion(wrong[1], choices)
        return near if near.startswith("did you mean") else ""
    return ""


def _see_help(problem: Any) -> str:
    context = getattr(problem, "ctx", None)
    path = context.command_path if context else "rnnctl"
    return f"`{path} --help` shows what it takes"
