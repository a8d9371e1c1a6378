"""`results/`: what was measured of a run, each result a sealed file of its own.

They are written without a lock, so that a run can be measured while it is trained. Each is renamed
into place whole, and the last one of a name counts. What was measured on certain weights says on
which: it is kept only in a run that has these weights still, and goes when a training has ended
with better ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rnnctl import integrity, results, storage
from rnnctl.errors import CorruptRunError, RunError
from rnnctl.results.base import Result
from rnnctl.runs.checkpoints import Current, first_problem, read_current, weights_of

RESULTS = "results"


def write(run: Path, name: str, result: Result) -> Path:
    """Write `results/<name>.json` of the run at `run`."""
    path = _place(run, name)
    storage.write_atomic(path, _sealed(name, result))
    return path


def keep(run: Path, name: str, result: Result, measured: Current) -> bool:
    """`write` if the run still has the weights that it had when it was `measured`.

    It may have better ones by now, or another run may stand in its place.
    """
    path, weights = _place(run, name), weights_of(measured)
    # Written first, then asked: in a run that takes this one's place after the question, there is
    # nothing to be renamed.
    with storage.unfinished(path) as new:
        new.write(_sealed(name, result, weights=weights))
        if weights_of(read_current(run)) != weights:
            return False
        new.become(path)
    return True


def drop_outdated(run: Path, current: Current) -> None:
    """Remove what was measured on other weights than the `current` ones."""
    for name in names(run):
        path = _place(run, name)
        try:
            weights = integrity.unseal(path, limit=integrity.MAX_RESULT).get("weights")
        except RunError:
            continue  # `runs --verify` tells of it; it shall not end a training
        if weights not in (None, weights_of(current)):
            storage.remove(path)


def read(run: Path, name: str) -> dict[str, Any]:
    """A result as JSON. RunError if there is none, CorruptRunError if it is damaged."""
    path = run / RESULTS / f"{integrity.safe_name(name, run)}.json"
    if not path.is_file():
        has = ", ".join(names(run)) or "none"
        raise RunError(f"{run} has no result {name!r}", hint=f"results it has: {has}")
    content = integrity.unseal(integrity.inside(path, run), limit=integrity.MAX_RESULT)
    result = content.get("result")
    if content.get("name") != name or not isinstance(result, dict):
        raise CorruptRunError(f"{path} holds another result: {content.get('name')!r}")
    try:
        results.check(name, result)
    except ValidationError as error:
        raise CorruptRunError(f"{path} is no such result: {first_problem(error)}") from None
    return result


def read_present(run: Path, name: str, current: Current) -> dict[str, Any] | None:
    """`read`, or None where there is no such result of the `current` weights."""
    path = run / RESULTS / f"{integrity.safe_name(name, run)}.json"
    if not path.is_file():
        return None
    weights = integrity.unseal(integrity.inside(path, run), limit=integrity.MAX_RESULT).get(
        "weights"
    )
    return read(run, name) if weights in (None, weights_of(current)) else None


def names(run: Path) -> list[str]:
    """Names of the results that are there."""
    return sorted(path.stem for path in (run / RESULTS).glob("[!.]*.json"))


def _place(run: Path, name: str) -> Path:
    """Where a result stands or will stand, in a folder that is there."""
    folder = run / RESULTS
    with storage.storing(folder):
        folder.mkdir(exist_ok=True)
    storage.remove_leftovers(folder)
    return folder / f"{integrity.safe_name(name, folder)}.json"


def _sealed(name: str, result: Result, **more: str) -> bytes:
    return integrity.seal({"name": name, **more, "result": result.model_dump(mode="json")})
