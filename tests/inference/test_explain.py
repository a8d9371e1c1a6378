"""`classify --explain`: shares of words that add up to the model's own log-odds."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnctl.config import TokenizerConfig
from rnnctl.data.tokenizers import Tokenizer, train_tokenizer
from rnnctl.inference.classify import Prediction, Predictor
from rnnctl.inference.explain import Explainer, WordsOverall, words_of_tokens
from rnnctl.nn.models import Classifier
from rnnctl.results.inference import Explanation
from rnnctl.tasks.loading import Loaded, load

MakeRun = Callable[..., Path]
CommandLine = Callable[..., Any]
TEXT = "the sound is great, but the battery is terrible. it broke after a week! \n" * 8
ONE = "the battery is great but it broke after a week"
LEVELS = ("word", "char", "byte", "bpe")


def explained(
    loaded: Loaded, text: str, method: str = "gradients"
) -> tuple[Explanation, Prediction]:
    predictor = Predictor(loaded)
    (prediction,) = predictor.predict([text])
    (found,) = Explainer(loaded, predictor, method).explain(text, prediction)  # type: ignore[arg-type]
    return found, prediction


def log_odds(loaded: Loaded, prediction: Prediction) -> float:
    first, second = sorted(prediction.probabilities, reverse=True)[:2]
    return math.log(first / second)


@pytest.mark.parametrize(
    ("cell", "nonlinearity"), [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
)
@pytest.mark.parametrize("pool", ["last", "mean", "max", "meanmax"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_shares_and_the_blank_text_add_up_to_the_log_odds(
    make_run: MakeRun, cell: str, nonlinearity: str, pool: str, bidirectional: bool
) -> None:
    """The blank text is asked of the model itself, in float64, with zeros for its words."""
    level = LEVELS[(len(pool) + len(cell)) % 4]
    run = make_run(
        TEXT, level=level, labels=("bad", "good", "so"), cell=cell, nonlinearity=nonlinearity,
        pool=pool, bidirectional=bidirectional, num_layers=2, scale=1.0,
    )  # fmt: skip
    loaded = load(run)
    found, prediction = explained(loaded, ONE)
    assert found.log_odds == pytest.approx(log_odds(loaded, prediction), abs=1e-4)
    assert [one.word for one in found.words] == ONE.split()
    assert all(ONE[one.start : one.end] == one.word for one in found.words)
    model, names = loaded.model.double(), list(loaded.labels)
    assert isinstance(model, Classifier)
    ids = [*loaded.tokenizer.encode(ONE).tolist(), 0]
    vectors = model.embed(torch.tensor(ids).unsqueeze(1))
    vectors[:-1] = 0.0
    with torch.no_grad():
        blank = model.of_vectors(vectors, torch.tensor([len(ids)]))[0]
    without = float(blank[names.index(found.label)] - blank[names.index(found.against)])
    assert sum(one.share for one in found.words) == pytest.approx(
        found.log_odds - without, abs=1e-3
    )
    assert found.rest == pytest.approx(without, abs=1e-3)
    assert max(abs(one.share) for one in found.words) > 0.002


@pytest.mark.parametrize("level", ["word", "char"])
def test_a_share_is_the_integral_of_its_definition(make_run: MakeRun, level: str) -> None:
    """Against two thousand points of the way in float64, by torch's own derivative."""
    run = make_run(TEXT, level=level, labels=("bad", "good"), cell="lstm", scale=1.0)
    loaded = load(run)
    found, _ = explained(loaded, ONE)
    model = load(run, engine="closed").model.double()
    assert isinstance(model, Classifier)
    ids = torch.tensor([*loaded.tokenizer.encode(ONE).tolist(), 0])
    whole = model.embed(ids.unsqueeze(1)).detach()
    sizes = ((torch.arange(2000) + 0.5) / 2000).view(1, -1, 1).repeat(len(ids), 1, 1)
    sizes[-1] = 1.0
    faded = (sizes.double() * whole).requires_grad_()
    logits = model.of_vectors(faded, torch.full((2000,), len(ids)))
    labels = list(loaded.labels)
    odds = logits[:, labels.index(found.label)] - logits[:, labels.index(found.against)]
    (slopes,) = torch.autograd.grad(odds.sum(), faded)
    tokens = (slopes * whole).sum(-1).mean(1)[:-1].numpy()
    _, owner = words_of_tokens(loaded.tokenizer, ONE, loaded.tokenizer.encode(ONE))
    expected = np.bincount(owner, tokens)
    np.testing.assert_allclose([one.share for one in found.words], expected, atol=1e-3)


