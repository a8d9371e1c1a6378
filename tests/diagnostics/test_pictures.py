"""What moved a prediction: against finite differences, against reading again, on a page."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnctl.data.documents import Document
from rnnctl.diagnostics import pictures as seen
from rnnctl.diagnostics import units
from rnnctl.diagnostics.material import Text
from rnnctl.diagnostics.subject import ExactModel
from rnnctl.errors import UsageError
from rnnctl.inference.classify import Predictor
from rnnctl.inference.score import Scorer
from rnnctl.inference.words import Plan, WordScorer
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.reports.page import diagnosis
from rnnctl.reports.pictures import arrived
from rnnctl.results.pictures import Pictures
from rnnctl.tasks.loading import Loaded, load

TEXT = "The  cat sat.\n\nNo cat sat on <b>me</b>, said the cat; nor did it"
Rnnctl = Callable[..., Any]


@pytest.fixture(scope="module")
def runs(make_run: Callable[..., Path]) -> dict[str, Path]:
    """A run of each cell, with two layers, and one of words."""
    text = TEXT * 3 + "abcdefghijklmnopqrstuvwxyz"
    made = {cell: make_run(text, cell=cell, num_layers=2) for cell in ("rnn", "lstm", "gru")}
    return {**made, "word": make_run(text, cell="gru", level="word")}


def opened(runs: dict[str, Path], *names: str) -> list[Loaded]:
    return [load(runs[name]) for name in names]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b", [("", "a"), (" ", "b")]),
        ("  a\n\tbc d \n", [("  ", "a"), ("\n\t", "bc"), (" ", "d")]),
        ("日本 x", [("", "日本"), (" ", "x")]),
        (" \n", []),
    ],
)
def test_words_are_what_stands_between_whitespace(text: str, words: list[tuple[str, str]]) -> None:
    assert [(word.space, word.text) for word in seen.words_of(text)] == words


@pytest.mark.parametrize("level", ["char", "byte", "word", "bpe"])
def test_every_token_belongs_to_the_word_it_is_in(
    make_run: Callable[..., Path], level: str
) -> None:
    text = "Æ one two—three\n 日本語 four. five"
    run = load(make_run(text * 20, level=level, vocab_size=300 if level == "bpe" else None))
    words = seen.words_of(text)
    read = seen.reading(run.tokenizer, words)
    assert (np.diff(read.owner) >= 0).all()
    for j, word in enumerate(words):
        ids = read.ids[read.owner == j]
        written = b"".join(run.tokenizer.token_bytes(int(token)) for token in ids).decode()
        assert written.strip() == word.text


def log_chance(exact: ExactModel, vectors: Tensor, read: seen.Reading, word: int) -> float:
    """ln p(word), from the input vectors (T, E), by reading on: no derivative is used."""
    model = exact.model
    assert isinstance(model, LanguageModel)
    with torch.no_grad():
        outputs, _ = model.recurrent(vectors[:, None])
        chances = model.logits(model.projection(outputs[:, 0])).log_softmax(-1)
    of_word = np.flatnonzero(read.owner == word)
    return float(sum(chances[t, read.ids[t]] for t in of_word.tolist()))


FIRST, SECOND = "Ann met Bob. ", "Then it rained and "
PASSAGES = [f"{FIRST * (k % 2)}{SECOND * 6}the end came {k} times." for k in range(5)]


def of_documents(*texts: str) -> Text:
    return Text([Document(text) for text in texts], False, "held-out text")


@pytest.mark.parametrize(
    ("worths", "chosen"),
    [([[0.0, 1.0, 0.5, 5.0], [3.0, 5.0, 5.0, 5.5]], 2), ([[3.0, 5.0, -9.0, 5.5]], 3),
     ([[-9.0, 1.0, 0.0, 0.0], [0.0, 2.5, 0.0, 0.0]], 1)],
)  # fmt: skip
def test_the_passage_is_the_one_that_the_runs_value_most_differently(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, worths: list[list[float]], chosen: int
) -> None:
    """Of one run the one whose beginning counts most; what hurts counts as nothing."""
    given = iter(worths)
    monkeypatch.setattr(seen, "_worths", lambda run, passages: np.array(next(given)))
    texts = PASSAGES[: len(worths[0])]
    found = seen.passage(of_documents(*texts), opened(runs, "lstm", "rnn")[: len(worths)])
    assert "".join(word.space + word.text for word in found) == texts[chosen]


@pytest.mark.parametrize("name", ["gru", "word"])
def test_a_first_sentence_is_worth_what_the_last_third_loses_without_it(
    runs: dict[str, Path], name: str
) -> None:
    """By reading the text, and the text without its first sentence, with `score`."""
    (run,) = opened(runs, name)
    text = f"{FIRST}{SECOND * 3}Ann came."
    words = seen.words_of(text)
    (worth,) = seen._worths(run, [words])
    scorer = WordScorer(Scorer(run, ends=False), Plan(space="before"))

    def nats(parts: str) -> list[float]:
        (scored,) = scorer.score([parts])
        assert isinstance(scored, list)
        return [word.nats or 0.0 for word in scored]

    last = len(words) - 2 * len(words) // 3
    with_it, without = nats(text)[-last:], nats(text[len(FIRST) - 1 :])[-last:]
    gains = [min(3.0, max(-3.0, b - a)) for a, b in zip(with_it, without, strict=True)]
    assert worth == pytest.approx(sum(gains), abs=5e-3)


def test_passages_are_documents_or_begin_at_paragraphs(runs: dict[str, Path]) -> None:
    many = [f"{k} " + SECOND * 8 for k in range(500)]
    assert len(seen._candidates(of_documents(*many, "short"))) <= seen.CANDIDATES
    assert seen._candidates(of_documents("a b", "a b c")) == ["a b c"]
    running = Text([Document("\n\n".join(many))], True, "held-out text")
    begun = seen._candidates(running)
    assert len(begun) > 8 and all(text.split()[0].isdigit() for text in begun)
    assert seen.passage(of_documents("word"), opened(runs, "gru")) == ()
    assert seen._first_sentence(seen.words_of("He said “no.” And left, and then came back.")) == 3
    assert seen._first_sentence(seen.words_of("no end at all in here")) == 2


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_gradients_are_those_of_finite_differences(runs: dict[str, Path], cell: str) -> None:
    (run,) = opened(runs, cell)
    words = seen.words_of("No cat sat on me")
    read = seen.reading(run.tokenizer, words)
    model = run.model
    assert isinstance(model, LanguageModel)
    exact = ExactModel(model)
    trace = exact.trace(torch.from_numpy(read.inputs)[:, None])
    lengths = seen.gradient_lengths(exact, trace, read, len(words))
    vectors = exact.model.embed(torch.from_numpy(read.inputs)).detach()
    step, target = 1e-5, 4
    expected = np.zeros(len(words))
    for t in range(1, len(read.ids)):
        for k in range(vectors.shape[1]):
            moved = torch.zeros_like(vectors)
            moved[t, k] = step
            after = log_chance(exact, vectors + moved, read, target)
            before = log_chance(exact, vectors - moved, read, target)
            expected[read.owner[t - 1]] += ((after - before) / (2 * step)) ** 2
    assert lengths[:, target] == pytest.approx(np.sqrt(expected), rel=1e-5, abs=1e-9)
    shares, total = seen.gradient_shares(exact, trace, read, len(words))
    assert total[target] == pytest.approx(np.sqrt(expected)[:target].sum(), rel=1e-5)
    assert shares.sum(axis=0)[1:] == pytest.approx(np.ones(len(words) - 1))
    assert np.tril(shares).max() == 0


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "word"])
def test_a_word_left_out_is_a_text_without_it(runs: dict[str, Path], name: str) -> None:
    (run,) = opened(runs, name)
    found = seen.pictures([run], TEXT)
    scorer = WordScorer(Scorer(run, ends=False), Plan(space="before"))
    words = [word.space + word.text for word in found.words]

    def nats(parts: list[str]) -> list[float]:
        (scored,) = scorer.score(["".join(parts)])
        assert isinstance(scored, list)
        return [word.nats or 0.0 for word in scored]

    whole = nats(words)
    seen_here = found.runs[0].influence
    assert [-value for value in seen_here.log_chance] == pytest.approx(whole, abs=2e-3)
    for i in (0, 3, 8):
        without = nats(words[:i] + words[i + 1 :])
        for j in range(i + 1, len(words)):
            expected = without[j - 1] - whole[j]
            assert seen_here.left_out[j][i] == pytest.approx(expected, abs=3e-3)


def test_all_runs_are_shown_with_the_same_words(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "LONG", (30, 90))
    found = seen.pictures(opened(runs, "rnn", "word", "gru"), TEXT * 30)
    assert found.warnings[0].code == "CUT"
    assert len(found.words) <= seen.LONG[0]
    for run in found.runs:
        assert len(run.tokens) == len(run.owner) <= seen.LONG[1]
        assert max(run.owner) == len(found.words) - 1
        assert [len(row) for row in run.influence.share] == list(range(len(found.words)))
    assert len({run.name for run in found.runs}) == 3


def test_the_text_as_data(runs: dict[str, Path], rnnctl: Rnnctl) -> None:
    done = rnnctl("diagnose", runs["lstm"], runs["rnn"], "--show", TEXT, "--format", "json")
    assert done.code == 0, done.err
    found = Pictures.model_validate_json(done.out)
    assert [run.cell for run in found.runs] == ["lstm", "rnn"]
    assert found.text == TEXT
    done = rnnctl("diagnose", runs["lstm"], "--show", TEXT, "--format", "markdown")
    assert done.code == 0
    assert "| run | word |" in done.out


def test_words_of_any_length_and_kind_stay_on_the_page(
    runs: dict[str, Path], rnnctl: Rnnctl, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    odd = "שלום 😀 \x1b[31mred " + "x" * 700 + ' \u202eevil "日本語" end </script>'
    done = rnnctl("diagnose", runs["rnn"], "--show", odd, "--html", page)
    assert done.code == 0, done.err
    tab, said, _ = open_page(page, viewport={"width": 380, "height": 740})
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert tab.evaluate(overflow) <= 0
    assert said == []
    tab.close()
    done = rnnctl("diagnose", runs["rnn"], "--show", "x" * 2000 + " y z", "--html", page)
    assert (done.code, "the first two words" in done.err) == (2, True)


def test_a_text_of_one_word_is_refused(runs: dict[str, Path], rnnctl: Rnnctl) -> None:
    done = rnnctl("diagnose", runs["lstm"], "--show", "No", "--format", "json")
    assert done.code == 2
    assert "fewer than two words" in done.err


# -- units and the gradient on its way back -------------------------------------------------------


def test_what_a_unit_knows_is_mutual_information() -> None:
    """Against scikit-learn's, with the correction for chance taken off by hand."""
    from sklearn.metrics import mutual_info_score

    draw = np.random.default_rng(0)
    of_text = draw.integers(0, 3, 4000)
    values = np.stack([of_text + 0.1 * draw.normal(size=4000), draw.normal(size=4000)], axis=1)
    state = units.classes(values)
    bits, entropy = units.information(state, of_text)
    assert entropy == pytest.approx(np.log2(3), abs=0.01)
    chance = (units.CLASSES - 1) * 2 / (2 * 4000 * np.log(2))
    for unit in range(2):
        plain = mutual_info_score(state[:, unit], of_text) / np.log(2)
        assert bits[unit] == pytest.approx(max(0.0, plain - chance), abs=1e-6)
    shares = units.known(values, {"it": of_text.astype(float), "never": np.zeros(4000)})
    assert list(shares) == ["it"]
    assert shares["it"][0] > 0.75
    assert shares["it"][1] < 0.01


