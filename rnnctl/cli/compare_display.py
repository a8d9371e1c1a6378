"""Progress of a comparison on standard error: one line per member, and the time left in all."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from rnnctl.cli import console
from rnnctl.reports.numbers import seconds

MEASURE: Final = "measure"

if TYPE_CHECKING:
    from rnnctl.compare.experiment import Event
    from rnnctl.compare.grid import Failed, Finished, Job


ASSUMED_S = 5.0
"""Seconds that a measurement with nothing beside it takes, before one has been timed."""


class Clock:
    """How much of the whole experiment is done, and how long the rest will take at this pace.

    The whole is known from the start, so that the count only rises and is full at the end alone.
    """

    def __init__(self) -> None:
        self.ahead: dict[str, int] = {}  # what is left to begin and to finish, by kind of work
        self.total = 0
        self.workers = 1
        self.spent: dict[str, list[float]] = {}
        self.running: dict[Job, tuple[float, float | None]] = {}
        self._measuring: tuple[str, float] | None = None

    def plan(self, work: Mapping[str, int], workers: int) -> None:
        """The whole work: how many jobs of each kind."""
        self.ahead, self.total, self.workers = dict(work), sum(work.values()), workers

    @property
    def done(self) -> int:
        """Jobs and measurements that are finished, or cannot be done any more."""
        return self.total - sum(self.ahead.values())

    @property
    def share(self) -> float:
        """How much of the whole is done, with what is under way; 1 only when nothing is left."""
        under_way = sum(progress or 0.0 for _, progress in self.running.values())
        return (self.done + under_way) / self.total if self.total else 0.0

    def over(self, kind: str, seconds: float | None = None) -> None:
        """One piece of work of that kind is finished, after so many seconds if it took any."""
        self.ahead[kind] = max(0, self.ahead.get(kind, 0) - 1)
        if seconds is not None:
            self.spent.setdefault(kind, []).append(seconds)

    def measuring(self, what: str, now: float) -> bool:
        """A measurement goes on to `what`; whether that is another one than before."""
        if self._measuring is not None and self._measuring[0] == what:
            return False
        if self._measuring is not None:
            self.over(MEASURE, now - self._measuring[1])
        self._measuring = (what, now)
        return True

    def left_s(self, now: float) -> float | None:
        """Seconds until all is done; None before there is anything to go by."""
        known = {kind: list(taken) for kind, taken in self.spent.items()}
        for job, (since, share) in self.running.items():
            if share and share > 0.1:
                known.setdefault(job.work, []).append((now - since) / share)
        if not known:
            return None
        every = [value for taken in known.values() for value in taken]
        usual = sum(every) / len(every)
        mean = {kind: sum(taken) / len(taken) for kind, taken in known.items()}
        waiting = dict(self.ahead)
        begun = 0.0
        for job, (since, _) in self.running.items():
            waiting[job.work] = waiting.get(job.work, 0) - 1
            begun += max(0.0, mean.get(job.work, usual) - (now - since))
        alone = max(0, waiting.pop(MEASURE, 0)) * mean.get(MEASURE, ASSUMED_S)
        rest = sum(max(0, count) * mean.get(kind, usual) for kind, count in waiting.items())
        return (rest + begun) / max(1, self.workers) + alone

    def text(self, now: float) -> str:
        """``7 of 30, about 2 min left``."""
        left = self.left_s(now)
        rest = f", about {seconds(max(1.0, round(left)))} left" if left is not None else ""
        return f"{self.done} of {self.total}{rest}"


def make_display(*, quiet: bool) -> Silent:
    """The display for this terminal: silent, live, or plain lines."""
    if quiet:
        return Silent()
    if sys.stderr is not None and sys.stderr.isatty():
        return Live()
    return Plain()


class Silent(AbstractContextManager["Silent"]):
    """Nothing but failures."""

    def __init__(self) -> None:
        self.clock = Clock()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The display is over, whatever the reason."""

    def show(self, event: Event) -> None:
        """Take in an event and show what there is to show."""
        from rnnctl.compare import experiment, grid

        clock = self.clock
        match event:
            case experiment.Planning(work, workers):
                clock.plan(work, workers)
                self.planned()
            case experiment.Measuring(what):
                kind = what.partition(",")[0]
                if clock.measuring(kind, time.monotonic()):
                    self.measuring(kind)
                self.goes_on(what)
            case grid.Started(job):
                clock.running[job] = (time.monotonic(), None)
                self.started(job)
            case grid.Running(job, progress):
                since, _ = clock.running.get(job, (time.monotonic(), None))
                clock.running[job] = (since, progress)
                self.running(job, progress)
            case grid.Finished():
                self._over(event.job, None if event.skipped else event.seconds)
                self.finished(event)
            case grid.Failed(job):
                self._over(job, None)
                if job.kind == "train" and job.member.is_diagnosed:
                    clock.over("diagnose")  # which there will be none of
                self.failed(event)
            case _:
                pass

    def _over(self, job: Job, spent: float | None) -> None:
        self.clock.running.pop(job, None)
        self.clock.over(job.work, spent)

    def planned(self) -> None:
        """The whole work is known."""

    def measuring(self, what: str) -> None:
        """A measurement begins that nothing else runs beside."""

    def goes_on(self, what: str) -> None:
        """A measurement goes on with this part."""

    def started(self, job: Job) -> None:
        """A job begins."""

    def running(self, job: Job, progress: float | None) -> None:
        """A job goes on."""

    def finished(self, event: Finished) -> None:
        """A job is done."""

    def failed(self, event: Failed) -> None:
        """A job ended without a result."""
        console.warn(f"{event.job.title} failed: {event.reason}")


class Plain(Silent):
    """A line for each job that ends, and one for each kind of measurement."""

    def measuring(self, what: str) -> None:
        console.note(f"{self.clock.text(time.monotonic())}: measuring {what} …")

    def finished(self, event: Finished) -> None:
        took = "was there" if event.skipped else seconds(event.seconds)
        console.note(f"{self.clock.text(time.monotonic())}: {event.job.title}, {took}")


class Live(Silent):
    """A bar for the whole and a line for each member that runs."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        super().__init__()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", markup=False),
            console=console.stderr_console(),
            transient=True,
        )
        self._whole: Any = self._progress.add_task("all", total=None, note="")
        self._lines: dict[Job, Any] = {}
        self._progress.start()

    def close(self) -> None:
        self._progress.stop()

    def planned(self) -> None:
        self._progress.update(self._whole, total=1.0)
        self._refresh()

    def goes_on(self, what: str) -> None:
        self._progress.update(
            self._whole, completed=self.clock.share, note=f"measuring {what}, {self._left()}"
        )

    def _left(self) -> str:
        return self.clock.text(time.monotonic())

    def started(self, job: Job) -> None:
        self._lines[job] = self._progress.add_task(job.title, total=1.0, note="")

    def running(self, job: Job, progress: float | None) -> None:
        if progress is not None and job.kind == "train":
            self._progress.update(self._lines[job], completed=progress, note=f"{progress:.0%}")
        self._refresh()

    def finished(self, event: Finished) -> None:
        self._remove(event.job)

    def failed(self, event: Failed) -> None:
        super().failed(event)
        self._remove(event.job)

    def _remove(self, job: Job) -> None:
        line = self._lines.pop(job, None)
        if line is not None:
            self._progress.remove_task(line)
        self._refresh()

    def _refresh(self) -> None:
        self._progress.update(self._whole, completed=self.clock.share, note=self._left())
