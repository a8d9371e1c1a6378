"""`diagnose` from a run to its record: what comes out, and what bad input leaves standing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from rnnctl.data.documents import Document
from rnnctl.diagnostics import material, measurements, reach
from rnnctl.diagnostics.diagnose import diagnose, headline
from rnnctl.diagnostics.effect import batched_logits
from rnnctl.diagnostics.material import Material, Text
from rnnctl.diagnostics.settings import PRESETS
from rnnctl.diagnostics.subject import ExactModel
from rnnctl.errors import DataError, UsageError
from rnnctl.inference.classify import Predictor
from rnnctl.results.base import Estimate
from rnnctl.results.diagnostics import DiagnosticsResult
from rnnctl.tasks.loading import load

MakeRun = Callable[..., Path]
SMALL = replace(
    PRESETS["quick"],
    resamples=200,
    resets=48,
    n_max=32,
    swaps=64,
    distance_words=16,
    evidence=6,
    filler_words=40,
    planted=160,
    hold_lag=8,
    sequences=16,
    reach_lags=24,
    lyapunov_steps=150,
    exponents=4,
    gate_tokens=800,
    reviews=24,
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import torch

    monkeypatch.setitem(PRESETS, "quick", SMALL)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def prose(root: Path) -> str:
    return (root / "data/paragraphs/valid.txt").read_text(encoding="utf-8")[:30_000]


@pytest.fixture(scope="module")
def reviews() -> list[Document]:
    """Long enough reviews of either kind."""
    draw = np.random.default_rng(0)
    plain = ["the film runs on .", "we saw it in town .", "a man walks in .", "it has two parts ."]
    told = {
        "pos": ["a great and moving film .", "i loved the superb cast ."],
        "neg": ["a dull and awful film .", "i hated the poor cast ."],
    }
    documents = []
    for k in range(60):
        label = "pos" if k % 2 else "neg"
        parts = [*draw.choice(plain, 9), *draw.choice(told[label], 2)]
        documents.append(Document(" ".join(draw.permutation(parts)), label))
    return documents


def running(text: str) -> Text:
    return Text([Document(text)], True, "prose")


def everything(result: DiagnosticsResult) -> Iterator[Estimate]:
    for row in result.panel:
        yield from row.numbers.values()
    for name in ("use", "effect", "hold", "reach", "gates", "position"):
        record = getattr(result, name)
        if record is not None:
            yield from record.scalars.values()
    yield result.headline


def check(result: DiagnosticsResult) -> None:
    """Nothing is NaN, everything without a number says why, and the record survives JSON."""
    text = result.model_dump_json()
    assert "NaN" not in text and "Infinity" not in text
    assert DiagnosticsResult.model_validate_json(text) == result
    for value in everything(result):
        if value.estimate is None:
            assert value.status not in ("ok",)
            assert value.note or value.status == "censored", value
        elif value.ci95[0] is not None and value.ci95[1] is not None:
            assert value.ci95[0] <= value.estimate * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize(("level", "cell"), [("char", "lstm"), ("word", "gru"), ("bpe", "rnn")])
def test_language_models(make_run: MakeRun, prose: str, level: str, cell: str) -> None:
    size = 300 if level == "bpe" else None
    loaded = load(make_run(prose, level=level, cell=cell, vocab_size=size))
    result = diagnose(loaded, text=running(prose))
    check(result)
    assert result.headline.kind == "use_neff"
    assert result.model.task == f"lm_{level}"
    assert result.use is not None and result.use.status == "ok"
    assert result.hold is not None and result.hold.status == "ok"
    assert result.reach is not None and "h" in result.reach.blocks
    assert ("c" in result.reach.blocks) == (cell == "lstm")
    assert result.gates is not None
    assert result.gates.status == ("not_applicable" if cell == "rnn" else "ok")
    if cell == "rnn":
        assert result.gates.scalars == {} and result.gates.note
    gates = [] if cell == "rnn" else ["gates"]
    assert result.first_last is not None and result.first_last.status == "not_applicable"
    names = ["use", "effect", "hold", "reach", *gates, "quality"]
    assert [row.name for row in result.panel] == names
    assert all(len(row.answer) <= 60 for row in result.panel)
    assert result.data.sha256 == result.corpus_fingerprint


def test_the_same_seed_gives_the_same_record(make_run: MakeRun, prose: str) -> None:
    loaded = load(make_run(prose, level="char", cell="lstm"))
    first, again, other = (
        json.loads(diagnose(loaded, text=running(prose), seed=seed).model_dump_json())
        for seed in (0, 0, 1)
    )
    for record in (first, again, other):
        record.pop("timing")
    assert first == again
    assert first["use"] != other["use"]


@pytest.mark.parametrize("pool", ["last", "mean"])
def test_classifiers(make_run: MakeRun, reviews: list[Document], pool: str) -> None:
    text = " ".join(d.text for d in reviews)
    loaded = load(make_run(text, level="word", labels=("neg", "pos"), cell="gru", pool=pool))
    result = diagnose(loaded, text=Text(reviews[:40], False, "reviews", reviews[40:]))
    check(result)
    assert result.headline.kind == "effect_half"
    assert result.model.train_bptt is None and result.model.readout == pool
    assert result.effect is not None and len(result.effect.fillers) == 2
    assert ("POOLED" in {w.code for w in result.warnings}) == (pool == "mean")
    assert result.position is not None
    assert result.position.curves["reference_occlusion"].n[0] > 0


def test_classifiers_are_asked_as_classify_asks_them(
    make_run: MakeRun, reviews: list[Document]
) -> None:
    """Texts of different lengths in one batch; an empty one is answered at its boundary."""
    texts = [d.text[: 30 * k] for k, d in enumerate(reviews[:5])]
    loaded = load(make_run(" ".join(texts), level="word", labels=("neg", "pos"), cell="gru"))
    ids = [np.asarray(loaded.tokenizer.encode(text), dtype=np.int64) for text in texts]
    logits = batched_logits(Material(loaded, Text(reviews, False, "reviews"), 0).classifier, ids)
    wanted = [answer.probabilities for answer in Predictor(loaded).predict(texts)]
    assert np.allclose(softmax(logits, axis=1), wanted, atol=1e-6)


def test_reach_of_a_classifier_begins_where_it_answers(
    make_run: MakeRun, reviews: list[Document]
) -> None:
    """The gradient of the loss with respect to the state at the boundary is the one at lag 0."""
    text = " ".join(d.text for d in reviews)
    loaded = load(make_run(text, level="word", labels=("neg", "pos"), cell="gru"))
    material = Material(loaded, Text(reviews, False, "reviews"), 0)
    record = measurements.REACH.measure(material, SMALL)
    ids = loaded.tokenizer.encode_document(reviews[0].text).astype(np.int64)
    assert record.sampling.items == 16
    ended = material.sample.ended(loaded.tokenizer.boundary_id)
    assert ended.ids[0].tolist() == ids.tolist()
    wanted = reach.measure(ExactModel(loaded.model), ended, SMALL)
    assert record.blocks == wanted.blocks


def test_a_usual_text_is_as_long_as_it_is_read(make_run: MakeRun, reviews: list[Document]) -> None:
    text = " ".join(d.text for d in reviews)
    loaded = load(make_run(text, level="word", labels=("neg", "pos"), max_tokens=17))
    result = diagnose(loaded, ("gates",), text=Text(reviews, False, "reviews"))
    assert result.data.paragraph_length == pytest.approx(17 * result.data.words_per_token, abs=1)


def test_a_classifier_without_both_labels(make_run: MakeRun, reviews: list[Document]) -> None:
    good = [d for d in reviews if d.label == "pos"]
    loaded = load(make_run(" ".join(d.text for d in reviews), level="word", labels=("neg", "pos")))
    result = diagnose(loaded, text=Text(good[:20], False, "only good", good[20:]))
    check(result)
    assert result.position is not None and result.position.status == "insufficient_data"
    assert result.hold is not None and result.hold.status == "ok"
    unlabelled = [Document(d.text) for d in reviews]
    result = diagnose(loaded, text=Text(unlabelled, False, "no labels"))
    check(result)
    assert result.position is not None and "two labels" in result.position.note


def test_other_labels_are_mined(make_run: MakeRun, reviews: list[Document]) -> None:
    names = {"pos": "fan", "neg": "critic"}
    documents = [Document(d.text, names[str(d.label)]) for d in reviews]
    text = " ".join(d.text for d in reviews)
    loaded = load(make_run(text, level="word", labels=("critic", "fan")))
    result = diagnose(loaded, ("effect",), text=Text(documents[:40], False, "r", documents[40:]))
    check(result)
    assert result.effect is not None and "mined" in result.effect.items
    assert set(result.effect.pair or ()) == {"critic", "fan"}


@pytest.mark.parametrize(
    ("labels", "opinions", "used"),
    [
        (("0", "1"), True, "shipped"),
        (("0", "1"), False, "mined"),
        (("neg", "pos"), False, "shipped"),
    ],
)
def test_labels_that_say_nothing_are_not_taken_for_opinions(
    make_run: MakeRun, labels: tuple[str, str], opinions: bool, used: str
) -> None:
    """0 and 1 of spam, in a text that knows the words of the shipped opinions."""
    shipped = material.shipped_items(("neg", "pos"))
    assert shipped is not None
    draw = np.random.default_rng(0)
    documents = []
    for k in range(120):
        said = [pair[k % 2 if opinions else int(draw.integers(2))] for pair in shipped.pairs]
        own = ["we saw the room today .", "win a free prize now ."][1 - k % 2]
        parts = [*draw.choice(said, 8), *draw.choice(shipped.neutral, 6), own, own]
        documents.append(Document(" ".join(draw.permutation(parts)), labels[1 - k % 2]))
    run = make_run(" ".join(d.text for d in documents), level="word", labels=labels)
    text = Text(documents[:80], False, "r", documents[80:])
    result = diagnose(load(run), ("effect",), text=text)
    check(result)
    assert result.effect is not None and used in result.effect.items


def test_evidence_of_unknown_words(
    make_run: MakeRun, reviews: list[Document], tmp_path: Path
) -> None:
    """The shipped sentences give way to mined ones; the user's own are warned of."""
    text = " ".join(d.text for d in reviews)
    loaded = load(make_run(text, level="word", labels=("neg", "pos")))
    both = Text(reviews[:40], False, "reviews", reviews[40:])
    result = diagnose(loaded, ("effect",), text=both)
    assert result.effect is not None and "mined" in result.effect.items
    path = tmp_path / "items.json"
    pairs = [["prima ballerina", "pessima ballerina"]] * 6
    path.write_text(json.dumps({"labels": ["pos", "neg"], "pairs": pairs}), encoding="utf-8")
    result = diagnose(loaded, ("effect", "gates"), text=both, items=path)
    check(result)
    assert "UNKNOWN_ITEMS" in {w.code for w in result.warnings}
    assert result.effect is not None and result.effect.status == "undefined"
    assert "--items" in result.effect.note
    assert result.headline.estimate is None and "no measurable effect" in result.headline.sentence