def test_properties_of_places_in_a_text() -> None:
    text = 'He said "No 7" \n\nShe'
    found = {name: measure(text) for name, measure in units.PROPERTIES.items()}
    assert found["in a quotation"].tolist() == [0] * 8 + [1] * 5 + [0] * 7
    assert found["digit"].sum() == 1
    assert found["capital letter"].tolist() == [float(char.isupper()) for char in text]
    assert found["place in the line"].tolist() == [*range(1, 16), 0, 0, 1, 2, 3]
    assert found["place in the word"][:4].tolist() == [1, 2, 0, 1]


def test_lasting_is_where_the_autocorrelation_has_fallen() -> None:
    """An AR(1) process of rate a has autocorrelation a ** lag: below 1/e at -1 / ln a."""
    draw = np.random.default_rng(1)
    made = np.zeros((40_000, 2))
    for t in range(1, len(made)):
        made[t] = np.array([0.9, 0.0]) * made[t - 1] + draw.normal(size=2)
    slow, fast = units.lasting(made)
    assert slow == pytest.approx(-1 / np.log(0.9), abs=1.5)
    assert fast == 1


def test_a_unit_is_what_the_equations_say(runs: dict[str, Path]) -> None:
    lstm, gru = seen.pictures(opened(runs, "lstm", "gru"), TEXT).runs
    assert lstm.units is not None and gru.units is not None
    at = {name: np.array(rows) for name, rows in lstm.units.values.items()}
    cell = at["forget"][:, 1:] * at["c"][:, :-1] + at["input"][:, 1:] * at["candidate"][:, 1:]
    assert at["c"][:, 1:] == pytest.approx(cell, abs=2e-3)
    assert at["h"] == pytest.approx(at["output"] * np.tanh(at["c"]), abs=2e-3)
    at = {name: np.array(rows) for name, rows in gru.units.values.items()}
    state = at["keep"][:, 1:] * at["h"][:, :-1] + (1 - at["keep"][:, 1:]) * at["candidate"][:, 1:]
    assert at["h"][:, 1:] == pytest.approx(state, abs=2e-3)
    for run in (lstm, gru):
        assert run.units.of == 24
        assert len(run.units.units) == len(at["h"])
        assert {len(rows[0]) for rows in run.units.values.values()} == {len(run.tokens)}


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_the_loss_s_gradient_is_that_of_finite_differences(
    make_run: Callable[..., Path], cell: str
) -> None:
    run = load(make_run(TEXT, cell=cell))  # of one layer: what is carried on is what it puts out
    read = seen.reading(run.tokenizer, seen.words_of("No cat"))
    model = run.model
    assert isinstance(model, LanguageModel)
    exact = ExactModel(model)
    trace = exact.trace(torch.from_numpy(read.inputs)[:, None])
    found = seen.loss_gradient(exact, trace, read)
    t, step = 1, 1e-5
    state = trace.state(t)
    rest = torch.from_numpy(read.inputs[t + 1 :])[:, None]

    def nats(state: tuple[Tensor, ...]) -> float:
        outputs = exact.trace(rest, state).outputs[:, 0]
        chances = exact.log_chances(outputs)[range(len(rest)), read.ids[t + 1 :]]
        return float(-chances[read.owner[t + 1 :] == 1].sum())

    for part, name in enumerate(found):
        total = 0.0
        for place in np.ndindex(*state[part].shape):
            ends = []
            for sign in (1, -1):
                moved = [one.clone() for one in state]
                moved[part][place] += sign * step
                ends.append(nats(tuple(moved)))
            total += ((ends[0] - ends[1]) / (2 * step)) ** 2
        assert found[name][t] == pytest.approx(np.sqrt(total), rel=1e-5)


