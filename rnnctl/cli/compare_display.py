"""Progress of a comparison on standard error: one line per member, and the time left in all."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from rnnctl.cli import console
from rnnctl.reports.numbers import seconds

if TYPE_CHECKING:
    from rnnctl.compare.experiment import Event
    from rnnctl.compare.grid import Failed, Finished, Job


class Clock:
    """How much of the present jobs is done, and how long the rest will take at this pace."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0
        self.workers = 1
        self.spent: list[float] = []
        self.running: dict[Job, tuple[float, float | None]] = {}

    def plan(self, jobs: int, workers: int) -> None:
        """A new list of jobs begins."""
        self.total, self.done, self.workers = jobs, 0, workers
        self.spent.clear()
        self.running.clear()

    def left_s(self, now: float) -> float | None:
        """Seconds until all jobs are done; None before there is anything to go by."""
        known = list(self.spent)
        known += [
            (now - since) / share for since, share in self.running.values() if share and share > 0.1
        ]
        if not known:
            return None
        each = sum(known) / len(known)
        waiting = self.total - self.done - len(self.running)
        begun = sum(max(0.0, each - (now - since)) for since, _ in self.running.values())
        return (waiting * each + begun) / max(1, self.workers)

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
            case experiment.Planning(jobs, workers):
                clock.plan(len(jobs), workers)
                self.planned(len(jobs))
            case experiment.Measuring(what):
                self.measuring(what)
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
            case grid.Failed():
                self._over(event.job, None)
                self.failed(event)
            case _:
                pass

    def _over(self, job: Job, spent: float | None) -> None:
        self.clock.running.pop(job, None)
        self.clock.done += 1
        if spent is not None:
            self.clock.spent.append(spent)

    def planned(self, jobs: int) -> None:
        """So many jobs are about to begin."""

    def measuring(self, what: str) -> None:
        """A measurement begins that nothing else runs beside."""

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

    def __init__(self) -> None:
        super().__init__()
        self._measured = ""

    def measuring(self, what: str) -> None:
        kind = what.partition(":")[0].partition(",")[0]
        if kind != self._measured:
            self._measured = kind
            console.note(f"measuring {kind} …")

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

    def planned(self, jobs: int) -> None:
        self._progress.update(self._whole, total=jobs, completed=0)
        self._refresh()

    def measuring(self, what: str) -> None:
        self._progress.update(self._whole, total=None, note=what)

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
        text = self.clock.text(time.monotonic())
        self._progress.update(self._whole, completed=self.clock.done, note=text)
