"""What compare measures itself: speed, exchange and baselines of real (tiny) runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rnnctl.baselines.ngram import KneserNey
from rnnctl.compare import measure, speed
from rnnctl.data.corpus import Corpus, open_corpus, sample_documents
from rnnctl.data.documents import Document
from rnnctl.results.comparison import BaselinesResult, SpeedResult
from rnnctl.runs import Run
from rnnctl.tasks.loading import load

MakeRun = Callable[..., Path]
TEXT = "the cat sat on the mat. " * 20


def _speed(path: Path) -> SpeedResult:
    return SpeedResult.model_validate(Run.open(path).read_result("speed"))


def test_every_row_is_measured_once_a_round_and_the_gru_at_the_lstms_size_too(
    make_run: MakeRun,
) -> None:
    lstm = make_run(TEXT, cell="lstm", hidden_size=8)
    gru = make_run(TEXT, cell="gru", hidden_size=11)
    said = list(
        speed.measure({"lstm": lstm, "gru": gru}, threads=1, rounds=2, seconds=0.0, warm_up=0.0)
    )
    rounds, rest = divmod(len(said), 3)  # of lstm, gru, and gru at the size of lstm
    assert rest == 0
    assert 2 <= rounds <= 2 * speed.MOST
    assert said[0] == "speed, round 1: lstm"
    one, two = _speed(lstm), _speed(gru)
    assert one.rounds == two.rounds == rounds
    assert one.session == two.session != ""
    assert (one.hidden_size, one.same_size_hidden) == (8, None)
    assert (two.hidden_size, two.same_size_hidden) == (11, 8)
    for values in (
        one.train_tokens_per_s, one.generate_ms_per_token, two.train_tokens_per_s,
        two.same_size_train_tokens_per_s, two.same_size_generate_ms_per_token,
    ):  # fmt: skip
        assert len(values) == 2
        assert all(value > 0 for value in values)


def test_speeds_of_other_sessions_are_measured_again_together(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new run beside measured ones, records without a session, or a machine that was busy."""
    paths = [make_run(TEXT, cell=cell) for cell in ("lstm", "gru")]
    monkeypatch.setattr(measure, "has_result", lambda path, name: name in Run.open(path).results())
    load = [3.0]
    monkeypatch.setattr(speed, "load_per_core", lambda: load[0])
    assert not measure._measured_together(paths)
    options = {"threads": 1, "rounds": 1, "seconds": 0.0, "warm_up": 0.0}
    for path in paths:
        list(speed.measure({"x": path}, **options))  # type: ignore[arg-type]
    assert not measure._measured_together(paths)
    for load[0], good in ((3.0, False), (0.9, True)):
        list(speed.measure({path.parent.name: path for path in paths}, **options))  # type: ignore[arg-type]
        assert measure._measured_together(paths) == good


def test_the_rounds_in_which_nobody_was_disturbed_count() -> None:
    fast, slow = [100.0, 90.0, 50.0, 95.0], [10.0, 1.0, 9.0, 9.0]
    assert speed.undisturbed([fast, slow]) == pytest.approx([1.0, 0.1, 0.5, 0.9])
    assert speed.quartile([3.0, 1.0, 50.0, 2.0, 40.0]) == 2.0


def test_classifiers_have_a_speed_too(make_run: MakeRun) -> None:
    path = make_run(TEXT, labels=("bad", "good"), cell="rnn")
    assert list(speed.measure({"rnn": path}, threads=1, rounds=1, seconds=0.0, warm_up=0.0))
    assert _speed(path).chunk == speed.DOCUMENT


def test_threads_are_given_back(make_run: MakeRun) -> None:
    import torch

    before = torch.get_num_threads()
    list(
        speed.measure({"x": make_run(TEXT)}, threads=before + 1, rounds=1, seconds=0.0, warm_up=0.0)
    )
    assert torch.get_num_threads() == before


def test_a_run_without_text_has_nothing_to_exchange(make_run: MakeRun) -> None:
    path = make_run(TEXT, cell="lstm")
    assert measure.can_be_exchanged(path)
    assert not measure.can_be_exchanged(make_run(TEXT, cell="gru"))
    assert measure.measure_exchange(path) is False
    assert "exchange" not in Run.open(path).results()