def test_before_training_are_the_weights_that_were_drawn(rnnctl: Rnnctl, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT * 60, encoding="utf-8")
    run = tmp_path / "run"
    sizes = ("--hidden-size", "8", "--embedding-size", "4", "--snapshots", "0", "--steps", "3")
    done = rnnctl("train", tmp_path / "text.txt", "--run", run, *sizes, "--level", "char")
    assert done.code == 0, done.err
    opened_run = load(run)
    first = load(run, snapshot=opened_run.run.snapshots()[0]).model.state_dict()
    again = seen.drawn_again(opened_run).state_dict()
    assert [name for name in first if not torch.equal(first[name], again[name])] in (
        [], ["decoder.bias"],
    )  # fmt: skip
    (shown,) = seen.pictures([opened_run]).runs
    assert shown.gradient[0].title == seen.BEFORE
    assert shown.gradient[-1].tokens is None


def test_numbers_that_overflow_are_refused_and_no_defect(
    make_run: Callable[..., Path], rnnctl: Rnnctl, tmp_path: Path
) -> None:
    run = make_run(TEXT, cell="rnn", nonlinearity="relu", scale=60.0)
    done = rnnctl("diagnose", run, "--show", TEXT * 8, "--html", tmp_path / "page.html")
    assert done.code != 0
    assert "overflow" in done.err
    assert "defect" not in done.err
    assert not list(tmp_path.iterdir())


