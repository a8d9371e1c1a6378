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


@dataclass(frozen=True, slots=True)
class Idle:
    """`options` (as parameters) do nothing when `when` holds for the command's parameters.

    `why` completes a sentence that begins with the option; `hint` says what to do instead.
    """

    options: tuple[str, ...]
    when: Callable[[Mapping[str, Any]], bool]
    why: str
    hint: str = "leave it out"


def idle(*rules: Idle) -> Callable[[_Command], _Command]:
    """Attach rules to a command."""

    def decorate(command: _Command) -> _Command:
        command.idle_rules = rules  # type: ignore[attr-defined]
        return command

    return decorate


def rules_of(command: Any) -> tuple[Idle, ...]:
    """The rules that were attached to a command."""
    return getattr(command, "idle_rules", ())


def refuse_idle(
    rules: tuple[Idle, ...], values: Mapping[str, Any], given: Mapping[str, str]
) -> None:
    """UsageError for the first option that was `given` (parameter -> option) and does nothing."""
    for rule in rules:
        for name in rule.options:
            if name in given and rule.when(values):
                raise UsageError(f"{given[name]} {rule.why}", hint=rule.hint)
