"""Signals that end a training: remembered, and acted upon between two steps.

SIGINT (Ctrl-C) and SIGTERM; SIGHUP, which a terminal sends when it is closed; and SIGUSR1, by which
batch systems announce the end of a job's time. SIGHUP is left alone where it is ignored, as under
`nohup`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING: list[signal.Signals] = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    if hasattr(signal, name)  # Windows has only the first two
]


class StopRequest:
    """Whether somebody asked the training to stop, and how."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells report it."""
        return 128 + (self.signal or signal.SIGINT)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """The signal handler. A second Ctrl-C means now."""
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Catch the signals in `STOPPING`; outside the main thread all stay as they are."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    caught = [n for n in STOPPING if not _is_left_alone(n)]
    before = {number: signal.signal(number, request.receive) for number in caught}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_left_alone(number: signal.Signals) -> bool:
    return number.name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN
