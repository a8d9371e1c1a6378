"""When memory arises: each snapshot of a training measured as `diagnose` measures a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnnctl import __version__
from rnnctl.diagnostics.diagnose import diagnose
from rnnctl.diagnostics.material import read_text
from rnnctl.errors import RunError, word
from rnnctl.results.base import Estimate
from rnnctl.results.diagnostics import (
    DiagnosticsResult,
    SnapshotCourse,
    SnapshotPoint,
    SnapshotsResult,
)
from rnnctl.runs import Run
from rnnctl.tasks.loading import Loaded, environment, load

# What is measured where nobody names it: by task.
LANGUAGE = ("use", "first_last", "hold", "reach")
CLASSIFIER = ("effect", "hold", "reach")


@dataclass(frozen=True, slots=True)
class Wish:
    """How snapshots are measured: `names` of measurements, () for those that suit the task.

    `text`: what to measure on, and `columns` how to read it; None: the held-out text of the run.
    """

    names: tuple[str, ...] = ()
    text: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    preset: str = "quick"
    seed: int = 0


def diagnose_snapshots(
    paths: Sequence[Path],
    wish: Wish,
    *,
    labels: Mapping[Path, str] | None = None,
    tell: Callable[[str], None] = lambda said: None,
    keep: Callable[[Run, SnapshotsResult], None] = lambda run, found: None,
) -> SnapshotsResult:
    """The snapshots of one run or of several, from the initial weights on.

    What a run keeps of a measurement made in the same way is not measured again. `labels`: names of
    runs, by resolved path. `keep` gets what a run shall keep, again after each snapshot, so that
    a measurement that is stopped goes on where it was. Raises RunError for a run without
    snapshots, before anything is measured, and what `diagnose` does.
    """
    for path in paths:
        if not Run.open(path).snapshots():
            raise RunError(
                f"{path} holds no snapshots",
                hint=f"train with --snapshots log, for example: `rnnctl train --config "
                f"{word(path)} --snapshots log --run NEW`",
            )
    names = [path.resolve().name for path in paths]
    courses = []
    for path, name in zip(paths, names, strict=True):
        course, model = _course(path, wish, tell, keep)
        short = name if names.count(name) == 1 else str(path)
        label = (labels or {}).get(path.resolve(), short)
        courses.append(course.model_copy(update={"label": label}))
    return _result(courses, model, wish)


def _course(
    path: Path,
    wish: Wish,
    tell: Callable[[str], None],
    keep: Callable[[Run, SnapshotsResult], None],
) -> tuple[SnapshotCourse, Loaded]:
    """One run's snapshots, and the last model of them."""
    run = Run.open(path)
    before = None if wish.text else _kept(run, wish)
    known = {point.digest: point for point in before.points} if before else {}
    course = SnapshotCourse(
        run=str(path),
        label=path.resolve().name,
        cell=run.config.model.cell,
        init=run.config.model.init,
        distance_unit=before.distance_unit if before else "words",
        text=before.text if before else "",
        measured=wish.names,
        points=(),
    )
    found = run.snapshots()
    for number, snapshot in enumerate(found, 1):
        loaded = load(path, snapshot=snapshot)
        if (point := known.get(snapshot.digest)) is not None:
            course = course.model_copy(update={"points": (*course.points, point)})
            continue
        where = f"snapshot {number} of {len(found)} of {path}, after {snapshot.tokens:,} tokens"
        tell(f"{where}: {', '.join(wish.names) or 'all'} …")
        result = diagnose(
            loaded,
            wish.names or (CLASSIFIER if loaded.labels else LANGUAGE),
            preset=wish.preset,
            seed=wish.seed,
            text=read_text(loaded, wish.text, None, wish.columns) if wish.text else None,
            reference=False,  # it is the same for every snapshot
        )
        point = SnapshotPoint(
            tokens=snapshot.tokens, step=snapshot.step, digest=snapshot.digest,
            numbers=_numbers(result),
        )  # fmt: skip
        more: dict[str, Any] = {"points": (*course.points, point)}
        more |= {"distance_unit": result.data.distance_unit, "text": result.data.sha256}
        course = course.model_copy(update=more)
        if wish.text is None:
            keep(run, _result([course], loaded, wish))
    return course, loaded


def _kept(run: Run, wish: Wish) -> SnapshotCourse | None:
    """What the run keeps of its snapshots, if it was measured in the same way."""
    found = run.present_result("snapshots")
    if found is None:
        return None
    result = SnapshotsResult.model_validate(found)
    (course,) = result.courses
    how = (result.preset, result.seed, result.environment.rnnctl, course.measured)
    return course if how == (wish.preset, wish.seed, __version__, wish.names) else None


# number of a snapshot -> the measurement and its scalar
_SCALARS = {
    "loss": ("use", "loss"),
    "first_last": ("first_last", "rise_percent"),
    "hold_bits": ("hold", "bits_0"),
    "hold": ("hold", "hold_half"),
    "retention": ("effect", "retention_start"),
}


def _numbers(result: DiagnosticsResult) -> dict[str, Estimate]:
    """What is followed over a training, as far as it was measured."""
    head = result.headline
    numbers = {} if head.status == "not_applicable" else {"horizon": head.alone()}
    for name, (section, scalar) in _SCALARS.items():
        record = result.records().get(section)
        if record is not None and record.status == "ok" and scalar in record.scalars:
            numbers[name] = record.scalars[scalar]
    reach = result.reach
    if reach is not None and reach.status == "ok" and reach.main_block in reach.blocks:
        numbers["reach"] = reach.blocks[reach.main_block].reach_1pct
    return numbers


def _result(courses: Sequence[SnapshotCourse], loaded: Loaded, wish: Wish) -> SnapshotsResult:
    """The courses as one result; `loaded` is any of their models."""
    return SnapshotsResult(
        environment=environment(loaded, "float32 forward, float64 derivatives"),
        seed=wish.seed,
        preset=wish.preset,
        courses=tuple(courses),
    )
