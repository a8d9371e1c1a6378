"""`generate`, `score`, `evaluate`, `pairs` and `export` as blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rnnctl.reports.blocks import Block, Bullets, Heading, KeyValues, Paragraph, Verbatim, table
from rnnctl.reports.numbers import NOTHING, count, fixed, number, percent
from rnnctl.results.base import Classification, Estimate, LanguageModelLoss
from rnnctl.results.inference import (
    EvaluateResult,
    ExportResult,
    GenerateResult,
    PairGroup,
    PairsResult,
    Quantised,
    Sample,
    ScoredText,
    ScoreResult,
    Slice,
    TuneResult,
)
from rnnctl.wording import plural

_MOST_CLASSES = 12  # columns of a confusion matrix that a page can hold
_MISTAKE = 90  # characters of a document that is shown as a mistake


def generated(result: GenerateResult) -> list[Block]:
    """Continuations as they are, each with what is copied in it."""
    made: list[Block] = []
    for place, sample in enumerate(result.samples, 1):
        if len(result.samples) > 1:
            made.append(Heading(f"Sample {place}", level=3))
        made.append(Verbatim(sample.text))
        made.append(Paragraph(copied_sentence(sample, result.copied_note), kind="note"))
    return made


def copied_sentence(sample: Sample, note: str) -> str:
    """What is known about copies, in a sentence."""
    if sample.copied is None:
        return f"Longest stretch copied from the training text: not known ({note})."
    if sample.copied.tokens == 0:
        return "No part of it is in the training text."
    found = sample.copied
    size = f"{plural(found.tokens, 'token')}, {plural(found.chars, 'character')}"
    return f"Longest stretch copied from the training text: {size}: {found.text!r}."


def scored(result: ScoreResult) -> list[Block]:
    """How likely texts are."""
    made: list[Block] = []
    if len(result.texts) == 1:
        made.append(KeyValues(tuple(_facts(result.total))))
    else:
        texts = [*result.texts, result.total]
        made.append(table(_COLUMNS, map(_row, texts), strong_rows=[len(result.texts)]))
    if result.read_before:
        text = f"Continued from a saved state, after {plural(result.read_before, 'token')}."
        made.append(Paragraph(text, kind="note"))
    if result.pending_bytes:
        left = plural(result.pending_bytes, "byte at the end is", "bytes at the end are")
        text = f"{left} not a whole token yet: kept in the state, but not scored."
        made.append(Paragraph(text, kind="note"))
    return made


_COLUMNS = (
    "text",
    "nats",
    "tokens",
    "nats per token",
    "perplexity",
    "bits per char",
    "bits per byte",
    "unknown",
)


def _row(text: ScoredText) -> list[str]:
    return [
        text.source,
        fixed(text.nats, 2),
        count(text.tokens),
        fixed(text.nats_per_token, 4),
        number(text.perplexity, 5),
        fixed(text.bits_per_char, 4),
        fixed(text.bits_per_byte, 4),
        count(text.unknown),
    ]


def _facts(text: ScoredText) -> list[tuple[str, str]]:
    unknown = count(text.unknown)
    if text.unknown:
        share = text.unknown / text.tokens
        unknown += f" ({percent(share, 2)}), their spelling {fixed(text.spelling_nats, 2)} nats"
    return [
        ("text", text.source),
        ("nats", fixed(text.nats, 4)),
        ("nats per token", fixed(text.nats_per_token, 4)),
        ("perplexity", number(text.perplexity, 5)),
        ("bits per character", fixed(text.bits_per_char, 4)),
        ("bits per byte", fixed(text.bits_per_byte, 4)),
        ("tokens", count(text.tokens)),
        ("characters", count(text.chars)),
        ("bytes", count(text.bytes)),
        ("unknown tokens", unknown),
    ]


def tuned(result: TuneResult) -> list[Block]:
    """What was found, and how to use it."""
    rows = [
        (one.settings, fixed(one.loss_nats, 4), number(one.perplexity, 5))
        for one in (result.before, *filter(None, [result.best]), *result.others)
    ]
    name = "Cache" if result.what == "cache" else "Dynamic evaluation"
    made: list[Block] = [
        Heading(f"{name} for {result.run}, chosen on {result.text}", level=1),
        table(("setting", "nats per token", "perplexity"), rows, align="lrr",
              strong_rows=[] if result.best is None else [1]),
        Paragraph(
            f"{plural(result.tokens, 'token')} of validation text, "
            f"{plural(result.tried, 'setting')} tried", "note",
        ),
    ]  # fmt: skip
    if result.best is None:
        made.append(Paragraph(_nothing_helps(result), "warning"))
        return made
    use = f"`rnnctl evaluate {result.run} {result.best.options}`"
    made.append(Paragraph(f"{use} uses it; so do `score` and `generate`", "hint"))
    return made


def _nothing_helps(result: TuneResult) -> str:
    """Why no setting is named."""
    better = [one for one in result.others if one.loss_nats < result.before.loss_nats]
    if not better:
        return "No setting that was tried is better than the model alone."
    # The best of many settings is partly luck, which a longer text takes away again.
    longer = plural(result.confirmed_tokens, "token")
    return (
        "No setting helps: the settings that are better here are not better than the model alone "
        f"on a longer part of the validation text, the first {longer}."
    )


def evaluated(result: EvaluateResult) -> list[Block]:
    """How good a run is on a corpus."""
    made: list[Block] = [Heading(f"{result.run} on {result.corpus} ({result.part})", level=1)]
    if result.losses:
        made.append(_losses(result.losses))
    if result.memory:
        made.append(Paragraph(f"memory at test time: {result.memory}", kind="note"))
    if result.classification is not None:
        made.extend(classified(result.classification))
    made.extend(_sliced(result))
    if result.cut_share:
        text = f"{percent(result.cut_share)} of the documents were cut to the run's length."
        made.append(Paragraph(text, kind="note"))
    made.extend(Paragraph(warning.text, kind="warning") for warning in result.warnings)
    return made


def _losses(losses: Sequence[LanguageModelLoss]) -> Block:
    first = ("protocol", "nats per token", "perplexity", "bits per char", "bits per byte")
    columns = (*first, "tokens", "unknown")
    rows = [
        [
            _protocol(loss),
            fixed(loss.loss_nats, 4),
            number(loss.perplexity, 5),
            fixed(loss.bits_per_char, 4),
            fixed(loss.bits_per_byte, 4),
            count(loss.tokens),
            f"{count(loss.unknown)} ({percent(loss.unknown_rate, 2)})",
        ]
        for loss in losses
    ]
    return table(columns, rows)


def _protocol(loss: LanguageModelLoss) -> str:
    window = "" if loss.window is None else f", {plural(loss.window, 'token')}"
    return loss.protocol + window


def classified(found: Classification) -> list[Block]:
    """Everything that is known of a classifier's answers."""
    accuracy = _with_interval(found.accuracy, found.accuracy_ci95)
    pairs = [("accuracy", accuracy), *_majority(found)]
    if found.bag_of_words is not None:
        bag = found.bag_of_words
        pairs.append(
            (
                "bag of words",
                f"{_with_interval(bag.accuracy, bag.accuracy_ci95)}, macro-F1 "
                f"{percent(bag.macro_f1, 2)}"
                + ("" if bag.micro_f1 is None else f", micro-F1 {percent(bag.micro_f1, 2)}"),
            )
        )
    pairs += [
        ("macro-F1", _with_interval(found.macro_f1, found.macro_f1_ci95)),
        *([] if found.micro_f1 is None else [("micro-F1", percent(found.micro_f1, 2))]),
        ("loss", f"{fixed(found.loss_nats, 4)} nats"),
        ("calibration error", _calibration(found)),
        ("documents", count(found.n)),
    ]
    # Wilson's is for shares of documents, and macro-F1 is a mean over labels of something else.
    caption = "95 % intervals: Wilson's; for macro-F1 a bootstrap over documents"
    if found.micro_f1 is not None:
        caption = "accuracy: all labels of a document and no others, with a 95 % Wilson interval"
    caption += "; the calibration error is the expected one, over 15 equal bins"
    facts = KeyValues(tuple(pairs), caption=caption)
    made: list[Block] = [facts]
    if found.classes:
        made += [Heading("Each label"), _class_table(found)]
    # A wider matrix fits neither a terminal nor a page; the most frequent mistakes say more.
    if found.confusion and len(found.labels) <= _MOST_CLASSES:
        made += [Heading("Confusion matrix"), _confusion(found)]
    if found.confusions:
        made += [Heading("Most frequent mistakes"), *_mistakes(found)]
    return made