@pytest.fixture
def trained(rnnctl, tmp_path: Path) -> Callable[..., Path]:  # type: ignore[no-untyped-def]
    """A run trained for a step or two."""

    def make(*arguments: object) -> Path:
        path = tmp_path / "run"
        outcome = rnnctl(
            "train", *arguments, "--run", path, "--hidden-size", 8, "--embedding-size", 8,
            "--layers", 1, "--steps", 2, "--batch-size", 8, "--no-diagnose", "--quiet",
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        return path

    return make


def test_the_n_gram_models_order_is_worth_what_it_should_be(
    trained: Callable[..., Path], tmp_path: Path
) -> None:
    """Letters drawn at random cost log2 of how many there are, whatever came before."""
    draw = np.random.default_rng(0)
    text = "".join("abcdefgh"[k] for k in draw.integers(8, size=40_000))
    (tmp_path / "text.txt").write_text(text)
    path = trained(tmp_path / "text.txt", "--bptt", 16)
    measure.measure_baselines(path)
    (row,) = BaselinesResult.model_validate(Run.open(path).read_result("baselines")).rows
    assert (row.name, row.kind) == ("6-gram", "baseline")
    bits = row.numbers["bits_per_byte"].estimate
    assert bits is not None
    assert 3 - 0.02 < bits < 3.4
    assert row.numbers["perplexity"].estimate == pytest.approx(2**bits, rel=0.01)
    assert not math.isnan(bits)


def test_the_n_gram_model_knows_where_documents_begin(
    trained: Callable[..., Path], tmp_path: Path, root: Path
) -> None:
    prose = (root / "data/paragraphs/valid.txt").read_text(encoding="utf-8")
    (tmp_path / "text.txt").write_text(prose[:6000], encoding="utf-8")
    path = trained(tmp_path / "text.txt", "--documents", "paragraph", "--bptt", 16)
    measure.measure_baselines(path)
    (row,) = BaselinesResult.model_validate(Run.open(path).read_result("baselines")).rows
    loaded = load(path)
    end = loaded.tokenizer.boundary_id
    corpus = open_corpus(loaded.config.corpus)
    train, test = (
        [np.append(loaded.tokenizer.encode(one.text), end) for one in corpus.documents(split)]
        for split in ("train", "test")
    )
    own = KneserNey(train, order=6, vocab_size=loaded.tokenizer.vocab_size, boundary_id=end)
    nats = np.concatenate([own.losses(document) for document in test])
    spelled = sum(loaded.tokenizer.spelling_nats(one.text)[1] for one in corpus.documents("test"))
    mean = (nats.sum() + spelled) / nats.size
    assert row.numbers["perplexity"].estimate == pytest.approx(math.exp(mean), rel=1e-9)


def test_the_linear_classifier_reads_the_runs_own_labels(
    trained: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [f"{word} film number {k},{label}" for k in range(60)
            for word, label in (("great", "yes"), ("awful", "no"))]  # fmt: skip
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    path = trained(tmp_path / "reviews.csv", "--task", "classify")
    measure.measure_baselines(path)
    (row,) = BaselinesResult.model_validate(Run.open(path).read_result("baselines")).rows
    assert row.numbers["accuracy"].estimate == 1.0
    assert row.numbers["macro_f1"].estimate == 1.0


@pytest.mark.parametrize("order", ["sorted by label", "labels take turns"])
def test_the_linear_classifier_reads_from_the_whole_of_a_long_corpus(
    trained: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    rows = [f"{word} film number {k},{label}" for k in range(60)
            for word, label in (("great", "yes"), ("awful", "no"))]  # fmt: skip
    if order == "sorted by label":
        rows.sort()
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    path = trained(tmp_path / "reviews.csv", "--task", "classify", "--split", "40/0/60")
    monkeypatch.setattr(measure, "MOST_DOCUMENTS", 24)  # of 48 and 72
    measure.measure_baselines(path)
    (row,) = BaselinesResult.model_validate(Run.open(path).read_result("baselines")).rows
    assert row.numbers["accuracy"].estimate == 1.0


def test_documents_are_taken_evenly_from_everywhere_and_always_the_same() -> None:
    corpus = Corpus.from_documents({"train": [Document(str(k)) for k in range(1000)]})
    taken = [int(one.text) for one in sample_documents(corpus, "train", 300)]
    assert taken == [int(one.text) for one in sample_documents(corpus, "train", 300)]
    assert np.histogram(taken, 100, (0, 1000))[0] == pytest.approx(3, abs=1)
    assert sum(k % 2 for k in taken) == pytest.approx(150, abs=25)
    assert len(list(sample_documents(corpus, "train", 1001))) == 1000


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("gone", "no n-gram or bag of words for comparison: TEXT does not exist"),
        ("altered", "no n-gram or bag of words for comparison: the corpus is not the one that"),
        (
            "one label",
            "no n-gram or bag of words for comparison: it failed with ValueError",
        ),
    ],
)
def test_a_baseline_that_fails_is_a_warning_and_is_tried_again(  # type: ignore[no-untyped-def]
    rnnctl, trained: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    fault: str, why: str,
) -> None:  # fmt: skip
    text = tmp_path / "reviews.csv"
    content = "text,label\n" + "".join(
        f"{word} film number {k},{label}\n"
        for k in range(60)
        for word, label in (("great", "yes"), ("awful", "no"))
    )
    text.write_text(content)
    path = trained(text, "--task", "classify")
    monkeypatch.setattr(speed, "measure", lambda *_, **__: [])
    with monkeypatch.context() as patch:
        if fault == "gone":
            text.unlink()
        elif fault == "altered":
            text.write_text(content + "a film,yes\n")
        else:
            patch.setattr(measure, "MOST_DOCUMENTS", 1)
        failed = rnnctl("compare", path, "--measure", "--format", "json")
    assert failed.code == 0, failed.err
    (warning,) = json.loads(failed.out)["warnings"]
    assert warning["text"].startswith(why.replace("TEXT", str(text)))
    kept = json.loads(rnnctl("compare", path, "--format", "json").out)
    assert kept["warnings"] == [warning]
    text.write_text(content)
    again = json.loads(rnnctl("compare", path, "--measure", "--format", "json").out)
    assert again["warnings"] == []
    assert [row["kind"] for row in again["rows"]] == ["trained", "baseline"]
