"""Memory tasks as corpora: the documents are what the specification says, and so is chance."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from rnnctl.data import bench_tasks
from rnnctl.errors import UsageError


def train(spec: str) -> list[str]:
    return [document.text for document in bench_tasks.task_documents(spec)["train"]]


def test_recall_begins_with_its_label_and_waits_lag_tokens() -> None:
    spec = "task:recall:lag=7,symbols=4,train=400,valid=3,test=5"
    splits = bench_tasks.task_documents(spec)
    assert {name: len(documents) for name, documents in splits.items()} == {
        "train": 400,
        "valid": 3,
        "test": 5,
    }
    for document in splits["train"]:
        assert document.label == document.text[0]
        assert len(document.text) == 8
        assert document.text[1:].isdigit()
    counts = Counter(document.label for document in splits["train"])
    assert set(counts) == set("abcd")
    assert max(counts.values()) < 140


def test_temporal_order_is_the_order_of_its_marks() -> None:
    for document in bench_tasks.task_documents("task:temporal-order:length=50:train=300")["train"]:
        places = [at for at, char in enumerate(document.text) if char in "XY"]
        assert len(document.text) == 50
        assert "".join(document.text[at] for at in places) == document.label
        assert 5 <= places[0] < 10
        assert 25 <= places[1] < 30


def test_copy_repeats_its_symbols_after_the_delay() -> None:
    for text in train("task:copy:lag=9,train=50"):
        first, second = text.split("." * 9 + ":")
        assert first == second
        assert len(first) == 10


def test_paragraph_recall_says_the_same_at_both_ends_and_nothing_of_it_between() -> None:
    for text in train("task:paragraph-recall:words=23,train=50"):
        words = text.split()
        assert words[:5] == words[-5:]
        between = words[5:-5]
        assert not set(between) & {*bench_tasks.THINGS, *bench_tasks.COLOURS}
        assert len([word for word in between if word != "."]) == 25


def test_copy_lag_repeats_with_probability_q() -> None:
    (text,) = train("task:copy-lag:lag=13,symbols=20,q=0.9,train=20000")
    assert len(text) == 20_000
    same = sum(a == b for a, b in zip(text, text[13:], strict=False)) / (20_000 - 13)
    assert same == pytest.approx(0.905, abs=0.01)
    other = sum(a == b for a, b in zip(text, text[12:], strict=False)) / (20_000 - 12)
    assert other < 0.1
    assert bench_tasks.is_running("task:copy-lag")
    assert not bench_tasks.is_running("task:copy")


def test_chance_of_copy_lag_is_the_entropy_of_the_source() -> None:
    """The values that follow on paper: ln 20 without, 0.5937 with memory."""
    found = bench_tasks.chance("task:copy-lag:lag=30,symbols=20,q=0.9")
    assert found["loss_nats_memoryless"] == pytest.approx(math.log(20))
    assert found["loss_nats_best"] == pytest.approx(0.5937, abs=5e-5)
    certain = bench_tasks.chance("task:copy-lag:symbols=4,q=1")
    assert certain["loss_nats_best"] == 0


def test_chance_of_a_document_is_its_own_information() -> None:
    """Nats per token times tokens: ten symbols known, ten guessed twice."""
    tokens = len(train("task:copy:lag=5,train=1")[0]) + 1
    found = bench_tasks.chance("task:copy:lag=5")
    assert found["loss_nats_best"] * tokens == pytest.approx(10 * math.log(8))
    assert found["loss_nats_memoryless"] * tokens == pytest.approx(20 * math.log(8))
    text = train("task:paragraph-recall:words=12,train=1")[0]
    found = bench_tasks.chance("task:paragraph-recall:words=12")
    tokens = len(text.split()) + 1
    gap = (found["loss_nats_memoryless"] - found["loss_nats_best"]) * tokens
    assert gap == pytest.approx(2 * math.log(8))
    assert bench_tasks.chance("task:recall:symbols=5")["accuracy"] == 0.2


def test_the_seed_decides_everything_and_splits_differ() -> None:
    spec = "task:recall:lag=30,train=50,valid=50,test=50"
    first, again = bench_tasks.task_documents(spec), bench_tasks.task_documents(spec)
    assert first == again
    other = bench_tasks.task_documents(spec + ",seed=1")
    assert first["train"] != other["train"]
    texts = [{document.text for document in part} for part in first.values()]
    assert not texts[0] & texts[1]
    assert not texts[0] & texts[2]


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("task:recal", "no task 'recal'", "did you mean 'recall'"),
        ("task:", "no task ''", "known: recall"),
        ("task:recall:lags=3", "no option 'lags'", "did you mean 'lag'"),
        ("task:recall:lag=x", "not a whole number: 'x'", ""),
        ("task:recall:lag=1.5", "not a whole number", ""),
        ("task:recall:lag", "not a whole number: ''", ""),
        ("task:recall:lag=-1", "outside 0 to", ""),
        ("task:copy-lag:q=2", "outside 0 to 1", ""),
        ("task:copy-lag:q=nan", "outside 0 to 1", ""),
    ],
)
def test_a_wrong_specification_says_what_is_wrong(spec: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        bench_tasks.task_documents(spec)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "name", ["recall", "temporal-order", "copy", "paragraph-recall", "copy-lag"]
)
def test_every_task_has_defaults_that_work(name: str) -> None:
    spec = f"task:{name}:train=2,valid=1,test=0"
    documents = bench_tasks.task_documents(spec)
    assert documents["test"] == []
    labelled = documents["train"][0].label is not None
    assert labelled == (bench_tasks.trained_as(spec) == "classify")
    assert bench_tasks.level(spec) in ("char", "word")
    assert "accuracy" in bench_tasks.chance(spec)
    model = bench_tasks.recipe(spec)["model"]
    assert labelled == ((model.get("pool"), model.get("bidirectional")) == ("last", False))