def beside_simple_models(found: Classification) -> Iterator[tuple[str, str]]:
    """The accuracy of a classifier beside that of two simple models, and its calibration."""
    yield "accuracy", _with_interval(found.accuracy, found.accuracy_ci95)
    if found.bag_of_words is not None:
        bag = found.bag_of_words
        yield "bag of words", _with_interval(bag.accuracy, bag.accuracy_ci95)
    yield from _majority(found)
    yield "calibration error", _calibration(found)


def _majority(found: Classification) -> Iterator[tuple[str, str]]:
    if found.majority is not None:
        always = f"always answering {found.majority_label}"
        yield "majority share", f"{percent(found.majority, 2)}: {always}"


def _with_interval(
    share: float | None, ends: tuple[float | None, float | None] | None, decimals: int = 2
) -> str:
    """``93.12 % [91.04, 94.80]``; without the interval where an end of it is not known."""
    low, high = ends or (None, None)
    if share is None or low is None or high is None:
        return percent(share, decimals)
    return f"{percent(share, decimals)} [{100 * low:.{decimals}f}, {100 * high:.{decimals}f}]"


def _calibration(found: Classification) -> str:
    # Beside what it was: the temperature changes how sure the model is, and none of its answers.
    now = percent(found.calibration_error, 2)
    if found.calibration_error_before is None:
        return now
    before = percent(found.calibration_error_before, 2)
    return f"{now}; {before} before temperature {number(found.temperature, 3)}"


