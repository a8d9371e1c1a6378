"""Options that can have no effect beside the others that were given: they are refused.

A person who gives an option expects something of it. A command says which of its options depend on
others with `@idle(Idle(…), …)`, and `rnnctl.cli.app` checks it before the command runs. For the
settings of a training this is declared in `rnnctl.config` and in `rnnctl.tasks.effects`. What
depends on the run or on the text is found by the command itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from rnnctl.errors import UsageError

_Command = TypeVar("_Command", bound=Callable[..., Any])
Values = Mapping[str, Any]  # of a command's parameters, by name
When = Callable[[Values], bool]


@dataclass(frozen=True, slots=True)
class Idle:
    """`options`, parameters with spaces between, do nothing when `when` holds for all parameters.

    `why` completes "--option has no effect …"; `instead` completes "leave it out, or …".
    """

    options: str
    when: When
    why: str
    instead: str = ""


def given(*names: str) -> When:
    """Holds where one of these parameters has a value that is not off, empty or 0."""
    return lambda values: any(values[name] for name in names)


def missing(*names: str) -> When:
    """Holds where all of these parameters are off, empty, 0 or not given."""
    return lambda values: not any(values[name] for name in names)


def idle(*rules: Idle) -> Callable[[_Command], _Command]:
    """Attach rules to a command; of several that hold, the first one speaks."""

    def decorate(command: _Command) -> _Command:
        command.idle_rules = rules  # type: ignore[attr-defined]
        return command

    return decorate


def rules_of(command: Any) -> tuple[Idle, ...]:
    """The rules that were attached to a command."""
    return getattr(command, "idle_rules", ())


def refuse_idle(rules: tuple[Idle, ...], values: Values, named: Mapping[str, str]) -> None:
    """UsageError for the first option that was given and does nothing.

    `named`: what was given by the user and is not the default, parameter -> option.
    """
    for rule in rules:
        for name in rule.options.split():
            if name in named and rule.when(values):
                hint = f"leave it out, or {rule.instead}" if rule.instead else "leave it out"
                raise UsageError(f"{named[name]} has no effect {rule.why}", hint=hint)
