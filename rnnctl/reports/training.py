"""`train`, `info` and `runs` on paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rnnctl.config import CORPUS_VECTORS, TrainingConfig
from rnnctl.errors import word
from rnnctl.reports import inference
from rnnctl.reports.as_table import first_that_fits
from rnnctl.reports.blocks import Block, Bullets, Heading, KeyValues, Paragraph, Table, table
from rnnctl.reports.cells import display_name
from rnnctl.reports.diagnostics import headline_blocks
from rnnctl.reports.numbers import NOTHING, fixed, horizon, number, percent, roughly, seconds
from rnnctl.results.base import LanguageModelLoss, Result
from rnnctl.results.diagnostics import HeadlineRecord
from rnnctl.results.training import (
    FoldsResult,
    InfoResult,
    PretrainedRecord,
    RunsResult,
    SplitResult,
    TrainingPlan,
    TrainResult,
    VectorsRecord,
)
from rnnctl.wording import as_sentence, either, first_few, plural, with_unit

SHOWN_LABELS = 8
PROTOCOLS = {
    "streaming": "streaming: the state is carried over the whole text",
    "cold": "cold: windows of {window} tokens, each from a zero state",
    "document": "document: every document from a zero state",
}


def training(result: TrainResult) -> Iterator[Block]:
    """A training: what it took, how good it is, what it remembers."""
    yield Heading(f"{display_name(result.cell)} trained: {result.run}", 1)
    yield KeyValues(tuple(_facts(result)))
    yield from _quality(result)
    if result.diagnosis is not None:
        yield from headline_blocks(HeadlineRecord.model_validate(result.diagnosis))
    if result.still_improving is not None:
        yield Paragraph(_improving(result), "note")
    for warning in result.warnings:
        yield Paragraph(warning.text, "warning")


def planned(result: TrainingPlan) -> Iterator[Block]:
    """What would be trained, and about how long it would take."""
    noun = "classifier" if result.labels else "language model"
    yield Heading(f"What would be trained: {display_name(result.cell)} {noun}", 1)
    yield KeyValues(tuple(_planned(result)))
    if result.why_this_size:
        yield Paragraph(result.why_this_size, "note")
    for text in result.notes:
        yield Paragraph(text, "note")
    for warning in result.warnings:
        yield Paragraph(warning.text, "warning")


def labels_in_words(names: tuple[str, ...]) -> str:
    """What a classifier is to tell apart: the first place to see a wrong column."""
    if not names:
        return ""
    # Where a wrong column was taken for the labels, each of them may be a whole text.
    shown = first_few([name[:24] for name in names], SHOWN_LABELS)
    return f", {plural(len(names), 'label')}: {shown}"


def limits_in_words(training: TrainingConfig | TrainingPlan) -> str:
    """When a training ends, by the first of its limits: ``at most 600 s or 4 epochs``."""
    limits = []
    if training.budget_s is not None:
        limits.append(seconds(training.budget_s))
    if training.epochs is not None:
        limits.append(with_unit(number(training.epochs), "epochs"))
    if training.steps is not None:
        limits.append(plural(training.steps, "step"))
    return f"{'at most ' if len(limits) > 1 else ''}{either(limits)}"


def _planned(result: TrainingPlan) -> Iterator[tuple[str, str]]:
    layers = f"{plural(result.num_layers, 'layer')} of {result.hidden_size}"
    yield "corpus", f"{result.corpus}{labels_in_words(result.labels)}"
    documents = result.train_documents
    of = "" if documents is None else f" in {plural(documents, 'document')}"
    cut = f", {percent(result.cut_share)} of the documents cut" if result.cut_share else ""
    yield "training text", f"{plural(result.train_tokens, 'token')}{of}{cut}"
    yield (
        "model",
        f"{layers}, {plural(result.parameters, 'parameter')} ({result.recurrent_parameters:,} "
        f"recurrent), {result.level} vocabulary of {result.vocab_size:,}",
    )
    where = result.environment
    yield (
        "engine",
        f"{where.engine} on {where.device}, {plural(where.threads or 1, 'thread')}, {where.dtype}",
    )
    yield "learning rate", f"{result.lr:g}, batches of {result.batch_size}"
    early = f", or {plural(result.patience or 0, 'validation')} without progress"
    each = " each" if result.folds > 1 else ""
    yield "training", f"{limits_in_words(result)}{each}{early if result.patience else ''}"
    steps = plural(result.expected_steps, "step")
    yield (
        "steps",
        f"about {steps}, {with_unit(number(result.expected_epochs), 'epochs')}{each}, at "
        f"{number(result.tokens_per_s, 2)} tokens/s",
    )
    yield "time", _expected_time(result)
    if result.run:
        yield "run", result.run


def _expected_time(result: TrainingPlan) -> str:
    parts = [f"about {roughly(result.expected_s)}"]
    if result.folds > 1:
        parts.append(f"for {plural(result.folds, 'fold')}")
    if result.pretrain_s is not None:
        each = " each" if result.folds > 1 else ""
        parts.append(f"with {seconds(result.pretrain_s)}{each} for the language model")
    return f"{' '.join(parts)}, and then the measurements of the best weights"


MORE = {
    "budget": "the budget ended: a longer --budget would help",
    "steps": "the last step was taken: more --steps would help",
    "epochs": "the last epoch ended: more --epochs would help",
}
"""What ended a training that was still improving, and what would help; by its reason."""


def _improving(result: TrainResult) -> str:
    """That the validation loss was still falling at the end."""
    ended = MORE.get(result.stop_reason, "the training ended: a longer one would help")
    return f"still improving when {ended}"


NOT_BETTER = "not_better"  # how the codes of warnings begin that say so of a simple model
DETAILS = {"vectors", "time", "clipped"}  # facts that the short report can do without


def brief(result: Result) -> list[Block]:
    """A training in at most 24 lines of 80 columns: the headline first and last.

    As many warnings as there is room for; `info` has all. That a simple model does as well is
    always said: details of the training make room for it.
    """
    assert isinstance(result, TrainResult)
    # The last of them says what to try.
    first = [one.text for one in result.warnings if one.code.startswith(NOT_BETTER)][::-1]
    said = first + [w.text for w in result.warnings if not w.code.startswith(NOT_BETTER)]
    room = [(len(said), True, False)]
    room += [(n, False, False) for n in range(len(said), len(first) - 1, -1)]
    if first:  # a model that counting beats is what a reader must know before anything else
        room += [(n, False, True) for n in range(len(first), 0, -1)]
    return first_that_fits(
        _brief(result, said[:shown], len(said) - shown, sentence, tight)
        for shown, sentence, tight in room
    )


def _brief(
    result: TrainResult, warnings: Sequence[str], left: int, sentence: bool, tight: bool
) -> Iterator[Block]:
    """The short report with these warnings, `left` more that are only counted, and with what the
    memory horizon means or without it. tight: without details.
    """
    head = None if result.diagnosis is None else HeadlineRecord.model_validate(result.diagnosis)
    headline = _headline(result, head)
    yield Heading(f"{display_name(result.cell)} trained: {result.run}", 1)
    yield Paragraph(headline, "strong")
    yield KeyValues(tuple(fact for fact in _facts(result) if not (tight and fact[0] in DETAILS)))
    if any(split.losses for split in result.splits):
        # One protocol of each split, the one that the model is used by; `info` has the others.
        first = [s.model_copy(update={"losses": s.losses[:1]}) for s in result.splits]
        yield _loss_table(tuple(first))
        yield Paragraph(_legend(first, result.trivial_nats), "note")
    classified = [split for split in result.splits if split.classification is not None]
    if classified:
        yield _class_table(classified)
        last = classified[-1].classification
        assert last is not None
        # The model's own accuracy stands in the table.
        yield KeyValues(tuple(inference.beside_simple_models(last))[int(tight) :])
    if result.chance:
        yield Paragraph(_chance(result.chance), "note")
    if head is not None and sentence:
        yield Paragraph(as_sentence(head.sentence), "plain")
    if result.still_improving is not None and not tight:
        yield Paragraph(_improving(result), "note")
    for text in warnings:
        yield Paragraph(text, "warning")
    more = f"{plural(left, 'more warning')} and all numbers" if left else "All numbers"
    yield Paragraph(f"{headline} {more}: rnnctl info {word(result.run)}", "strong")


def _headline(result: TrainResult, head: HeadlineRecord | None) -> str:
    """How good the model is on the last split that is not trained on, and how far it looks back."""
    said = ""
    # Test comes after validation, and goes before it.
    for split in result.splits:
        name = {"valid": "Validation", "test": "Test"}.get(split.split)
        if name is None:
            continue
        if split.classification is not None:
            said = f"{name} accuracy: {percent(split.classification.accuracy, 2)}. "
        elif split.losses:
            said = f"{name} perplexity: {number(split.losses[0].perplexity, 4)}. "
    if head is not None:
        said += f"Memory horizon: {horizon(head)}{', rough' if head.rough else ''}."
    return said.strip() or "Trained; no text was left to measure it on."


FOLD_MEASURES = {
    "accuracy": "accuracy (%)",
    "macro_f1": "macro-F1 (%)",
    "loss_nats": "loss (nats)",
    "calibration_error": "calibration error (%)",
    "bag_of_words": "bag of words (%)",
    "majority": "majority share (%)",
}


def folds(result: FoldsResult) -> Iterator[Block]:
    """The mean over folds of each measure."""
    count = len(result.runs)
    yield Heading(f"{plural(count, 'fold')} of {result.corpus}", 1)
    rows = []
    for one in result.measures:
        scale, places = (1.0, 4) if one.name == "loss_nats" else (100.0, 2)
        ends = (
            ""
            if one.ci95 is None
            else (f" [{fixed(scale * one.ci95[0], places)}, {fixed(scale * one.ci95[1], places)}]")
        )
        name = FOLD_MEASURES.get(one.name, one.name)
        low, high = (fixed(scale * end, places) for end in (min(one.values), max(one.values)))
        rows.append((name, f"{fixed(scale * one.mean, places)}{ends}", low, high))
    yield table(("measure", "mean over folds", "lowest", "highest"), rows)
    yield Paragraph(
        f"{plural(result.documents, 'document')}, each tested on once; 95 % intervals over folds, "
        "corrected for the training documents that folds share",
        "note",
    )
    yield KeyValues((("runs", f"{result.runs[0]} to {Path(result.runs[-1]).name}"),))
    for warning in result.warnings:
        yield Paragraph(warning.text, "warning")


def _facts(result: TrainResult) -> Iterator[tuple[str, str]]:
    timing = result.timing
    yield "corpus", result.corpus
    yield (
        "model",
        f"{plural(result.parameters, 'parameter')} ({result.recurrent_parameters:,} recurrent), "
        f"{result.level} vocabulary of {result.vocab_size:,}",
    )
    if result.started_from:
        yield "began with", _began_with(result)
    if result.pretrained is not None:
        yield "language model", _pretrained(result.pretrained)
    if result.vectors is not None:
        yield "vectors", vectors_in_words(result.vectors)
    yield (
        "training",
        f"{plural(result.steps, 'step')}, {with_unit(number(result.epochs), 'epochs')}, "
        f"{plural(result.tokens, 'token')}; ended by {result.stop_reason}, "
        f"best at step {result.best_step:,}",
    )
    if "training_s" in timing:
        speed = number(timing.get("tokens_per_s"), 4)
        yield "time", f"{seconds(timing['training_s'])}, {speed} tokens/s"
    yield "clipped", f"{percent(result.clipped_share)} of the steps"
    if result.cut_share:
        yield "cut short", f"{percent(result.cut_share)} of the documents"


PARTS = {
    "embedding": "embedding",
    "recurrent": "recurrent layers",
    "projection": "projection",
    "decoder": "output layer",
    "output": "output layer",
}


def _began_with(result: TrainResult) -> str:
    """Which parts of the model came from another run."""
    taken, anew = _model_parts(result.taken), _model_parts(result.anew)
    if not taken:
        return f"weights of {result.started_from}"
    return f"{taken} of {result.started_from}" + (f"; new: {anew}" if anew else "")


def _pretrained(first: PretrainedRecord) -> str:
    """The language model that was trained first."""
    loss = first.valid_loss_nats
    nats = "" if loss is None else f", validation {fixed(loss)} nats/token"
    epochs = with_unit(number(first.epochs), "epochs")
    return f"{first.run}: {seconds(first.seconds)}, {plural(first.tokens, 'token')}, {epochs}{nats}"


def vectors_in_words(vectors: VectorsRecord) -> str:
    """Where they come from, and how many tokens of a file had some."""
    what_then = "kept as they are" if vectors.frozen else "trained further"
    if vectors.file == CORPUS_VECTORS and not vectors.found:
        return "random: no two words stand side by side in the training text"
    if vectors.file == CORPUS_VECTORS:
        return f"learnt from the training text; {what_then}"
    lowered = f" ({vectors.lowered:,} in lower case)" if vectors.lowered else ""
    return (
        f"{vectors.found:,} of {plural(vectors.tokens, 'token')} found in "
        f"{Path(vectors.file).name}{lowered}, {percent(vectors.covered)} of the training text; "
        f"{what_then}"
    )


def _model_parts(names: Sequence[str]) -> str:
    firsts = {name.split(".")[0] for name in names}
    return ", ".join(text for name, text in PARTS.items() if name in firsts)


def _quality(result: TrainResult) -> Iterator[Block]:
    if any(split.losses for split in result.splits):
        yield _loss_table(result.splits)
        yield Paragraph(_legend(result.splits, result.trivial_nats), "note")
    classified = [split for split in result.splits if split.classification is not None]
    if classified:
        yield _class_table(classified)
        if _parts(classified):
            yield Paragraph("; ".join(_parts(classified)), "note")
        last = classified[-1]
        if last.split != "train" and last.classification is not None:
            yield Heading("Validation documents" if last.split == "valid" else "Test documents")
            yield from inference.classified(last.classification)
    if result.chance:
        yield Paragraph(_chance(result.chance), "note")


def _chance(chance: dict[str, float]) -> str:
    """What the numbers of a memory task mean: guessing, and the best possible."""
    parts = [f"guessing the answer: {percent(chance['accuracy'])} right"]
    if "loss_nats_best" in chance:
        parts.append(f"{fixed(chance['loss_nats_memoryless'], 4)} nats/token without memory")
        parts.append(f"{fixed(chance['loss_nats_best'], 4)} at best")
    return "; ".join(parts)


def _loss_table(splits: tuple[SplitResult, ...]) -> Table:
    columns = ("split", "protocol", "nats/token", "perplexity", "bits/char", "bits/byte", "tokens")
    rows = [_loss_row(split, loss) for split in splits for loss in split.losses]
    return table(columns, rows, align="ll")


def _loss_row(split: SplitResult, loss: LanguageModelLoss) -> tuple[str, ...]:
    return (
        split.split,
        loss.protocol,
        fixed(loss.loss_nats, 4),
        number(loss.perplexity, 4),
        fixed(loss.bits_per_char),
        fixed(loss.bits_per_byte),
        f"{loss.tokens:,}",
    )


def _legend(splits: Sequence[SplitResult], trivial: float) -> str:
    losses = {loss.protocol: loss for split in splits for loss in split.losses}
    parts = _parts(splits)
    parts += [PROTOCOLS[name].format(window=loss.window) for name, loss in losses.items()]
    unknown = max((loss.unknown_rate for loss in losses.values()), default=0.0)
    if unknown:
        parts.append(f"up to {percent(unknown, 2)} unknown tokens, charged with their spelling")
    parts.append(f"a model without context: {trivial:.3f} nats/token")
    return "; ".join(parts)


def _parts(splits: Sequence[SplitResult]) -> list[str]:
    """Which splits were measured in part only; in the table it would take the room of a column."""
    return [f"{split.split}: {split.part}" for split in splits if split.part]


def _class_table(splits: list[SplitResult]) -> Table:
    columns = ("split", "accuracy", "95 % interval", "macro-F1", "nats", "documents")
    rows = []
    for split in splits:
        found = split.classification
        assert found is not None
        low, high = found.accuracy_ci95
        rows.append(
            (
                split.split,
                percent(found.accuracy, 2),
                f"{percent(low, 2)} to {percent(high, 2)}",
                percent(found.macro_f1),
                fixed(found.loss_nats),
                f"{found.n:,}",
            )
        )
    return table(columns, rows)


def info(result: InfoResult) -> Iterator[Block]:
    """What is in a run."""
    yield Heading(f"Run {result.run}", 1)
    pairs = [
        ("state", result.state),
        ("written by", f"rnnctl {result.written_by}"),
        ("size", f"{result.size_bytes / 1e6:,.1f} MB"),
        ("files", ", ".join(result.files)),
        ("checkpoints", ", ".join(result.checkpoints) or NOTHING),
        ("results", ", ".join(result.results) or NOTHING),
    ]
    if result.snapshots:
        tokens = ", ".join(f"{one.tokens:,}" for one in result.snapshots)
        pairs.insert(-1, ("snapshots", f"after {tokens} tokens"))
    yield KeyValues(tuple(pairs))
    if result.training is not None:
        yield Heading("result", 2)
        yield KeyValues(tuple(_facts(result.training)))
        yield from _quality(result.training)
        for warning in result.training.warnings:
            yield Paragraph(warning.text, "warning")
        yield Heading("made with", 2)
        environment = result.training.environment.model_dump()
        yield KeyValues(tuple((k, str(v)) for k, v in environment.items() if v is not None))
    for section, fields in result.settings.items():
        if isinstance(fields, dict):
            yield Heading(f"settings: {section}", 2)
            known = [(name, _setting(value)) for name, value in fields.items() if value is not None]
            yield KeyValues(tuple(known))


def _setting(value: object) -> str:
    """A setting as a person would write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or NOTHING
    return str(value)