def test_two_directions(make_run: MakeRun, reviews: list[Document]) -> None:
    text = " ".join(d.text for d in reviews)
    loaded = load(make_run(text, level="word", labels=("neg", "pos"), bidirectional=True))
    result = diagnose(loaded, text=Text(reviews[:40], False, "reviews", reviews[40:]))
    check(result)
    assert "BIDIRECTIONAL" in {w.code for w in result.warnings}
    for record in (result.hold, result.reach, result.gates):
        assert record is not None and record.status == "not_applicable"
    assert result.effect is not None and result.effect.status in ("ok", "undefined")


@pytest.mark.parametrize("text", ["too short", "a somewhat longer text than that " * 4])
def test_a_short_text(make_run: MakeRun, prose: str, text: str) -> None:
    loaded = load(make_run(prose, level="word"))
    result = diagnose(loaded, text=Text([Document(text)], False, "short"))
    check(result)
    assert result.headline.status != "ok" and result.headline.estimate is None
    assert result.headline.sentence.startswith("not measured")


def test_one_document(make_run: MakeRun, prose: str) -> None:
    loaded = load(make_run(prose, level="char"))
    result = diagnose(loaded, text=Text([Document(prose[:8000])], False, "one"))
    check(result)
    assert result.use is not None and result.use.status == "ok"
    assert result.use.sampling is not None and result.use.sampling.unit.startswith("stretch")