def test_a_sentence_takes_few_points(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """A maximum over time makes the derivative jump hundreds of times on the way: digits that
    nobody reads are not worth a thousand points."""
    run = make_run(
        TEXT, level="word", labels=("bad", "good"), cell="lstm", pool="meanmax", scale=0.5,
        hidden_size=128, bidirectional=True,
    )  # fmt: skip
    asked: list[int] = []
    at = Explainer._at

    def counted(self: Explainer, vectors: Any, points: Any, pair: Any) -> Any:
        asked.append(len(points))
        return at(self, vectors, points, pair)

    monkeypatch.setattr(Explainer, "_at", counted)
    found, _ = explained(load(run), ONE)
    assert sum(asked) < 1000
    sizes = sum(abs(one.share) for one in found.words)
    few = {one.word: one.share for one in found.words}
    monkeypatch.setattr("rnnctl.inference.explain.RELATIVE", 1e-5)
    monkeypatch.setattr("rnnctl.inference.explain._MOST_PARTS", 400)
    exact, _ = explained(load(run), ONE)
    for one in exact.words:
        assert few[one.word] == pytest.approx(one.share, abs=2e-3 * sizes)


def test_many_texts_are_explained_by_the_fastest_engine(make_run: MakeRun) -> None:
    """What is read to explain counts, as what is read to classify does."""
    pytest.importorskip("numba")
    loaded = load(make_run(TEXT, level="word", labels=("bad", "good"), hidden_size=128))
    predictor = Predictor(loaded)
    explainer = Explainer(loaded, predictor, "gradients")
    (prediction,) = predictor.predict([ONE])
    recurrent = loaded.model.recurrent
    assert recurrent.engine == "torch"
    for _ in range(200):
        explainer.explain(ONE, prediction)
        if recurrent.engine == "auto":
            return
    pytest.fail("still PyTorch's own kernels")


@pytest.mark.parametrize("level", LEVELS)
def test_occlusion_compares_with_the_text_without_the_word(make_run: MakeRun, level: str) -> None:
    """For words behind a space the text without it can be written down."""
    loaded = load(make_run(TEXT, level=level, labels=("bad", "good"), pool="mean"))
    found, prediction = explained(loaded, ONE, "occlusion")
    for one in found.words[1:]:
        without = ONE[: one.start - 1] + ONE[one.end :]
        (other,) = Predictor(loaded).predict([without])
        best = loaded.labels.index(prediction.label)
        chances = other.probabilities
        left = math.log(chances[best] / chances[1 - best])
        if level == "bpe" and len(loaded.tokenizer.encode(without)) != 0:
            continue  # pieces may be cut in another way without a word
        assert one.share == pytest.approx(found.log_odds - left, abs=1e-4)
    total = sum(one.share for one in found.words) + found.rest
    assert total == pytest.approx(found.log_odds, abs=1e-9)


@pytest.mark.parametrize("keep", ["head", "tail"])
def test_only_words_that_are_read_are_explained(make_run: MakeRun, keep: str) -> None:
    loaded = load(make_run(TEXT, level="word", labels=("bad", "good"), max_tokens=3))
    object.__setattr__(loaded.config.corpus, "keep", keep)
    found, prediction = explained(loaded, ONE)
    words = ONE.split()
    assert prediction.cut
    assert [one.word for one in found.words] == (words[:3] if keep == "head" else words[-3:])


_TOKENIZERS: dict[str, Tokenizer] = {}


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.sampled_from("ab .,\n\tüß日🙂'<"), max_size=40), level=st.sampled_from(LEVELS)
)
def test_every_token_is_in_one_word(text: str, level: str) -> None:
    if level not in _TOKENIZERS:
        size = 300 if level == "bpe" else None
        _TOKENIZERS[level] = train_tokenizer(
            [TEXT], TokenizerConfig(level=level, vocab_size=size, words="natural")
        )
    tokenizer = _TOKENIZERS[level]
    ids = tokenizer.encode(text)
    places, owner = words_of_tokens(tokenizer, text, ids)
    assert [text[a:b] for a, b in places] == text.split()
    assert len(owner) == len(ids)
    if places:
        assert (np.diff(owner) >= 0).all() and owner.max() < len(places)
        for (begin, end), spans in ((p, tokenizer.spans(text, ids)) for p in places):
            first = len(text[:begin].encode())
            last = len(text[:end].encode())
            mine = owner[(spans[:, 0] >= first) & (spans[:, 0] < last)]
            assert (mine == places.index((begin, end))).all()