# -- classifiers ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifiers(make_run: Callable[..., Path]) -> dict[str, Path]:
    def made(**more: Any) -> Path:
        return make_run(TEXT * 3, labels=("bad", "good", "so so"), scale=2.0, **more)

    return {
        "last": made(cell="lstm"),
        "mean": made(cell="gru", pool="mean"),
        "both": made(cell="gru", bidirectional=True, pool="meanmax"),
    }


@pytest.mark.parametrize("name", ["last", "mean", "both"])
def test_what_moved_an_answer(classifiers: dict[str, Path], name: str) -> None:
    """Leaving out against classifying anew, the gradient against finite differences."""
    run = load(classifiers[name])
    found = seen.pictures([run], "No cat sat on me")
    (shown,) = found.runs
    assert shown.answer is not None
    label = run.labels.index(shown.answer)
    predictor = Predictor(run)
    words = [word.space + word.text for word in found.words]
    texts = ["".join(words), *("".join(words[:i] + words[i + 1 :]) for i in range(len(words)))]
    chances = [math.log(one.probabilities[label]) for one in predictor.predict(texts)]
    expected = [chances[0] - one for one in chances[1:]]
    assert shown.influence.left_out == (pytest.approx(expected, abs=2e-3),)
    assert sum(shown.influence.share[0]) == pytest.approx(1, abs=1e-3)
    read = seen.reading(run.tokenizer, found.words)
    model = ExactModel(run.model).model
    lengths = seen.answer_lengths(model, read, len(words), label)
    assert isinstance(model, Classifier)
    vectors = model.embed(torch.from_numpy(read.whole)[:, None]).detach()
    length = torch.tensor([len(vectors)])
    squares = np.zeros(len(words))
    for t in range(len(read.ids)):
        for k in range(vectors.shape[2]):
            ends = []
            for sign in (1, -1):
                moved = vectors.clone()
                moved[t, 0, k] += sign * 1e-5
                with torch.no_grad():
                    outputs, state = model.recurrent(moved, lengths=length)
                    pooled = model.readout(outputs, state, length)
                    ends.append(float(model.head(pooled).log_softmax(-1)[0, label]))
            squares[read.owner[t]] += ((ends[0] - ends[1]) / 2e-5) ** 2
    assert lengths == pytest.approx(np.sqrt(squares), rel=1e-4, abs=1e-8)
    assert (shown.units is None) == (name == "both")


def test_a_classifier_s_page(
    classifiers: dict[str, Path], open_page: Callable[..., Any], tmp_path: Path, rnnctl: Rnnctl
) -> None:
    page = tmp_path / "page.html"
    for name, sections in (("both", 1), ("last", 3)):
        done = rnnctl("diagnose", classifiers[name], "--show", TEXT, "--html", page)
        assert done.code == 0, done.err
        tab, said, _ = open_page(page, viewport={"width": 380, "height": 740})
        assert tab.locator(".picture").count() == sections
        assert "Answer:" in tab.locator("#words .said").inner_text()
        assert "→" in tab.locator("#words .answer").inner_text()
        tab.locator("#words .word").first.click()
        tab.keyboard.press("ArrowRight")
        label = tab.evaluate("document.activeElement.getAttribute('aria-label')")
        assert label.startswith("cat, ")
        assert said == []
        tab.close()


def test_runs_of_two_kinds_are_not_shown_together(
    classifiers: dict[str, Path], runs: dict[str, Path]
) -> None:
    with pytest.raises(UsageError, match="cannot be shown together"):
        seen.pictures([load(runs["rnn"]), load(classifiers["last"])], TEXT)


# -- the page -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown(runs: dict[str, Path]) -> Pictures:
    return seen.pictures(opened(runs, "rnn", "lstm", "gru"), TEXT)