def test_another_language(make_run: MakeRun, prose: str) -> None:
    loaded = load(make_run(prose, level="word"))
    russian = "мама мыла раму а папа читал газету и пил чай на кухне " * 60
    result = diagnose(loaded, text=running(russian))
    check(result)
    assert "FOREIGN_TEXT" in {w.code for w in result.warnings}
    assert result.data.unknown_rate > 0.9
    assert result.gates is not None and result.gates.status == "ok"


def test_text_without_spaces(make_run: MakeRun) -> None:
    draw = np.random.default_rng(0)
    poem = "".join(draw.choice(list("明月幾時有把酒問青天不知上宮闕今夕是何年"), 6000))
    result = diagnose(load(make_run(poem, level="char")), text=running(poem))
    check(result)
    assert result.data.distance_unit == "chars"
    assert result.use is not None and result.use.curves["foreign"].x_unit == "chars"
    assert result.headline.unit in ("chars", "")
    assert result.hold is not None and result.hold.status == "ok"
    assert result.effect is not None and result.effect.status in ("ok", "undefined")
    assert result.use.scalars["early_gain_50"].unit in ("% perplexity per char", "%")
    for value in everything(result):
        assert "word" not in value.unit and not re.search(r"\d words", value.note)


def test_no_text_at_all(make_run: MakeRun, prose: str) -> None:
    loaded = load(make_run(prose))
    with pytest.raises(DataError, match="keeps no held-out text"):
        diagnose(loaded)
    with pytest.raises(DataError, match="no text"):
        diagnose(loaded, text=Text([Document("  ")], True, "blank"))


