"""The errors that a user can cause.

Each says what went wrong, where (``path:line``, ``--option``) and what to do next. `cli` turns
them into one message on stderr and an exit code; nothing else in the package exits or prints.
"""

from __future__ import annotations

import shlex


def word(path: object) -> str:
    """A path as one word of a command line that a hint shows."""
    return shlex.quote(str(path))


class RnnctlError(Exception):
    """Something a user can mend. `message` says what and where, `hint` what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RnnctlError):
    """The call itself was wrong: an unknown option, a value out of range, options that clash."""

    exit_code = 2


class DataError(RnnctlError):
    """A corpus or an input text cannot be read, is empty, or does not fit the task."""


class RunError(RnnctlError):
    """A directory is not a run, is not finished, or comes from a newer rnnctl."""


class CorruptRunError(RunError):
    """A file of a run is truncated, altered, missing, or not what its checksum says."""


class RunLockedError(RunError):
    """Another process is writing to this run."""


class DivergenceError(RnnctlError):
    """The loss is not finite, and going back to the last good weights did not help."""


class NotFiniteError(RnnctlError):
    """A model's numbers overflow on a text: nothing can be said of it."""

    def __init__(self, where: str, hint: str | None = None) -> None:
        super().__init__(
            f"{where}: the model's numbers overflow, and are not finite",
            hint=hint
            or "leave this text out, or train again with a lower --lr, a smaller --clip or "
            "--nonlinearity tanh",
        )


class ScorerError(RnnctlError):
    """A program that is measured from outside does not keep to the protocol, or has ended."""


class StorageError(RnnctlError):
    """Nothing can be written: the disk is full, the directory is read-only or gone."""


class MissingExtraError(RnnctlError):
    """An optional package that this needs is not installed."""


class Interrupted(RnnctlError):  # noqa: N818 - it is an outcome, not a defect
    """SIGINT or SIGTERM arrived and the work was put in a safe state."""

    exit_code = 130

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 130) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
