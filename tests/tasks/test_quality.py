"""The report of a classifier against counts by hand, scikit-learn, and what is known on paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.metrics import classification_report, f1_score

from rnnctl.config import TrainingConfig
from rnnctl.data.corpus import Corpus
from rnnctl.data.documents import Document, Reading
from rnnctl.machine import Arithmetic
from rnnctl.nn.models import Classifier
from rnnctl.tasks.classification import ClassificationTask, classify_split, label_weights
from rnnctl.tasks.quality import Bag, Calibration, Judged, bag_of_words, nats, remarks
from tests.splits import split_from_ids

NAMES = ("cat", "dog", "hat")


def judged(truth: list[int], predicted: list[int], names: tuple[str, ...] = NAMES) -> Judged:
    """A model that is 3 nats surer of what it predicts."""
    logits = np.eye(len(names))[predicted] * 3.0
    return Judged(logits, np.array(truth), names)


def test_each_label_by_hand() -> None:
    found = judged([0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 0]).classification()
    cat, dog, hat = found.classes
    assert (cat.support, cat.predicted, dog.support, dog.predicted) == (4, 3, 2, 3)
    assert cat.precision == pytest.approx(2 / 3) and cat.recall == pytest.approx(1 / 2)
    assert cat.f1 == pytest.approx(4 / 7) and dog.f1 == pytest.approx(2 / 5)
    assert hat.precision is None and hat.recall is None and hat.f1 is None
    assert found.macro_f1 == pytest.approx((4 / 7 + 2 / 5) / 2)
    assert cat.recall_ci95 == pytest.approx((0.1500, 0.8500), abs=1e-4)  # Wilson, 2 of 4
    assert (found.majority, found.majority_label) == (pytest.approx(4 / 6), "cat")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_each_label_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = [a for a, _ in pairs], [b for _, b in pairs]
    wanted = classification_report(
        truth, predicted, labels=[0, 1, 2], target_names=NAMES, output_dict=True, zero_division=0
    )
    found = judged(truth, predicted).classification()
    for one in found.classes:
        assert one.support == wanted[one.label]["support"]
        for name in ("precision", "recall"):
            assert (getattr(one, name) or 0.0) == pytest.approx(wanted[one.label][name])
        assert (one.f1 or 0.0) == pytest.approx(wanted[one.label]["f1-score"])
    low, high = found.macro_f1_ci95 or (1.0, 0.0)
    assert 0 <= low <= high <= 1
    assert sum(one.n for one in found.confusions) == sum(a != b for a, b in pairs) or (
        len(found.confusions) == 5
    )


def test_the_interval_of_macro_f1_is_that_of_resampled_documents() -> None:
    draw = np.random.default_rng(3)
    truth = draw.integers(0, 3, 200)
    predicted = np.where(draw.random(200) < 0.7, truth, draw.integers(0, 3, 200))
    found = judged(truth.tolist(), predicted.tolist()).classification()
    values = []
    for _ in range(2000):
        some = draw.integers(0, 200, 200)
        values.append(judged_f1(truth[some], predicted[some]))
    wanted = np.percentile(values, (2.5, 97.5))
    assert found.macro_f1_ci95 == pytest.approx(tuple(wanted), abs=0.012)


def judged_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Macro-F1 by its definition."""
    scores = []
    for k in range(3):
        hits = ((truth == k) & (predicted == k)).sum()
        scores.append(2 * hits / max(1, (truth == k).sum() + (predicted == k).sum()))
    return float(np.mean(scores))


def test_a_temperature_mends_a_model_that_is_too_sure() -> None:
    draw = np.random.default_rng(1)
    honest = draw.normal(size=(4000, 3)) * 2
    chances = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
    truth = np.array([draw.choice(3, p=row) for row in chances])
    fitted = Calibration.fit(3.0 * honest, truth)
    assert fitted.temperature == pytest.approx(3.0, rel=0.1)
    found = Judged(3.0 * honest, truth, NAMES, fitted).classification()
    assert found.calibration_error_before is not None and found.loss_before is not None
    assert found.calibration_error < 0.03 < 0.1 < found.calibration_error_before
    assert found.loss_nats < found.loss_before
    plain = Judged(3.0 * honest, truth, NAMES).classification()
    assert plain.confusion == found.confusion  # the answers stay the same
    assert Calibration.fit(honest[:10], truth[:10]) == Calibration()  # too few to tell


def test_a_calibration_comes_back_as_it_was_kept() -> None:
    import json

    kept = Calibration(1.25, 60)
    assert Calibration.from_facts(json.loads(kept.to_bytes())) == kept
    for wrong in (0, -1, "nan", "x"):
        with pytest.raises(ValueError, match=r"temperature|convert"):
            Calibration.from_facts({"temperature": wrong})


@pytest.mark.parametrize("several", [False, True])
def test_a_model_that_is_always_right_on_few_documents_is_made_no_surer_than_they_show(
    several: bool,
) -> None:
    """One mistake in sixty on new text must not cost more than all right answers gain."""
    truth = np.arange(60) % 2
    logits = np.where(truth[:, None] == [0, 1], 3.0, -3.0)
    logits[:20] /= 3
    known = np.stack([truth == 0, truth == 1], 1) if several else truth
    few, many = (
        Calibration.fit(np.tile(logits, (n, 1)), np.concatenate([known] * n)) for n in (1, 500)
    )
    assert 0.3 < few.temperature <= 1.0
    assert many.temperature < few.temperature
    assert few.probabilities(logits)[-1].max() < 0.9999


