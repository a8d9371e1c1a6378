"""Progress on standard error, the same for every command whose work takes a while.

What is worth showing is a `View`: it takes the events of the work. A terminal that can be written
over shows its lines at the bottom, rewritten four times a second; elsewhere, as in a log, a line
comes every few seconds; with --quiet there are warnings only.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from rnnctl.cli import console

if TYPE_CHECKING:
    from rich.live import Live

REFRESH_S = 0.25
LINE_S = 5.0
BAR = 24  # characters


class Said(NamedTuple):
    """Something that a person reads once, where it stays.

    A warning is never left out; news stays above the lines of a live display; a line, which such a
    display shows anyhow, is for logs.
    """

    text: str
    kind: Literal["warning", "news", "line"] = "line"


class View(Protocol):
    """What is known of the work so far."""

    @property
    def frequent(self) -> type:
        """The kind of event that only changes its lines and its status."""

    def take(self, event: Any) -> Iterable[Said]:
        """Take in an event; what is to be said of it."""

    def status(self) -> str:
        """How far the work is, in one line of a log; "" where other lines say enough."""

    def lines(self, width: int) -> list[str]:
        """The same for a live display: lines, which are cut to so many columns."""


def is_live() -> bool:
    """Whether somebody looks at a terminal that can be written over."""
    # Dumb terminals (an editor's shell) cannot move the cursor: each refresh would be a new line.
    if console.is_quiet() or sys.stderr is None or os.environ.get("TERM") == "dumb":
        return False
    return sys.stderr.isatty()


class Display(AbstractContextManager["Display"]):
    """Shows a view as its events come; leaves the terminal as it was."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._last = -math.inf
        self._live: Live | None = None
        if is_live():
            from rich.live import Live

            stderr = console.stderr_console()
            # No thread of rich's: what is shown changes with events only, and these call `show`.
            self._live = Live(console=stderr, auto_refresh=False, transient=True)

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, event: Any) -> None:
        """Take in an event and show what there is to show."""
        for text, kind in self._view.take(event):
            if kind == "warning":
                console.warn(text)
            elif self._live is None:
                console.note(text)
            elif kind == "news":
                self._live.console.print(text, markup=False)
        is_frequent = isinstance(event, self._view.frequent)
        waited = time.monotonic() - self._last
        if self._live is not None and (not is_frequent or waited >= REFRESH_S):
            self._refresh(self._live)
        # A log is read afterwards: a line for every step would bury all others.
        elif self._live is None and is_frequent and waited >= LINE_S:
            self._last = time.monotonic()
            if status := self._view.status():
                console.note(status)

    def _refresh(self, live: Live) -> None:
        from rich.text import Text

        self._last = time.monotonic()
        width = live.console.width - len("^C")  # which a terminal echoes behind the last line
        lines = [Text(console.printable(line)) for line in self._view.lines(width)]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        live.update(Text("\n").join(lines), refresh=True)


def follow(events: Iterable[Any], view: View) -> Any:
    """Show events as they come; return the last one, which holds the result."""
    last = None
    with Display(view) as display:
        for last in events:
            display.show(last)
    assert last is not None, "work ends with a result or an error"
    return last


def bar(share: float) -> str:
    """A share from 0 to 1 as a line that fills up, told apart without colour."""
    full = round(BAR * share)
    return "━" * full + "─" * (BAR - full)