def _class_table(found: Classification) -> Block:
    rows = [
        [
            one.label,
            _short(one.precision, one.precision_ci95),
            _short(one.recall, one.recall_ci95),
            NOTHING if one.f1 is None else f"{100 * one.f1:.1f}",
            count(one.support),
            count(one.predicted),
        ]
        for one in found.classes
    ]
    # Thresholds only where a text may have several labels: else the most probable one is given.
    columns: tuple[str, ...] = ("label", "precision (%)", "recall (%)", "F1 (%)")
    columns += ("support", "predicted")
    caption = "support: documents that have the label"
    if any(one.threshold is not None for one in found.classes):
        columns += ("threshold",)
        rows = [
            [*row, number(one.threshold, 3)] for row, one in zip(rows, found.classes, strict=True)
        ]
        caption += "; threshold: probability from which it is given"
    return table(columns, rows, caption=caption)


def _short(share: float | None, ends: tuple[float, float]) -> str:
    """``93.1 [91.0, 94.8]``."""
    if share is None:
        return NOTHING
    return f"{100 * share:.1f} [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"


def _confusion(found: Classification) -> Block:
    rows = [
        [name, *map(count, counts)]
        for name, counts in zip(found.labels, found.confusion, strict=True)
    ]
    return table(("truth \\ prediction", *found.labels), rows)


def _mistakes(found: Classification) -> Iterator[Block]:
    """Each kind of mistake, with the documents of which the model was surest."""
    for one in found.confusions:
        kind = f"{one.truth} taken for {one.predicted}"
        if not one.predicted:
            kind = f"{one.truth} missed"
        elif not one.truth:
            kind = f"{one.predicted} wrongly given"
        yield Paragraph(f"{kind}: {plural(one.n, 'document')}", "strong")
        if one.examples:
            yield Bullets(
                tuple(
                    f"{example.probability:.3f}  {_beginning(example.text)}  "
                    f"({Path(example.source).name})"
                    for example in one.examples
                )
            )


def _beginning(text: str) -> str:
    return text if len(text) <= _MISTAKE else f"{text[:_MISTAKE].rstrip()}…"


def _sliced(result: EvaluateResult) -> list[Block]:
    """One row for each value of the column."""
    if not result.slices:
        return []
    heading = Heading(f"By {result.by}")
    if result.slices[0].loss is not None:
        columns: tuple[str, ...] = (result.by, "documents", "nats per token", "bits per byte")
        rows = [
            [one.value, count(one.n), _loss_with_interval(one), _bits(one)] for one in result.slices
        ]
        caption = "95 % intervals: bootstrap over documents"
        return [heading, table(columns, rows, caption=caption)]
    columns = (result.by, "documents", "accuracy (%)", "macro-F1 (%)", "calibration")
    with_bag = any(one.classification and one.classification.bag_of_words for one in result.slices)
    columns += ("bag of words",) if with_bag else ()
    rows = []
    for one in result.slices:
        found = one.classification
        assert found is not None
        row = [
            one.value,
            count(one.n),
            _short(found.accuracy, found.accuracy_ci95),
            f"{100 * found.macro_f1:.1f}",
            f"{100 * found.calibration_error:.1f}",
        ]
        if with_bag:
            bag = found.bag_of_words
            row.append(NOTHING if bag is None else f"{100 * bag.accuracy:.1f}")
        rows.append(row)
    caption = "calibration: expected calibration error, %"
    caption += "; bag of words: its accuracy, %" if with_bag else ""
    return [heading, table(columns, rows, caption=caption)]


