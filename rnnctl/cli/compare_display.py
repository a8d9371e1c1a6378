"""What a comparison shows of itself while it runs: each member, and the time left in all."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from rnnctl.cli.progress import Said, bar
from rnnctl.compare import experiment, grid
from rnnctl.reports.numbers import seconds

if TYPE_CHECKING:
    from rnnctl.compare.experiment import Event
    from rnnctl.compare.grid import Job

MEASURE: Final = "measure"
ASSUMED_S = 5.0
"""Seconds that a measurement with nothing beside it takes, before one has been timed."""


class Clock:
    """How much of a comparison is done, and how long the rest will take at this pace: a `View`.

    The whole is known from the start, so that the count only rises and is full at the end alone.
    """

    frequent = grid.Running

    def __init__(self) -> None:
        self.ahead: dict[str, int] = {}  # what is left to begin and to finish, by kind of work
        self.total = 0
        self.workers = 1
        self.spent: dict[str, list[float]] = {}
        self.running: dict[Job, tuple[float, float | None]] = {}
        self._measuring: tuple[str, float] | None = None
        self._part = ""  # of that measurement

    def take(self, event: Event) -> Iterator[Said]:
        """Take in an event; what is to be said of it."""
        now = time.monotonic()
        match event:
            case experiment.Planning(work, workers):
                self.plan(work, workers)
            case experiment.Measuring(what):
                kind, self._part = what.partition(",")[0], what
                if self.measuring(kind, now):
                    yield Said(f"{self.text(now)}: measuring {kind} …")
            case grid.Started(job):
                self.running[job] = (now, None)
            case grid.Running(job, progress):
                since, _ = self.running.get(job, (now, None))
                # The log of a run says how far its training is, which a diagnosis begins after.
                self.running[job] = (since, progress if job.kind == "train" else None)
            case grid.Finished(job, spent, skipped):
                self._ended(job, None if skipped else spent)
                took = "already done" if skipped else seconds(spent)
                yield Said(f"{self.text(now)}: {job.title}, {took}")
            case grid.Failed(job, reason):
                self._ended(job, None)
                if job.kind == "train" and job.member.is_diagnosed:
                    self.over("diagnose")  # which there will be none of
                yield Said(f"{job.title} failed: {reason}", "warning")

    def _ended(self, job: Job, spent: float | None) -> None:
        self.running.pop(job, None)
        self.over(job.work, spent)

    def status(self) -> str:
        """Nothing: every job and every measurement has a line of its own."""
        return ""

    def lines(self, width: int) -> list[str]:
        """A bar for the whole, and one for each member that runs."""
        part = f": measuring {self._part}" if self._part else ""
        left = self.text(time.monotonic())
        shares = {job.title: share for job, (_, share) in self.running.items()}
        return [f"{bar(self.share)}  {left}{part}"] + [
            f"{bar(share or 0.0)}  {'' if share is None else f'{100 * share:.0f} %':>5}  {title}"
            for title, share in shares.items()
        ]

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
            # Before a tenth is done, start-up and compiling make up most of the time.
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
        # Measurements run one at a time, whatever the number of workers.
        alone = max(0, waiting.pop(MEASURE, 0)) * mean.get(MEASURE, ASSUMED_S)
        rest = sum(max(0, count) * mean.get(kind, usual) for kind, count in waiting.items())
        return (rest + begun) / max(1, self.workers) + alone

    def text(self, now: float) -> str:
        """``7 of 30, about 2 min left``."""
        left = self.left_s(now)
        rest = f", about {seconds(max(1.0, round(left)))} left" if left is not None else ""
        return f"{self.done} of {self.total}{rest}"