def test_mistakes_are_shown_with_the_texts_of_which_the_model_was_surest() -> None:
    truth, predicted = [0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 0, 0]
    made = judged(truth, predicted)
    made.logits[2] *= 2
    documents = [Document(f"text {d}", NAMES[label], f"a.csv:{d}") for d, label in enumerate(truth)]
    found = Judged(made.logits, made.truth, NAMES, documents=lambda: documents).classification()
    first, second = found.confusions
    assert (first.truth, first.predicted, first.n) == ("cat", "dog", 4)
    assert [one.source for one in first.examples] == ["a.csv:2", "a.csv:0", "a.csv:1"]
    assert first.examples[0].text == "text 2"
    assert (second.truth, second.n) == ("dog", 1)


def test_what_is_no_better_than_simple_models_is_said_to_be_so() -> None:
    truth = [0] * 13 + [1] * 7
    poor = judged(truth, [0] * 20)
    codes = [one.code for one in remarks(poor.classification(), "the test documents", ["more"])]
    assert codes == ["not_better_than_majority"]
    bag = Judged(poor.logits, poor.truth, NAMES, bag=np.array(truth), bag_trained_on=9)
    first, second = remarks(bag.classification(), "the test documents", ["--pool meanmax"])
    assert second.code == "not_better_than_bag_of_words"
    assert "100.0 % of the test documents" in second.text and "--pool meanmax" in second.text
    assert "--pool" not in first.text
    good = judged([0, 1] * 10, [0, 1] * 10)
    assert not list(remarks(good.classification(), "the test documents", []))
    perfect = Judged(good.logits, good.truth, NAMES, bag=good.truth, bag_trained_on=9)
    assert not list(remarks(perfect.classification(), "the test documents", ["more"]))
    rare = judged([0] * 60 + [1], [0] * 60 + [1]).classification()
    (said,) = remarks(rare, "the test documents", [])
    assert "not measurably more than always" in said.text


def test_a_bag_of_words_is_asked_once_for_the_same_texts(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    from rnnctl.baselines import linear

    texts = [
        (f"{'good' if k % 2 else 'bad'} thing {k}", "no" if k % 2 else "yes") for k in range(40)
    ]
    documents = [Document(text, label) for text, label in texts]
    corpus = Corpus.from_documents({"train": documents})
    assert bag_of_words(corpus, ("no", "yes"), [lambda: documents], Path(str(tmp_path))) is None
    corpus = Corpus(corpus.parts, False, "", "f", ("no", "yes"), reading=Reading("csv"))
    (bag,) = bag_of_words(corpus, ("no", "yes"), [lambda: documents], Path(str(tmp_path))) or []
    assert isinstance(bag, Bag) and bag.trained_on == 40
    assert bag.answers.tolist() == [int(label == "yes") for _, label in texts]
    monkeypatch.setattr(linear, "NaiveBayesLinear", None)
    (again,) = bag_of_words(corpus, ("no", "yes"), [lambda: documents], Path(str(tmp_path))) or []
    assert again.answers.tolist() == bag.answers.tolist()


def test_a_loss_is_the_negative_log_probability() -> None:
    logits = np.log(np.array([[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]]))
    np.testing.assert_allclose(nats(logits, np.array([2, 1])), -np.log([0.5, 0.2]))


@pytest.mark.parametrize("calibrate", [True, False])
@pytest.mark.parametrize("weights", [None, "balanced"])
def test_a_validation_does_not_ask_how_sure_a_model_is_where_that_is_fitted(
    calibrate: bool, weights: str | None
) -> None:
    """Logits times three are the same answers; scipy finds the smallest weighted loss."""
    draw = np.random.default_rng(0)
    truth = (draw.random(400) < 0.2).astype(np.int64)
    ids = [np.array([2 + label if draw.random() < 0.8 else 3 - label, 0]) for label in truth]
    split = split_from_ids(ids, labels=truth)
    torch.manual_seed(0)
    model = Classifier(
        vocab_size=4, embedding_size=3, cell="gru", hidden_size=5, num_layers=1, num_classes=2
    )
    task = ClassificationTask(
        model,
        split,
        split,
        TrainingConfig(calibrate=calibrate, class_weights=weights),
        Arithmetic(torch.device("cpu"), bf16=False),
        boundary_id=0,
        label_names=("a", "b"),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        (task.loss(task.next_batch(), None).total / 32).backward()
        optimizer.step()
    values = []
    for _ in range(2):
        found = task.validate(lambda: False)
        assert found is not None
        values.append(found.value)
        answers = classify_split(model, split, 0, task.arithmetic)
        assert answers is not None
        f1 = f1_score(truth, answers.argmax(1), average="macro")
        assert found.chosen_by == (pytest.approx(-f1) if weights else found.value)
        with torch.no_grad():
            model.output.weight *= 3
            model.output.bias *= 3
    assert (values[0] == pytest.approx(values[1], rel=2e-3)) == calibrate
    logits = classify_split(model, split, 0, task.arithmetic)
    assert logits is not None
    each = label_weights(weights, ("a", "b"), np.bincount(truth))[truth]

    def loss(temperature: float) -> float:
        return float(np.average(nats(logits / temperature, truth), weights=each))

    best = minimize_scalar(loss, bounds=(0.1, 100), method="bounded").fun
    wanted = best if calibrate else loss(9.0)  # the weights were tripled twice
    assert values[0] == pytest.approx(wanted, rel=2e-3)