# -- the command ---------------------------------------------------------------------------------


def test_a_text_without_words_has_a_clear_record(make_run: MakeRun, rnnctl: CommandLine) -> None:
    run = make_run(TEXT, level="word", labels=("bad", "good"))
    for method in ("gradients", "occlusion"):
        done = rnnctl(
            "classify", run, "--explain", method, "--format", "json", stdin="\n  \ngreat\n"
        )
        assert done.code == 0, done.err
        empty, blank, one = map(json.loads, done.out.splitlines())
        for record in (empty, blank):
            assert record["explanation"]["words"] == []
            assert record["explanation"]["rest"] == record["explanation"]["log_odds"]
        assert [word["word"] for word in one["explanation"]["words"]] == ["great"]
    done = rnnctl("classify", run, "--explain", stdin="\n")
    assert "there is no word that could explain it" in done.out


def test_in_a_pipe_signs_and_numbers_say_what_colours_say(
    make_run: MakeRun, rnnctl: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(TEXT, level="word", labels=("bad", "good"), pool="mean")
    plain = rnnctl("classify", run, "--explain", stdin=ONE + "\n").out
    answer, total, *body = plain.splitlines()
    assert re.fullmatch(r"(bad|good)\t0\.\d{6}", answer)
    assert re.search(r"log-odds against \w+ \+\d+\.\d\d: words [+−]\d", total)
    assert re.sub(r"\[[+−]\d+\.\d\d\]", "", " ".join(body)).split() == ONE.split()
    assert max(map(len, plain.splitlines())) <= 80
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = rnnctl("classify", run, "--explain", stdin=ONE + "\n").out
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain
    table = rnnctl("classify", run, "--explain", "--format", "markdown", stdin=ONE + "\n").out
    assert table.splitlines()[0] == "| line | label | probability | words that decide |"


def test_explain_takes_its_method_or_none(
    make_run: MakeRun, rnnctl: CommandLine, tmp_path: Path
) -> None:
    run = make_run(TEXT, level="word", labels=("bad", "good"))
    file = tmp_path / "texts.txt"
    file.write_text(ONE)
    for arguments in (["--explain", file], [file, "--explain"], [file, "--explain=gradients"]):
        done = rnnctl("classify", run, *arguments, "--format", "json")
        assert done.code == 0, done.err
        assert json.loads(done.out)["explanation"]["method"] == "gradients"
    done = rnnctl("classify", run, "--explain", "occlusion", file, "--format", "json")
    assert json.loads(done.out)["explanation"]["method"] == "occlusion"
    assert rnnctl("classify", run, file, "--explain=lime").code == 2
    assert "explanation" not in rnnctl("classify", run, file, "--format", "json").out


def test_the_words_of_a_corpus_are_summed_for_each_label(
    make_run: MakeRun, rnnctl: CommandLine
) -> None:
    run = make_run(TEXT, level="word", labels=("bad", "good"), pool="mean")
    lines = f"{ONE}\nGreat, the battery!\n\nit broke\n"
    answers = rnnctl("classify", run, "--explain", "--format", "json", stdin=lines).out
    sums: dict[tuple[str, str], list[float]] = {}
    for record in map(json.loads, answers.splitlines()):
        why = record["explanation"]
        for one in why["words"]:
            name = one["word"].strip(",!").lower()
            sums.setdefault((record["prediction"], name), []).append(one["share"])
            sums.setdefault((why["against"], name), []).append(-one["share"])
    done = rnnctl("classify", run, "--explain", "--words-overall", "--format", "json", stdin=lines)
    found = json.loads(done.out)
    assert found["texts"] == 4
    for label in ("bad", "good"):
        pulls = [one for one in found["words"] if one["label"] == label]
        assert [one["pull"] for one in pulls] == sorted((o["pull"] for o in pulls), reverse=True)
        expected = {word: all_ for (own, word), all_ in sums.items() if own == label}
        assert {o["word"] for o in pulls} == {w for w, all_ in expected.items() if sum(all_) > 0}
        for one in pulls:
            assert one["pull"] == pytest.approx(sum(expected[one["word"]]), abs=1e-4)
            assert one["n"] == len(expected[one["word"]])
    table = rnnctl("classify", run, "--explain", "--words-overall", stdin=lines).out
    assert "To bad" in table and "occurrences" in table


def test_at_most_thirty_words_of_each_label_are_kept() -> None:
    words = [{"word": f"w{i}", "share": 1.0 + i, "start": 0, "end": 2} for i in range(40)]
    why = Explanation.model_validate(
        {"method": "gradients", "label": "a", "against": "b", "log_odds": 1.0, "rest": 0.0,
         "words": words}
    )  # fmt: skip
    overall = WordsOverall()
    overall.add([why])
    found = overall.strongest(["a", "b"])
    assert [one.word for one in found][:2] == ["w39", "w38"]
    assert len(found) == 30  # nothing pulls to b


def test_the_page_shows_every_text_and_loads_nothing(
    make_run: MakeRun, rnnctl: CommandLine, tmp_path: Path
) -> None:
    run = make_run(TEXT, level="word", labels=("<bad>", "good"), pool="mean")
    page = tmp_path / "why.html"
    lines = f"{ONE}\n\n<script>alert(1)</script> great\n"
    done = rnnctl("classify", run, "--explain", "--html", page, stdin=lines)
    assert done.code == 0, done.err
    written = page.read_text("utf-8")
    assert "default-src 'none'" in written
    assert not re.search(r"(src|href)=\"(?!data:)", written)
    assert (
        "<script>alert" not in written and "&lt;script&gt;" in written and "&lt;bad&gt;" in written
    )
    assert written.count("<article>") == 3
    assert re.search(r'class="(for|against)" style="--size:[\d.]+">\w+<sub>[+−]\d', written)
    done = rnnctl("classify", run, "--html", page, stdin=ONE)
    assert done.code == 2 and "--explain" in done.err


def test_the_library_explains_too(make_run: MakeRun) -> None:
    import rnnctl
    from rnnctl.errors import UsageError

    model = rnnctl.load(make_run(TEXT, level="word", labels=("bad", "good")))
    plain, why = model.classify(ONE)[0], model.classify([ONE], explain="gradients")[0]
    assert plain.explanation is None and why.explanation is not None
    assert why.prediction == plain.prediction == why.explanation.label
    with pytest.raises(UsageError, match="lime"):
        model.classify(ONE, explain="lime")