def _loss_with_interval(one: Slice) -> str:
    assert one.loss is not None and one.loss_ci95 is not None
    low, high = one.loss_ci95
    return f"{fixed(one.loss.loss_nats, 4)} [{fixed(low, 4)}, {fixed(high, 4)}]"


def _bits(one: Slice) -> str:
    return fixed(one.loss.bits_per_byte, 4) if one.loss is not None else NOTHING


def paired(result: PairsResult) -> list[Block]:
    """Minimal pairs, by phenomenon, length and attractors."""
    compared = "whole sentences" if result.what == "sentence" else "the words that differ"
    made: list[Block] = [Heading(f"{result.run}: minimal pairs, {compared}", level=1)]
    groups = (
        ("phenomenon", result.phenomena),
        ("length", result.lengths),
        ("attractors", result.attractors),
    )
    shown = [(name, some) for name, some in groups if some] or [("", ())]
    for name, some in shown:
        made.append(_pair_table(name, [*some, result.total], baseline=bool(result.baseline)))
    if result.mean_of_phenomena is not None:
        made.append(Paragraph(f"Mean over phenomena: {percent(result.mean_of_phenomena)}."))
    notes = [
        "accuracy: share of pairs whose right sentence is likelier, a tie counting half, with "
        "Wilson's 95 % interval; difference: nats of the wrong minus nats of the right one, mean "
        "with a 95 % bootstrap interval"
    ]
    if result.baseline:
        notes.append(f"n-gram: {result.baseline}")
    if result.unknown:
        pairs = plural(result.unknown, "pair has", "pairs have")
        notes.append(
            f"{pairs} words that the model does not know; these also cost the nats of their "
            "spelling"
        )
    made += [Paragraph(note, kind="note") for note in notes]
    if result.problems:
        left = plural(len(result.problems), "record was", "records were")
        made.append(Paragraph(f"{left} not a pair and left out", kind="warning"))
    return made


def _pair_table(name: str, groups: Sequence[PairGroup], *, baseline: bool) -> Block:
    columns = [name, "pairs", "ties", "accuracy", "difference (nats)"]
    columns += ["n-gram accuracy"] if baseline else []
    rows = [_pair_row(group) for group in groups]
    return table(columns, rows, strong_rows=[len(rows) - 1])


def _pair_row(group: PairGroup) -> list[str]:
    row = [group.name, count(group.n), count(group.ties)]
    row += [_share(group.accuracy), _mean(group.difference)]
    return row + ([_share(group.baseline_accuracy)] if group.baseline_accuracy else [])


def _share(value: Estimate) -> str:
    return _with_interval(value.estimate, value.ci95, 1)


def _mean(value: Estimate) -> str:
    low, high = value.ci95
    ends = "" if low is None or high is None else f" [{fixed(low, 2)}, {fixed(high, 2)}]"
    return fixed(value.estimate, 2) + ends


def exported(result: ExportResult) -> list[Block]:
    """What was written, and how it was checked."""
    model, *beside = result.files
    facts = [("model", model), ("other files", ", ".join(beside))]
    facts += [
        ("size", _size(result.bytes)),
        ("input", "; ".join(f"{name} ({axes})" for name, axes in result.inputs.items())),
        ("output", "; ".join(f"{name} ({axes})" for name, axes in result.outputs.items())),
        ("operators", f"ONNX opset {result.opset}"),
    ]
    if result.difference is not None:
        equal = f"equal to the run within {result.difference:.0e} of the largest output"
        if result.quantised is not None:  # then what is written is another model than was checked
            equal = f"before int8 {equal}"
        facts.append(("checked", f"{result.checked_with}: {equal}"))
    if result.quantised is not None:
        facts += _quantised(result.quantised)
    made: list[Block] = [KeyValues(tuple(facts))]
    return made + [Paragraph(warning.text, kind="warning") for warning in result.warnings]


def _quantised(found: Quantised) -> list[tuple[str, str]]:
    facts = [("as float32", _size(found.bytes_float32))]
    if found.stays_float32:
        facts.append(("stays float32", f"{found.stays_float32}: onnxruntime has no int8 for them"))
    if found.float32 is None or found.int8 is None:
        return facts
    n = count(found.n)
    if found.measure == "accuracy":
        before, after, on = percent(found.float32, 2), percent(found.int8, 2), "documents"
    else:
        before, after, on = fixed(found.float32, 4), fixed(found.int8, 4), "tokens"
    said = f"{after}; float32 {before}; {n} {on} of the run's {found.part} part"
    return [*facts, (f"int8 {found.measure}", said)]


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"