def runs(result: RunsResult) -> Iterator[Block]:
    """The runs in a folder."""
    if not result.runs:
        yield Paragraph(f"no runs in {result.root}", "note")
        return
    # Without the task, which the unit of the best number tells, and without a state that all
    # share: rows with names as long as the default ones fit into 80 columns.
    finished = all(line.state == "finished" for line in result.runs)
    columns = [f"run in {result.root}", "state", "cell", "size", "steps", "best", "memory horizon"]
    rows = [
        [
            _inside(result.root, line.run),
            line.state,
            line.cell or NOTHING,
            line.size or NOTHING,
            f"{line.steps:,}" if line.steps is not None else NOTHING,
            line.best or NOTHING,
            line.horizon or NOTHING,
        ]
        for line in result.runs
    ]
    align = "llllrll"
    if finished:
        for row in (columns, *rows):
            del row[1]
        align = align[1:]
    yield table(columns, rows, align=align)
    if finished:
        yield Paragraph("all of them finished", "note")
    if any(line.cell and not line.horizon for line in result.runs):
        why = "no memory horizon: `rnnctl diagnose RUN` measures it, or says why there is none"
        yield Paragraph(f"{NOTHING} {why}", "note")
    damaged = tuple(f"{line.run}: {line.problem}" for line in result.runs if line.problem)
    if damaged or result.problems:
        yield Paragraph("some files are not as they were written", "warning")
        yield Bullets(damaged + result.problems)
    elif result.verified:
        yield Paragraph("every file is as it was written", "note")


def _inside(root: str, run: str) -> str:
    """The name of a run as it is seen from the folder that was looked through."""
    try:
        name = str(Path(run).relative_to(root))
    except ValueError:
        return run
    return run if name == "." else name