@pytest.fixture(scope="module")
def page_file(shown: Pictures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(diagnosis(None, shown), encoding="utf-8")
    return path


def test_the_page_is_one_file_that_asks_for_nothing(page_file: Path) -> None:
    html = page_file.read_text("utf-8")
    assert len(html) < 3_000_000
    assert "default-src 'none'" in html
    assert "unsafe-eval" not in html
    assert "<b>me</b>" not in html
    assert not re.search(r"(?:src|href|action)=\"(?!data:|#)", html)
    held = re.search(r'id="pictures">(.*?)</script>', html, re.DOTALL)
    assert held is not None
    assert len(json.loads(held.group(1))["runs"]) == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_are_chosen_by_keys_and_shaded_in_every_run(
    open_page: Callable[..., Any], page_file: Path, shown: Pictures, scheme: str
) -> None:
    size = {"width": 380, "height": 740}
    tab, said, asked = open_page(page_file, viewport=size, color_scheme=scheme)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert tab.evaluate(overflow) <= 0
    while tab.evaluate("document.activeElement.getAttribute('role')") != "option":
        tab.keyboard.press("Tab")
    tab.keyboard.press("Home")
    for _ in range(4):
        tab.keyboard.press("ArrowRight")
    chosen = tab.locator("#words [aria-selected=true]")
    assert [text.split("\n")[0] for text in chosen.all_inner_texts()] == ["cat"] * 3
    assert tab.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    summary = tab.locator("#words-summary").inner_text()
    for run in shown.runs:
        far = [next((i for i, nats in enumerate(row) if abs(nats) >= math.log(1.05)), j)
               for j, row in enumerate(run.influence.left_out)]  # fmt: skip
        mean = sum(j - i for j, i in enumerate(far)) / (len(far) - 1)
        assert f"{run.cell.upper()} {mean:.1f}" in summary
    tab.locator("[data-how=share]").press("Enter")
    assert tab.locator("[data-how=share]").get_attribute("aria-pressed") == "true"
    labels = tab.locator("#words .run:first-child .word").evaluate_all(
        "words => words.map(word => word.getAttribute('aria-label'))"
    )
    shares = [float(x) for x in re.findall(r"([\d.]+) % of the gradient", " ".join(labels))]
    assert sum(shares) == pytest.approx(100, abs=1.5)
    assert "not read yet" in labels[5]
    assert said == []
    assert asked == []
    tab.close()


def test_units_and_the_gradient_answer_to_keys(
    open_page: Callable[..., Any], page_file: Path
) -> None:
    tab, said, _ = open_page(page_file, viewport={"width": 1200, "height": 900})
    told = tab.locator("#units-said")
    before = told.inner_text()
    tab.locator("#units-map").focus()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("End")
    assert told.inner_text() != before
    assert "“t”" in told.inner_text()
    assert tab.locator("#units-trace svg .here").count() == 1
    tab.locator("#units-trace").focus()
    for key in ("Home", "Shift+ArrowRight", "Shift+ArrowRight"):
        tab.keyboard.press(key)
    assert tab.locator("#units-trace svg .stretch").count() >= 3
    tab.locator("#units-run button", has_text="GRU").press("Enter")
    assert tab.locator("#units-array button").count() == 4
    assert "h = z" in tab.locator("#units-equation").inner_text()
    tab.locator("#units-run button", has_text="RNN").press("Enter")
    assert "no gates" in told.inner_text()
    tab.locator("#units-run button", has_text="LSTM").press("Enter")
    assert "forget gate" in tab.locator("#units-array [aria-pressed=true]").inner_text()
    tab.locator("#gradient-lag").focus()
    first = tab.locator("#gradient-said").inner_text()
    tab.keyboard.press("ArrowRight")
    assert tab.locator("#gradient-said").inner_text() != first
    assert "before training" in tab.locator("#gradient-title-of").inner_text()
    tab.locator("#gradient-stage").press("End")
    assert "after training" in tab.locator("#gradient-title-of").inner_text()
    tab.locator("#gradient-stage").press("Home")
    assert tab.locator("#gradient-chart .line").count() >= 4
    assert "before training" in tab.locator("#gradient-when").inner_text()
    for link in tab.locator(".why a").evaluate_all("links => links.map(one => one.hash)"):
        assert tab.locator(link).count() == 1
    assert said == []
    tab.close()


def test_why_speaks_of_the_chosen_point_of_training(
    open_page: Callable[..., Any], page_file: Path, shown: Pictures
) -> None:
    """The equation has the numbers of the weights and the distance that the sliders choose."""
    tab, _, _ = open_page(page_file, viewport={"width": 1200, "height": 900})
    for key, place in (("Home", 0), ("End", -1)):
        tab.locator("#gradient-stage").press(key)
        tab.locator("#gradient-lag").press("Home")
        tab.locator("#gradient-lag").press("ArrowRight")
        lines = tab.locator("#gradient-equation .line").all_inner_texts()
        assert shown.runs[0].gradient[place].title in tab.locator("#gradient-when").inner_text()
        for line, run in zip(lines, shown.runs, strict=True):
            stage = run.gradient[place]
            assert (stage.keeps is None) == (run.cell == "rnn")
            for size in stage.keeps or ():
                assert f"{size:.2f}" in line
            for state in stage.norms:
                left = arrived(run, stage, state)
                written = re.search(rf"that of {state} by ([\d.]+)¹ [=≈]", line)
                assert written is not None
                assert float(written[1]) == pytest.approx(left[2], abs=0.0051)
    tab.close()


def test_large_numbers_are_written_for_people(
    open_page: Callable[..., Any], shown: Pictures, tmp_path: Path
) -> None:
    """And the equation is that of the earliest word that counts, not of the strongest one."""
    run = shown.runs[0]
    steps = len(run.gradient[-1].norms["h"])
    rows = [[0.0] * j for j in range(len(shown.words))]
    for j in range(3, len(rows)):
        rows[j][1], rows[j][2], rows[j][j - 1] = 0.01, 0.06, -13.5
    moved = run.influence.model_copy(update={"left_out": tuple(map(tuple, rows))})
    for size, said_of_gradient in ((1.3, "130 %"), (52.0, "52 times"), (1e12, "a million times")):
        norms = {"h": (*[size] * (steps - 4), *[1.0] * 4)}
        stage = run.gradient[-1].model_copy(update={"norms": norms})
        one = run.model_copy(update={"gradient": (stage,), "influence": moved})
        pictures = shown.model_copy(update={"runs": (one,), "focus": 8})
        file = tmp_path / "page.html"
        file.write_text(diagnosis(None, pictures), "utf-8")
        tab, said, _ = open_page(file)
        assert said_of_gradient in tab.locator("#gradient-said").inner_text()
        body = tab.locator("main").inner_text()
        assert not re.search(r"\de[+-]\d", body)
        assert "over ÷1,000" in tab.locator("#words-runs").inner_text()
        label = tab.locator("#words .word").nth(7).get_attribute("aria-label")
        assert label.endswith("makes it over 1,000 times less likely")
        equation = tab.locator("#words-equation").inner_text()
        assert f"without {shown.words[2].text})" in equation
        assert f"×1.1; “{shown.words[2].text}” is the furthest word that counts, 6 back" in equation
        assert said == []
        tab.close()


def test_a_mean_gate_is_that_of_the_trained_weights_on_the_text(
    runs: dict[str, Path], shown: Pictures
) -> None:
    """By another way than the trace of the picture: the units that the page draws."""
    for run, name in ((shown.runs[1], "forget"), (shown.runs[2], "keep")):
        keeps, drawn = run.gradient[-1].keeps, run.units
        assert keeps is not None and drawn is not None and drawn.of == len(drawn.units)
        # The gradient's trace begins with the document's start and ends before the last token.
        assert keeps[0] == pytest.approx(np.mean(np.array(drawn.values[name])[:, :-1]), abs=0.02)


def test_a_curve_that_leaves_the_frame_is_marked_there(
    open_page: Callable[..., Any], shown: Pictures, tmp_path: Path
) -> None:
    first = shown.runs[0]
    for sizes, ways in (((1e3, 1.0), ["M", "M"]), ((1e-12, 1.0), ["M"]), ((1.0, 1.0), [])):
        steps = len(first.gradient[-1].norms["h"])
        far = [sizes[0] if t < steps // 2 else sizes[1] for t in range(steps)]
        if len(ways) == 2:  # and comes back
            far[: steps // 4] = [1.0] * (steps // 4)
        stage = first.gradient[-1].model_copy(update={"norms": {"h": tuple(far)}})
        run = first.model_copy(update={"gradient": (stage,)})
        file = tmp_path / "page.html"
        file.write_text(diagnosis(None, shown.model_copy(update={"runs": (run,)})), "utf-8")
        tab, said, _ = open_page(file, viewport={"width": 900, "height": 900})
        marks = tab.locator("#gradient-chart .beyond").evaluate_all(
            "marks => marks.map(mark => mark.getBBox().y)"
        )
        assert len(marks) == len(ways)
        assert tab.locator("#gradient-beyond").is_visible() == bool(ways)
        assert all((y < 20) == (sizes[0] > 1) for y in marks)
        drawn = tab.locator("#gradient-chart polyline").count()
        assert drawn == max(1, len(ways))
        assert said == []
        tab.close()


def test_units_are_sorted_by_their_gate_and_found_by_their_number(
    open_page: Callable[..., Any], page_file: Path, shown: Pictures
) -> None:
    """By keys alone; the map's axes name units and words."""
    tab, said, _ = open_page(page_file, viewport={"width": 1200, "height": 900})
    run = next(run for run in shown.runs if run.cell == "lstm")
    assert run.units is not None
    gate = np.array(run.units.values["forget"])
    names = [f"layer {one.layer}, unit {one.unit} " for one in run.units.units]
    tab.locator("#units-order").select_option("keeps")
    map_, told = tab.locator("#units-map"), tab.locator("#units-said")
    map_.focus()
    for unit in np.argsort(-gate.mean(axis=1), kind="stable")[:3]:
        assert told.inner_text().startswith(names[int(unit)])
        tab.keyboard.press("ArrowDown")
    tab.locator("#units-order").select_option("here")
    map_.focus()
    for key, t in (("Home", 0), ("End", gate.shape[1] - 1)):
        tab.keyboard.press(key)
        for _ in range(len(names)):
            tab.keyboard.press("ArrowUp")
        (top,) = [k for k, name in enumerate(names) if told.inner_text().startswith(name)]
        assert gate[top, t] >= gate[:, t].max() - 1e-4
    last = run.units.units[-1]
    field = tab.locator("#units-number")
    field.fill(f"{last.layer}.{last.unit}")
    field.press("Enter")
    assert told.inner_text().startswith(names[-1])
    field.fill("999")
    field.press("Enter")
    assert "There is no unit 999" in tab.locator("#units-missing").inner_text()
    assert told.inner_text().startswith(names[-1])
    tab.evaluate(
        "() => { window.texts = []; const pen = CanvasRenderingContext2D.prototype;"
        " const draw = pen.fillText; pen.fillText = function (text, ...place) {"
        " window.texts.push(text); return draw.call(this, text, ...place); }; }"
    )
    map_.focus()
    tab.keyboard.press("Home")
    texts = tab.evaluate("window.texts")
    assert {"layer.unit", "the text, word after word →", "The"} <= set(texts)
    assert f"{last.layer}.{last.unit}" in texts
    map_.click(position={"x": 60, "y": 2})
    assert "at “T”" in told.inner_text()
    assert said == []
    tab.close()


def test_a_picture_begins_where_something_happens_and_says_why(
    runs: dict[str, Path], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    """The word that needs the first sentence most, by reading without it."""
    (run,) = opened(runs, "lstm")
    text = f"{FIRST}{SECOND * 3}Ann came, and Bob met Ann."
    found = seen.pictures([run], text)
    scorer = WordScorer(Scorer(run, ends=False), Plan(space="before"))
    both = [scorer.score([part])[0] for part in (text, text[len(FIRST) - 1 :])]
    whole, without = (
        [word.nats or 0.0 for word in scored] for scored in both if isinstance(scored, list)
    )
    first = len(FIRST.split())
    gains = {j: without[j - first] - whole[j] for j in range(first + seen.BEHIND, len(whole))}
    late = {j: gain for j, gain in gains.items() if j >= len(whole) // 3}
    best = max(late, key=lambda j: late[j])
    assert (found.focus == best) == (late[best] >= seen.FELT)
    assert f"It opens at “{found.words[found.focus].text}”" in found.why_focus
    if late[best] >= seen.FELT:
        assert f"{math.exp(late[best]):.1f} times less likely" in found.why_focus
    page = tmp_path / "page.html"
    page.write_text(diagnosis(None, found), encoding="utf-8")
    tab, said, _ = open_page(page)
    assert found.why_focus in " ".join(tab.locator("#words").inner_text().split())
    assert said == []
    tab.close()


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("level", ["char", "word"])
def test_a_map_opens_where_most_is_erased(
    open_page: Callable[..., Any], make_run: Callable[..., Path], tmp_path: Path, cell: str,
    level: str,
) -> None:  # fmt: skip
    """Of all units and tokens, by what the unit held and how far its gate falls."""
    text = TEXT * 3 + "abcdefghijklmnopqrstuvwxyz"
    path = make_run(text, cell=cell, level=level, num_layers=2, scale=4.0)
    pictures = seen.pictures([load(path)], TEXT)
    (run,) = pictures.runs
    assert run.units is not None
    at = {name: np.array(rows) for name, rows in run.units.values.items()}
    gate = at.get("forget", at.get("keep"))
    held = at[run.units.state]
    if gate is None:
        sizes = np.abs(np.diff(held))
    else:
        fall = -np.diff(gate)
        sizes = np.where(fall > 0.1, fall * np.abs(held[:, :-1]), 0)
    sizes[:, np.array(run.owner)[1:] == 0] = 0
    unit, t = np.unravel_index(int(sizes.argmax()), sizes.shape)

    def two(rows: Any) -> list[str]:
        return [f"{rows[unit, k]:.2f}".replace("-", "−") for k in (t, t + 1)]

    file = tmp_path / "page.html"
    file.write_text(diagnosis(None, pictures), encoding="utf-8")
    tab, said, _ = open_page(file)
    opened_at = tab.locator("#units-opened").inner_text()
    number = f"layer {run.units.units[unit].layer}, unit {run.units.units[unit].unit} of the"
    assert number in opened_at
    assert number.removesuffix(" the") in tab.locator("#units-said").inner_text()
    word = pictures.words[run.owner[t + 1]].text
    whole = run.tokens[t + 1].replace("\\n", " ").strip() == word
    assert f"{'It opens at' if whole else ' in'} “{word}”. There" in opened_at
    assert "from {} to {}".format(*two(held if gate is None else gate)) in opened_at
    pressed = tab.locator("#units-array [aria-pressed=true]").inner_text()
    if gate is None:
        assert "changes most" in opened_at
    else:
        assert f"= {two(held)[0]}, is " in opened_at
        kept = float(gate[unit, t + 1])
        assert ("is erased" in opened_at) == (kept < 0.1)
        assert pressed.startswith(("✓ forget gate", "forget gate", "✓ keep gate", "keep gate"))
    assert said == []
    tab.close()


def test_a_page_says_that_no_gate_shuts(
    open_page: Callable[..., Any], make_run: Callable[..., Path], tmp_path: Path
) -> None:
    pictures = seen.pictures([load(make_run(TEXT, cell="lstm", scale=0.01))], TEXT)
    file = tmp_path / "page.html"
    file.write_text(diagnosis(None, pictures), encoding="utf-8")
    tab, said, _ = open_page(file)
    assert "No forget gate f of the LSTM shuts in this text" in (
        tab.locator("#units-opened").inner_text()
    )
    assert said == []
    tab.close()


@pytest.fixture(scope="module")
def wide(make_run: Callable[..., Path]) -> Pictures:
    """Cells whose states are large, and whose gates shut."""
    text = TEXT * 3 + "abcdefghijklmnopqrstuvwxyz"
    cells = ("lstm", "gru", "rnn")
    made = [load(make_run(text, cell=cell, num_layers=2, scale=4.0)) for cell in cells]
    return seen.pictures(made, TEXT)


def held(pictures: Pictures) -> list[dict[str, Any]]:
    """The runs as the page's script reads them: each state and gate (K, T) as `at`."""
    page = diagnosis(None, pictures)
    found = re.search(r'id="pictures">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    runs: list[dict[str, Any]] = json.loads(found.group(1))["runs"]
    for run in runs:
        at = run["units"]["at"] = {}
        for array in run["units"]["arrays"]:
            assert array["size"] == 2
            whole = np.frombuffer(base64.b64decode(array["bytes"]), dtype="<u2")
            step = (array["high"] - array["low"]) / 65535
            rows = (array["low"] + step * whole).reshape(-1, len(run["tokens"]))
            at[array["name"]] = rows * np.array(array.get("scales", [1.0]))[:, None]
    return runs


def test_the_equations_hold_with_the_numbers_of_the_page(wide: Pictures) -> None:
    """For every unit and token, to less than the digits that are shown."""
    for run in held(wide):
        at, before = run["units"]["at"], run["units"]["before"]

        def old(name: str, at: Any = at, before: Any = before) -> Any:
            return np.concatenate([np.array(before[name])[:, None], at[name][:, :-1]], axis=1)

        if "c" in at:
            assert np.abs(at["c"]).max() > 2
            cell = at["forget"] * old("c") + at["input"] * at["candidate"]
            assert at["c"] == pytest.approx(cell, abs=1e-3)
            assert at["h"] == pytest.approx(at["output"] * np.tanh(at["c"]), abs=1e-3)
        elif "keep" in at:
            state = at["keep"] * old("h") + (1 - at["keep"]) * at["candidate"]
            assert at["h"] == pytest.approx(state, abs=1e-3)
        else:
            (of_run,) = [one for one in wide.runs if one.cell == "rnn"]
            assert of_run.units is not None
            assert at["h"] == pytest.approx(np.array(of_run.units.values["h"]), abs=1e-4)


PRODUCT = r"(\d\.\d+) · \(?(−?\d+\.\d+)\)?"


def test_who_computes_an_equation_gets_what_it_says(
    open_page: Callable[..., Any], wide: Pictures, tmp_path: Path
) -> None:
    """With the digits that are shown, at all tokens of some units; ≈ where it is their rounding."""
    file = tmp_path / "page.html"
    file.write_text(diagnosis(None, wide), encoding="utf-8")
    tab, said, _ = open_page(file, viewport={"width": 700, "height": 900})
    for name in ("LSTM", "GRU"):
        tab.locator("#units-run button", has_text=name).press("Enter")
        shown = tab.evaluate(
            "() => { const map = document.getElementById('units-map'), found = [];"
            " const press = (key) => map.dispatchEvent(new KeyboardEvent('keydown', {key}));"
            " for (let unit = 0; unit < 4; unit += 1) { press('Home');"
            f"  for (let t = 0; t < {len(wide.runs[0].tokens)}; t += 1) {{"
            "   found.push(document.getElementById('units-equation').textContent);"
            "   press('ArrowRight'); } press('ArrowDown'); } return found; }"
        )
        sums = [part for line in shown for part in line.split("   and   ")]
        assert len(set(sums)) > 50
        exact = 0
        for line in sums:
            *_, last = re.split(" [=≈] ", line)
            digits = len(last.partition(".")[2])
            pairs = [
                [float(x.replace("−", "-")) for x in pair] for pair in re.findall(PRODUCT, line)
            ]
            assert len(pairs) == (1 if "tanh" in line else 2)
            miss = abs(sum(a * b for a, b in pairs) - float(last.replace("−", "-")))
            rounding = 0.5 * 10**-digits * (1 + sum(abs(a) + abs(b) for a, b in pairs))
            exact += "≈" not in line
            assert miss <= (rounding + 3e-4 if "≈" in line else 10**-digits) + 1e-9, line
        assert exact > 0.8 * len(sums)
    assert said == []
    tab.close()


def test_a_page_of_many_units_stays_small(make_run: Callable[..., Path]) -> None:
    text = TEXT * 3 + "abcdefghijklmnopqrstuvwxyz"
    many = seen.pictures([load(make_run(text, cell="lstm", hidden_size=600))], TEXT * 20)
    assert many.runs[0].units is not None and many.runs[0].units.of == 600
    # A comparison's page has the libraries for its charts as well, 0.9 MB, and its own numbers.
    assert len(diagnosis(None, many)) < 1_900_000


def test_kept_units_fit_into_a_page() -> None:
    """States and gates, and where units are active in the longer text."""
    for sizes in ([(600, 6)], [(600, 2), (600, 6), (2000, 4)], [(4, 6)]):
        counts = units.quota(sizes, 900, 4000, seen.MOST_BYTES)
        bytes_ = sum(
            n * (units.NUMBER * 900 * arrays + 500)
            for n, (_, arrays) in zip(counts, sizes, strict=True)
        )
        assert bytes_ <= seen.MOST_BYTES
        assert all(8 <= n <= most or n == 8 for n, (most, _) in zip(counts, sizes, strict=True))
