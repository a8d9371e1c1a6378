"""The result of a training, from what was trained and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rnnctl import machine
from rnnctl.data import bench_tasks
from rnnctl.errors import word
from rnnctl.nn.engines import fused_available, threading_layer
from rnnctl.results.base import Environment, Warning_
from rnnctl.results.training import CurvePoint, TrainResult
from rnnctl.statistics import still_improving
from rnnctl.tasks.base import find_task
from rnnctl.tasks.evaluation import MeasuredSplit
from rnnctl.tasks.loading import parameter_count
from rnnctl.training.prepare import Prepared
from rnnctl.training.pretraining import record_of
from rnnctl.training.schedule import Counters


def train_result(
    path: Path,
    prepared: Prepared,
    counters: Counters,
    measured: Sequence[MeasuredSplit],
    warnings: tuple[Warning_, ...],
) -> TrainResult:
    """Everything that is known of the training of the run at `path` when it is over."""
    config, model = prepared.config, prepared.model
    units = counters.documents if prepared.task.counts_documents else counters.tokens
    use = find_task(config.model.task).command
    curve = _curve(counters)
    validated = any(one.result.split == "valid" for one in measured)
    return TrainResult(
        environment=environment(prepared),
        seed=config.training.seed,
        corpus_fingerprint=prepared.corpus.fingerprint,
        warnings=warnings,
        timing={
            "training_s": round(counters.elapsed_s, 3),
            "last_validation_s": round(counters.evaluation_s, 3),
            "tokens_per_s": round(counters.tokens / max(counters.elapsed_s, 1e-9), 1),
        },
        run=str(path),
        task=config.model.task,
        level=config.tokenizer.level,
        cell=config.model.cell,
        parameters=parameter_count(model),
        recurrent_parameters=parameter_count(model.recurrent),
        vocab_size=prepared.tokenizer.vocab_size,
        corpus=prepared.corpus.description,
        train_tokens=len(prepared.store.split("train").ids),
        cut_share=prepared.store.cut_share,
        started_from=config.training.start_from or "",
        taken=prepared.taken,
        anew=tuple(n for n in model.state_dict() if prepared.taken and n not in prepared.taken),
        vectors=prepared.vectors,
        pretrained=record_of(config),
        steps=counters.step,
        epochs=units / prepared.task.units_per_epoch,
        tokens=counters.tokens,
        best_step=counters.best_step,
        stop_reason=counters.stop_reason,
        trivial_nats=prepared.task.trivial_nats,
        chance=_chance(config.corpus.sources),
        clipped_share=counters.clipped / max(1, counters.step),
        lr_scale=counters.lr_scale,
        splits=tuple(m.result for m in measured),
        documents=tuple(m.sums for m in measured if m.sums is not None),
        curve=curve,
        # Without validation text the curve is of the training text, and nobody knows.
        still_improving=still_improving(
            [(one.step, one.value, one.accuracy) for one in curve if validated],
            counters.stop_reason,
        ),
        next_command=f"rnnctl {use} {word(path)}",
    )


def _curve(counters: Counters) -> tuple[CurvePoint, ...]:
    """Every validation; the first have no accuracy where an older rnnctl made them."""
    unknown = len(counters.history) - len(counters.accuracies)
    accuracies = (*(None,) * unknown, *counters.accuracies)
    per_step = counters.tokens / max(1, counters.step)
    return tuple(
        CurvePoint(step=step, tokens=round(step * per_step), value=value, accuracy=accuracy)
        for (step, value), accuracy in zip(counters.history, accuracies, strict=True)
    )


def environment(prepared: Prepared) -> Environment:
    """What the numbers depend on: versions, threads, device, precision, engine."""
    engine = prepared.model.recurrent.engine
    numba_version, layer = _numba(engine)
    return Environment(
        numba=numba_version,
        threading_layer=layer,
        threads=prepared.threads,
        device=str(prepared.arithmetic.device),
        dtype=prepared.arithmetic.dtype,
        engine=engine,
        **machine.facts(),
    )


def _numba(engine: str) -> tuple[str | None, str | None]:
    """Version and threading layer of numba where the engine, or a large vocabulary, may use it.

    By what is installed, not by what happens to be imported: a resumed training must report what an
    uninterrupted one does.
    """
    if engine in ("torch", "closed") or not fused_available():
        return None, None
    return version("numba"), threading_layer()


def _chance(sources: tuple[str, ...]) -> dict[str, float]:
    """What guessing reaches on a memory task; nothing is known of any other corpus."""
    bench = len(sources) == 1 and sources[0].startswith("task:")
    return bench_tasks.chance(sources[0]) if bench else {}