def test_unknown_names(make_run: MakeRun, prose: str) -> None:
    with pytest.raises(UsageError, match="memory"):
        diagnose(load(make_run(prose)), ("memory",), text=running(prose))


def test_what_is_said_of_documents_and_of_running_text(make_run: MakeRun, prose: str) -> None:
    parts = [Document(part) for part in prose.split("\n\n") if part.strip()]
    loaded = load(make_run(prose, level="word", running=False))
    result = diagnose(loaded, ("use", "reach", "gates"), text=Text(parts, False, "paragraphs"))
    assert result.model.state_policy == "reset_document"
    assert result.reach is not None and result.reach.sampling is not None
    assert result.reach.sampling.unit == "document"
    lengths = sorted(len(part.text.split()) for part in parts)
    assert lengths[0] < (result.data.paragraph_length or 0) < lengths[-1]
    assert f"A usual paragraph has {result.data.paragraph_length:.0f}" in result.verdict
    loaded = load(make_run(prose, level="word"))
    result = diagnose(loaded, ("use", "reach", "gates"), text=running(prose))
    assert result.model.state_policy == "carried"
    for record in (result.use, result.reach, result.gates):
        assert record is not None and record.sampling is not None
        assert record.sampling.unit.startswith("stretch of ")
    lines = Text([Document("one two\n\na b c d e f g\n\none\n\nthree of them\n")], True, "lines")
    assert diagnose(loaded, ("gates",), text=lines).data.paragraph_length == 7
    assert result.verdict


def test_names_choose(make_run: MakeRun, prose: str) -> None:
    result = diagnose(load(make_run(prose)), ("gates", "position"), text=running(prose))
    check(result)
    assert result.use is None and result.gates is not None
    assert result.position is not None and result.position.status == "not_applicable"
    assert result.headline.status == "not_applicable"


def test_spoilt_contexts(make_run: MakeRun, prose: str) -> None:
    arms: Any = ("foreign", "zero", "shuffle", "reverse", "replace")
    result = diagnose(load(make_run(prose)), ("use",), text=running(prose), arms=arms)
    check(result)
    assert result.use is not None
    assert set(result.use.curves) == {*arms, "full"}


def test_the_headline_alone(make_run: MakeRun, prose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnctl.diagnostics.diagnose.heldout", lambda loaded: running(prose))
    found = headline(load(make_run(prose, level="char")), seconds=2)
    assert found.kind == "use_neff" and found.sentence


def test_documents_are_read_on_through_as_in_training(make_run: MakeRun, prose: str) -> None:
    """With `reset` off the boundary stands between them, and no words run into one."""
    parts = [Document(part) for part in prose.split("\n\n") if part.strip()]
    loaded = load(make_run(prose, level="word", running=False))
    training = loaded.config.training.model_copy(update={"reset": False})
    carried = replace(loaded, config=loaded.config.model_copy(update={"training": training}))
    sample = Material(carried, Text(parts, False, "paragraphs"), 0).sample
    boundary = loaded.tokenizer.boundary_id
    assert sample.running and len(sample.ids) == 1
    assert (sample.ids[0] == boundary).sum() == len(parts) - 1
    own = [loaded.tokenizer.encode_document(part.text) for part in parts]
    assert np.array_equal(np.append(sample.ids[0], boundary), np.concatenate(own))
    result = diagnose(carried, ("use", "reach"), text=Text(parts, False, "paragraphs"))
    check(result)
    assert result.model.state_policy == "carried" and result.data.paragraph_length is not None
    pieces = Text([Document("one tw"), Document("o three")], True, "pieces")
    assert not (Material(loaded, pieces, 0).sample.ids[0] == boundary).any()


@pytest.mark.parametrize("labels", [(), ("neg", "pos")])
def test_a_damaged_result_of_the_training_is_said(
    make_run: MakeRun, reviews: list[Document], labels: tuple[str, ...]
) -> None:
    path = make_run(" ".join(d.text for d in reviews), level="word", labels=labels)
    (path / "results").mkdir(exist_ok=True)
    (path / "results/train.json").write_text('{"name": "train", "res', encoding="utf-8")
    text = Text(reviews, False, "reviews", reviews)
    result = diagnose(load(path), ("reach",), text=text)
    row = next(row for row in result.panel if row.name == "quality")
    assert row.answer == "not known: the result of its training is damaged"
    (number,) = row.numbers.values()
    assert number.status == "failed" and "train.json is cut off or altered" in number.note
    (warning,) = (one for one in result.warnings if one.code == "DAMAGED_RESULT")
    assert "train.json is cut off or altered" in warning.text
