"""Against `torch.nn` stepped one token at a time, and a text against the same text in pieces."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnctl.errors import DataError, RunError
from rnnctl.inference import score as scoring_module
from rnnctl.inference import state as states
from rnnctl.inference.lines import Lines
from rnnctl.inference.records import paragraphs
from rnnctl.inference.score import Reading, Scorer, Tally, TextReader
from rnnctl.nn import engines as engine_module
from rnnctl.tasks.loading import load
from tests.conftest import FUSED

TEXT = "the cat sat on the mat. «ça va?» the dog ate the hat, and naïve 猫 slept.\n\n" * 3
MODELS = [
    {"cell": "lstm"},
    {"cell": "gru", "num_layers": 2},
    {"cell": "rnn"},
    {"cell": "lstm", "tied": True, "embedding_size": 12, "hidden_size": 12},
    {"cell": "gru", "tied": True, "embedding_size": 6},
]
LEVELS = ["char", "byte", "word", "bpe"]
Make = Callable[..., Path]


def make_scorers(make_run: Make, engine: str) -> dict[str, Scorer]:
    sizes = {"bpe": 280}
    runs = {level: make_run(TEXT, level=level, vocab_size=sizes.get(level)) for level in LEVELS}
    return {level: Scorer(load(run, engine=engine)) for level, run in runs.items()}


@pytest.fixture(scope="module")
def scorers(make_run: Make) -> dict[str, Scorer]:
    return make_scorers(make_run, "auto")


@pytest.fixture(scope="module", params=["auto", FUSED])
def both(make_run: Make, request: pytest.FixtureRequest) -> dict[str, Scorer]:
    """At the start of a filter, and once it has read so much that it reads side by side."""
    return make_scorers(make_run, request.param)


@pytest.mark.parametrize("engine", ["auto", FUSED])
@pytest.mark.parametrize("settings_", MODELS)
def test_every_token_costs_what_torch_says(
    make_run: Make,
    oracle_logits: Callable[..., torch.Tensor],
    settings_: dict[str, object],
    engine: str,
) -> None:
    scorer = Scorer(load(make_run(TEXT, **settings_), engine=engine))
    text = TEXT[:100]
    scored, tally = scorer.score_tokens(text)
    ids = scorer.tokenizer.encode(text).tolist()
    logits = oracle_logits(scorer.model, [scorer.tokenizer.boundary_id, *ids[:-1]])
    expected = -torch.log_softmax(logits, -1)[torch.arange(len(ids)), torch.tensor(ids)]
    np.testing.assert_allclose(scored.nats, expected.numpy(), rtol=2e-5, atol=2e-5)
    assert tally.nats == pytest.approx(float(expected.sum()), rel=1e-6)
    assert scorer.tally_texts([text])[0].nats == pytest.approx(tally.nats, rel=1e-6)


def test_the_numbers_of_a_tally_by_hand() -> None:
    tally = Tally(nats=6 * math.log(2), tokens=3, chars=4, bytes=6)
    assert tally.perplexity == pytest.approx(4)
    assert tally.bits_per_byte == pytest.approx(1)
    assert tally.bits_per_char == pytest.approx(1.5)
    nothing = Tally()
    assert (nothing.perplexity, nothing.bits_per_byte, nothing.bits_per_char) == (None, None, None)
    assert Tally(nats=1e6, tokens=1).perplexity is None


def test_neighbours_and_long_texts_change_nothing(
    both: dict[str, Scorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = both["char"]
    texts = ["", "a", TEXT, "the cat", TEXT * 3, "x" * 300]
    alone = [scorer.tally_texts([text])[0] for text in texts]
    together = scorer.tally_texts(texts)
    monkeypatch.setattr(scoring_module, "LONG_TEXT", 50)
    monkeypatch.setattr(scoring_module, "CHUNK", 7)
    in_chunks = scorer.tally_texts(texts)
    for one, other, third in zip(alone, together, in_chunks, strict=True):
        assert other.nats == pytest.approx(one.nats, rel=1e-6, abs=1e-6)
        assert third.nats == pytest.approx(one.nats, rel=1e-6, abs=1e-6)
    assert together[0] == Tally()


@pytest.mark.parametrize("level", ["char", "word"])
def test_unknown_tokens_are_counted_and_charged(scorers: dict[str, Scorer], level: str) -> None:
    scorer = scorers[level]
    text = "the ЖЩ cat"
    scored, tally = scorer.score_tokens(text)
    unknown, nats = scorer.tokenizer.spelling_nats(text)
    assert tally.unknown == unknown > 0
    assert tally.unknown_nats == pytest.approx(nats)
    assert tally.nats == pytest.approx(scored.nats.sum() + nats)
    assert (tally.chars, tally.bytes) == (len(text), len(text.encode()))
    assert scorer.tally_texts([text])[0].nats == pytest.approx(tally.nats)


def test_the_end_of_a_document_is_scored_where_the_model_knows_ends(make_run: Make) -> None:
    loaded = load(make_run(TEXT))
    without, with_end = Scorer(loaded), Scorer(loaded, ends=True)
    scored, tally = with_end.score_tokens("the")
    assert scored.ids.tolist()[-1] == loaded.tokenizer.boundary_id
    assert tally.tokens == 4
    assert tally.nats > without.score_tokens("the")[1].nats
    assert with_end.tally_texts(["", "the"])[1].nats == pytest.approx(tally.nats)


def whole(scorer: Scorer, data: bytes) -> Tally:
    reading = Reading(scorer)
    for _ in reading.feed(data):
        pass
    for _ in reading.finish():
        pass
    return reading.tally


@pytest.mark.parametrize("level", LEVELS)
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_a_then_b_is_a_plus_b_wherever_the_bytes_are_cut(
    both: dict[str, Scorer],
    tmp_path_factory: pytest.TempPathFactory,
    level: str,
    data: st.DataObject,
) -> None:
    scorer = both[level]
    alphabet = st.sampled_from(["the", " ", "cat", "é", "猫", "\n", "Ж", ".", "x", "«"])
    text = "".join(data.draw(st.lists(alphabet, max_size=40))).encode()
    cut = data.draw(st.integers(0, len(text)))
    path = tmp_path_factory.mktemp("state") / "s"
    first, second = Tally(), Tally()
    for _ in TextReader(scorer, None, path).read("a", io.BytesIO(text[:cut]), first):
        pass
    for _ in TextReader(scorer, path, None).read("b", io.BytesIO(text[cut:]), second):
        pass
    together = whole(scorer, text)
    assert first.nats + second.nats == pytest.approx(together.nats, rel=1e-6, abs=1e-6)
    for name in ("tokens", "chars", "bytes", "unknown"):
        assert getattr(first, name) + getattr(second, name) == getattr(together, name)
    assert together.nats == pytest.approx(
        scorer.tally_texts([text.decode()])[0].nats, rel=1e-6, abs=1e-6
    )


def test_malformed_text_is_named_by_byte_and_line(
    scorers: dict[str, Scorer], tmp_path: Path
) -> None:
    reader = TextReader(scorers["char"], None, tmp_path / "s")
    data = io.BytesIO(b"one\ntwo\nth\xffree")
    with pytest.raises(DataError, match=r"file:3: byte 11 of the text is not valid UTF-8"):
        list(reader.read("file", data, Tally()))
    assert not (tmp_path / "s").exists()
    with pytest.raises(DataError, match=r"file:1: byte 3 .*unexpected end"):
        list(TextReader(scorers["char"], None, None).read("file", io.BytesIO(b"ab\xc3"), Tally()))


def test_the_place_of_malformed_text_after_a_state(
    scorers: dict[str, Scorer], tmp_path: Path
) -> None:
    path = tmp_path / "s"
    list(TextReader(scorers["char"], None, path).read("a", [b"ab\xc3"], Tally()))
    with pytest.raises(DataError, match=r"b:2: byte 4 of the text"):
        reader = TextReader(scorers["char"], path, None)
        list(reader.read("b", [b"\xa9\nc\xff"], Tally()))


def test_paragraphs_lie_between_blank_lines() -> None:
    data = b"\n a\nb\r\n \t\nc\n\n\nlong long\nlong\n\nend"
    found = [p for window in paragraphs(Lines(io.BytesIO(data)), 12) for p in window]
    assert [(p.number, p.text) for p in found if not p.problem] == [
        (2, " a\nb"),
        (5, "c"),
        (11, "end"),
    ]
    assert [p.number for p in found if p.problem] == [8]


def test_a_classifier_scores_nothing(make_run: Make) -> None:
    with pytest.raises(RunError, match="is a classifier"):
        Scorer(load(make_run(TEXT, labels=("a", "b"))))


@pytest.fixture(scope="module")
def damaged(scorers: dict[str, Scorer], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("state") / "state"
    TestStates().saved(scorers["char"], path.with_suffix(".whole"))
    return path


class TestStates:
    def saved(self, scorer: Scorer, path: Path) -> str:
        owner = states.fingerprint(scorer.model, scorer.tokenizer)
        reading = Reading(scorer)
        list(reading.feed(b"the cat \xc3"))
        states.save(path, reading.after, owner)
        return owner

    def test_comes_back_as_it_was(self, scorers: dict[str, Scorer], tmp_path: Path) -> None:
        scorer, path = scorers["word"], tmp_path / "s"
        owner = self.saved(scorer, path)
        back = states.load(path, scorer.model, scorer.tokenizer, owner)
        assert (back.pending[-1:], back.bytes) == (b"\xc3", 9)
        assert back.recent == tuple(scorer.tokenizer.encode("the cat").tolist())[: back.tokens]
        assert path.stat().st_size < 2000

    def test_of_another_model_is_refused(self, scorers: dict[str, Scorer], tmp_path: Path) -> None:
        owner = self.saved(scorers["char"], tmp_path / "s")
        other = scorers["byte"]
        stranger = states.fingerprint(other.model, other.tokenizer)
        assert stranger != owner
        with pytest.raises(DataError, match="another model"):
            states.load(tmp_path / "s", other.model, other.tokenizer, stranger)

    @settings(deadline=None, max_examples=150)
    @given(data=st.data())
    def test_damage_is_found_and_never_a_crash(
        self, scorers: dict[str, Scorer], damaged: Path, data: st.DataObject
    ) -> None:
        scorer = scorers["char"]
        owner = states.fingerprint(scorer.model, scorer.tokenizer)
        content = bytearray(damaged.with_suffix(".whole").read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            del content[place:]
        else:
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        damaged.write_bytes(content)
        with pytest.raises(DataError):
            states.load(damaged, scorer.model, scorer.tokenizer, owner)

    @pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"\xff" * 64, b"{}" * 40])
    def test_of_no_kind_is_refused(
        self, scorers: dict[str, Scorer], tmp_path: Path, content: bytes
    ) -> None:
        path = tmp_path / "s"
        path.write_bytes(content)
        with pytest.raises(DataError, match="s "):
            states.load(path, scorers["char"].model, scorers["char"].tokenizer, "x")


def test_the_fast_way_is_taken_once_it_pays(
    make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Scorer(load(make_run(TEXT)))
    recurrent = scorer.model.recurrent
    weights = sum(weight.numel() for weight in recurrent.parameters())
    monkeypatch.setattr(engine_module, "WORTH_IT", 20 * weights)
    before = scorer.tally_texts(["the cat sat on the m"])[0].nats
    assert recurrent.engine == "torch"
    after = scorer.tally_texts(["the cat sat on the m"])[0].nats
    assert recurrent.engine == "auto"
    assert after == pytest.approx(before, rel=1e-6)
    asked = Scorer(load(make_run(TEXT), engine="closed"))
    asked.tally_texts([TEXT])
    assert asked.model.recurrent.engine == "closed"
