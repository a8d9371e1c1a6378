"""When memory arises: each snapshot of a training measured as `diagnose` measures a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rnnctl.diagnostics.diagnose import diagnose
from rnnctl.diagnostics.material import Text
from rnnctl.errors import RunError, word
from rnnctl.results.base import Estimate
from rnnctl.results.diagnostics import (
    DiagnosticsResult,
    SnapshotCourse,
    SnapshotPoint,
    SnapshotsResult,
)
from rnnctl.runs import Run, Snapshot
from rnnctl.tasks.loading import Loaded, environment, load

# What is measured where nobody names it: by task.
LANGUAGE = ("use", "first_last", "hold", "reach")
CLASSIFIER = ("effect", "hold", "reach")
NONE_KEPT = "holds no snapshots"

Tell = Callable[[str], None]
GetText = Callable[[Loaded], Text | None]


def check_snapshots(path: Path) -> list[Snapshot]:
    """The snapshots of a run. RunError where it has none."""
    found = Run.open(path).snapshots()
    if not found:
        raise RunError(
            f"{path} {NONE_KEPT}",
            hint=f"train with --snapshots log, for example: `rnnctl train --config {word(path)} "
            "--snapshots log --run NEW`",
        )
    return found


def course(
    path: Path,
    names: Sequence[str],
    *,
    preset: str = "quick",
    seed: int = 0,
    text: GetText = lambda loaded: None,
    known: Mapping[str, SnapshotPoint] | None = None,
    tell: Tell = lambda said: None,
) -> Iterator[tuple[SnapshotPoint, Loaded, DiagnosticsResult | None]]:
    """Each snapshot measured, from the initial weights on, as it is done.

    `known`: what was measured before, by the digest of the weights; it is not measured again, and
    comes without a diagnosis. `text`: what to measure on; None: the held-out text of the run.
    Raises RunError for a run without snapshots, and what `diagnose` does.
    """
    found = check_snapshots(path)
    for number, snapshot in enumerate(found, 1):
        loaded = load(path, snapshot=snapshot)
        before = (known or {}).get(snapshot.digest)
        if before is not None:
            yield before, loaded, None
            continue
        where = f"snapshot {number} of {len(found)} of {path}, after {snapshot.tokens:,} tokens"
        tell(f"{where}: {', '.join(names) or 'all'} …")
        wanted = names or (CLASSIFIER if loaded.labels else LANGUAGE)
        result = diagnose(
            loaded, wanted, preset=preset, seed=seed, text=text(loaded), reference=False
        )
        yield _point(snapshot, result), loaded, result


def _point(snapshot: Snapshot, result: DiagnosticsResult) -> SnapshotPoint:
    numbers = {} if result.headline.status == "not_applicable" else {"horizon": _bare(result)}
    for name, (section, scalar) in _SCALARS.items():
        record = result.records().get(section)
        if record is not None and record.status == "ok" and scalar in record.scalars:
            numbers[name] = record.scalars[scalar]
    reach = result.reach
    if reach is not None and reach.status == "ok" and reach.main_block in reach.blocks:
        numbers["reach"] = reach.blocks[reach.main_block].reach_1pct
    return SnapshotPoint(
        tokens=snapshot.tokens, step=snapshot.step, digest=snapshot.digest, numbers=numbers
    )


_SCALARS = {
    "loss": ("use", "loss"),
    "first_last": ("first_last", "rise_percent"),
    "hold_bits": ("hold", "bits_0"),
    "hold": ("hold", "hold_half"),
    "retention": ("effect", "retention_start"),
}


def _bare(result: DiagnosticsResult) -> Estimate:
    """The memory horizon without the sentences around it."""
    fields = {name: getattr(result.headline, name) for name in Estimate.model_fields}
    return Estimate.model_validate(fields)


def gather(
    courses: Sequence[SnapshotCourse], loaded: Loaded, *, preset: str, seed: int
) -> SnapshotsResult:
    """The courses of one run or of several as one result; `loaded` is any of their models."""
    return SnapshotsResult(
        environment=environment(loaded, "float32 forward, float64 derivatives"),
        seed=seed,
        preset=preset,
        courses=tuple(courses),
    )
