"""Tokenizers against oracles: Hugging Face's own encoder, Python's slices, sums worked by hand."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rnnctl.config import TokenizerConfig
from rnnctl.data.tokenizers import MalformedTextError, Tokenizer, base, train_tokenizer, words
from rnnctl.data.tokenizers.words import MAX_TOKEN, NEVER_SEEN_NATS, find_tokens
from rnnctl.errors import DataError, UsageError

KINDS = ["char", "byte", "natural", "lead", "whitespace", "bpe", "lower", "lower whitespace"]
ODD = "\x00\t\n\r\x1c\x85\xa0\u2028\u200d'’\"<>- aébz09नमस्ते中😀\u0301"
# Text like the tokenizers' own, text from awkward characters, and any text at all.
TEXTS = st.one_of(
    st.text(alphabet=ODD, max_size=60),
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            [
                "the",
                " cat",
                "don't",
                " ",
                "\n",
                "中文",
                "😀",
                "<unk>",
                "<eos>",
                "x" * 70,
                "The",
                " CAT",
                "ΤΟΥΣ",
                "İ",
                "<UNK>",
            ]
        ),
        max_size=20,
    ).map("".join),
)
EXAMPLES = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def hugging_face(
    tokenizers: dict[str, Tokenizer], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    """The saved files as `tokenizers` opens them."""
    import tokenizers as library

    folder = tmp_path_factory.mktemp("saved")
    opened = {}
    for kind, tokenizer in tokenizers.items():
        path = folder / f"{kind}.json"
        tokenizer.save(path)
        opened[kind] = library.Tokenizer.from_file(str(path))
    return opened


@pytest.mark.parametrize("kind", KINDS)
@EXAMPLES
@given(text=TEXTS)
def test_hugging_face_encodes_alike(tokenizers, hugging_face, kind, text):
    assert tokenizers[kind].encode(text).tolist() == hugging_face[kind].encode(text).ids


@pytest.mark.parametrize("kind", ["byte", "bpe"])
@EXAMPLES
@given(text=TEXTS)
def test_any_text_comes_back(tokenizers, kind, text):
    tokenizer = tokenizers[kind]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids.tolist())) == text.encode()
    assert tokenizer.boundary_id not in ids


@EXAMPLES
@given(data=st.data())
def test_text_of_known_characters_comes_back(tokenizers, sample, data):
    text = data.draw(st.text(alphabet=sorted(set(sample)), max_size=60))
    assert tokenizers["char"].decode(tokenizers["char"].encode(text)) == text


@EXAMPLES
@given(text=TEXTS)
def test_natural_words_come_back_but_for_unknown_ones(tokenizers, text):
    tokenizer = tokenizers["natural"]
    tokens = find_tokens(text)
    assert "".join(tokens) == text
    assert max(map(len, tokens), default=0) <= MAX_TOKEN
    known = [token if token in tokenizer.words else "<unk>" for token in tokens]
    assert tokenizer.decode(tokenizer.encode(text)) == "".join(known)


def test_with_a_lead_the_first_word_is_the_word_that_it_is_elsewhere(tokenizers, sample):
    plain, led = tokenizers["natural"], tokenizers["lead"]
    assert not led.to_dict()["normalizer"] is None is plain.to_dict()["normalizer"]
    first, second, third = led.encode("the the the").tolist()
    assert first == second == third
    assert len(set(plain.encode("the the the").tolist())) == 2
    assert led.encode("").tolist() == []
    assert led.spans("the cat", led.encode("the cat")).tolist() == [[0, 3], [3, 7]]
    assert led.cut("the cat the", 2, "head") == "the cat"
    assert led.cut("the cat the", 2, "tail") == "cat the"
    assert led.decode(led.encode("the cat")) == " the cat"


@pytest.mark.parametrize("protocol", ["natural", "whitespace"])
def test_in_lower_case_words_are_one_and_places_stay(protocol):
    config = TokenizerConfig(level="word", words=protocol, lowercase=True)
    tokenizer = train_tokenizer(["the The THE cat"], config)
    # two marks, cat and the, which natural words have with a space before it as well
    assert tokenizer.vocab_size == (4 if protocol == "whitespace" else 5)
    text = "Cat İ THE"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids).endswith(" the")
    first, last = tokenizer.spans(text, ids)[-1].tolist()  # in bytes
    assert text.encode()[first:last].strip() == b"THE"
    assert tokenizer.encode(text.lower())[-1] == ids[-1]
    assert tokenizer.spelling_by_token("the The")[-1] == 0  # known, so nothing is spelt
    again = base.from_bytes(base.to_bytes(tokenizer.to_dict()))
    assert again.encode(text).tolist() == ids.tolist()


def test_natural_words_by_hand():
    expected = [
        "He",
        " said",
        ",",
        ' "',
        "don't",
        " go",
        '"',
        " -",
        "-",
        " 3",
        ".",
        "14",
        " ",
        " well",
    ]
    assert find_tokens('He said, "don\'t go" -- 3.14  well') == expected
    assert find_tokens("a\n\n b中文。") == ["a", "\n", "\n", " b", "中", "文", "。"]


def test_whitespace_protocol_by_hand():
    tokenizer = train_tokenizer(
        [" the cat \n the <unk> sat\n"], TokenizerConfig(level="word", words="whitespace")
    )
    assert tokenizer.vocab_size == 5  # <eos>, <unk>, the, cat, sat
    words = [tokenizer.token_text(i) for i in tokenizer.encode(" the cat \n\n sat dog")]
    assert words == ["the", "cat", "<eos>", "<eos>", "sat", "<unk>"]
    assert tokenizer.decode(tokenizer.encode(" the cat \n \n")) == " the cat \n \n"
    assert tokenizer.spelling_nats("the <unk> <eos>") == (0, 0.0)


@pytest.mark.parametrize("kind", KINDS)
@EXAMPLES
@given(text=TEXTS, cuts=st.lists(st.integers(0, 200), max_size=6))
def test_feeding_in_parts_encodes_the_whole(tokenizers, kind, text, cuts):
    tokenizer = tokenizers[kind]
    data = text.encode()
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    encoder = tokenizer.stream()
    parts = [(encoder.feed(data[a:b]), encoder.charges) for a, b in itertools.pairwise(borders)]
    parts.append((encoder.finish(), encoder.charges))
    whole, charges = (np.concatenate(part) for part in zip(*parts, strict=True))
    assert whole.tolist() == tokenizer.encode(text).tolist()
    assert charges.tolist() == tokenizer.spelling_by_token(text).tolist()
    assert (charges > 0).sum() == encoder.unknown
    assert charges.sum() == pytest.approx(encoder.unknown_nats)
    assert encoder.unknown == tokenizer.spelling_nats(text)[0]
    assert encoder.unknown_nats == pytest.approx(tokenizer.spelling_nats(text)[1])


@pytest.mark.parametrize("kind", KINDS)
@EXAMPLES
@given(text=TEXTS, cut=st.integers(0, 200))
def test_pending_bytes_carry_a_stream_over(tokenizers, kind, text, cut):
    tokenizer = tokenizers[kind]
    data = text.encode()
    first = tokenizer.stream()
    begun = first.feed(data[:cut])
    second = tokenizer.stream(first.pending, begins=not len(begun))
    rest = [second.feed(data[cut:]), second.finish()]
    assert np.concatenate([begun, *rest]).tolist() == tokenizer.encode(text).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_pending_stays_small_without_spaces(tokenizers, kind):
    encoder = tokenizers[kind].stream()
    for _ in range(20):
        encoder.feed(("中" * 1000 + "x" * 3000).encode())
    assert len(encoder.pending) < 9000 or "whitespace" in kind


@settings(EXAMPLES, max_examples=25)
@given(
    unit=st.text(alphabet="xyé’'中\t😀", min_size=1, max_size=7),
    step=st.integers(4100, 7000),
)
@example(unit="xyzé'", step=4103)
@example(unit="中xy'", step=4103)
@example(unit="中xy'", step=4104)
@example(unit="中xy'", step=4105)
def test_feeding_endless_words_in_parts_encodes_the_whole(tokenizers, unit, step):
    text = unit * (16_000 // len(unit)) + "end"
    data = text.encode()
    borders = [*range(0, len(data), step), len(data)]
    for kind in ("natural", "bpe"):
        encoder = tokenizers[kind].stream()
        parts = [encoder.feed(data[a:b]) for a, b in itertools.pairwise(borders)]
        whole = np.concatenate([*parts, encoder.finish()])
        assert whole.tolist() == tokenizers[kind].encode(text).tolist()


@EXAMPLES
@given(data=st.binary(max_size=40), cuts=st.lists(st.integers(0, 40), max_size=4))
def test_malformed_bytes_are_found_where_python_finds_them(tokenizers, data, cuts):
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    try:
        data.decode()
        expected = None
    except UnicodeDecodeError as error:
        expected = error.start
    encoder = tokenizers["natural"].stream()
    found = None
    try:
        for a, b in itertools.pairwise(borders):
            encoder.feed(data[a:b])
        encoder.finish()
    except MalformedTextError as error:
        found = error.offset
    assert found == expected


@pytest.mark.parametrize("kind", KINDS)
def test_lone_surrogates_are_refused(tokenizers, kind):
    with pytest.raises(DataError, match="character 2 is the lone surrogate U\\+D800"):
        tokenizers[kind].encode("ab\ud800c")


def test_spelling_by_hand():
    # Training tokens: "ab" twice, "a" twice: letters a 4, b 2, four ends, ten symbols in all.
    config = TokenizerConfig(level="word", words="whitespace", min_count=1)
    tokenizer = train_tokenizer(["ab ab\na a\n"], config)
    known = math.log(10 / 4) * 2 + math.log(10 / 2) + math.log(10 / 4)
    assert tokenizer.spelling_nats("baa") == (1, pytest.approx(known))
    unseen = math.log(10 / 4) + 21 * math.log(2) + math.log(10 / 4)
    assert tokenizer.spelling_nats("ab aZ baa") == (2, pytest.approx(known + unseen))


def test_natural_spelling_counts_the_space():
    tokenizer = train_tokenizer(["ab ab ab"], TokenizerConfig(level="word", words="natural"))
    # Tokens "ab", " ab", " ab": a 3, b 3, space 2, three ends, eleven in all.
    nats = sum(math.log(11 / n) for n in (2, 3, 3, 3, 3))
    assert tokenizer.spelling_nats("ab aba") == (1, pytest.approx(nats))


def test_unknown_characters_are_charged_without_an_end(tokenizers):
    assert tokenizers["char"].spelling_nats("theЖЖЯ") == (3, pytest.approx(3 * NEVER_SEEN_NATS))
    rare = train_tokenizer(["aaab"], TokenizerConfig(level="char", min_count=2))
    assert rare.vocab_size == 3
    assert rare.spelling_nats("ab") == (1, pytest.approx(math.log(4)))


@EXAMPLES
@given(text=TEXTS)
def test_unknown_tokens_are_counted_and_charged_one_by_one(tokenizers, text):
    tokenizer = tokenizers["natural"]
    unknown = [token for token in find_tokens(text) if token not in tokenizer.words]
    n, nats = tokenizer.spelling_nats(text)
    assert n == len(unknown) == int((tokenizer.encode(text) == tokenizer.unknown_id).sum())
    assert nats == pytest.approx(math.fsum(map(tokenizer.spelling.charge, unknown)))


@pytest.mark.parametrize("kind", ["natural", "bpe"])
@EXAMPLES
@given(texts=st.lists(TEXTS, max_size=6))
def test_what_is_forgotten_is_encoded_as_before(tokenizers, monkeypatch, kind, texts):
    tokenizer = tokenizers[kind]
    expected = [tokenizer.encode_charged(text) for text in texts]
    monkeypatch.setattr(words, "_REMEMBERED", 2)
    for text, (ids, unknown, nats) in zip(texts, expected, strict=True):
        again = tokenizer.encode_charged(text)
        assert (again[0].tolist(), again[1]) == (ids.tolist(), unknown)
        assert again[2] == pytest.approx(nats)


@pytest.mark.parametrize("kind", KINDS)
@EXAMPLES
@given(text=TEXTS, most=st.integers(1, 12), keep=st.sampled_from(["head", "tail"]))
def test_a_cut_text_encodes_to_the_cut_ids(tokenizers, kind, text, most, keep):
    tokenizer = tokenizers[kind]
    ids = tokenizer.encode(text)
    part = tokenizer.cut(text, most, keep)
    expected = (ids[:most] if keep == "head" else ids[-most:]).tolist()
    assert tokenizer.encode_document(text, most, keep).tolist() == [*expected, 0]
    # A character that bytes cut in two cannot be written, nor a word without the space before it.
    if "\ufffd" not in part and kind not in ("lead", "lower"):
        again = tokenizer.encode(part).tolist()
        assert tokenizer.decode(again) == tokenizer.decode(expected)
        if kind != "bpe":
            assert again == expected


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_is_the_same(tokenizers, kind, tmp_path, sample):
    path = tmp_path / "tokenizer.json"
    tokenizers[kind].save(path)
    loaded = Tokenizer.load(path)
    assert type(loaded) is type(tokenizers[kind])
    assert loaded.fingerprint == tokenizers[kind].fingerprint
    text = sample + "unseen Ж"
    assert loaded.encode(text).tolist() == tokenizers[kind].encode(text).tolist()
    assert loaded.spelling_nats(text) == tokenizers[kind].spelling_nats(text)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_can_be_shown(tokenizers, kind):
    tokenizer = tokenizers[kind]
    shown = [tokenizer.token_text(i) for i in range(tokenizer.vocab_size)]
    assert all(text.isprintable() for text in shown)
    assert shown[0] == "<eos>"
    assert tokenizer.unknown_id is None or shown[tokenizer.unknown_id] == "<unk>"


def test_ids_outside_the_vocabulary_are_refused(tokenizers):
    with pytest.raises(DataError, match="outside the vocabulary"):
        tokenizers["char"].decode([10**6])
    with pytest.raises(DataError, match="outside the vocabulary"):
        tokenizers["natural"].decode([-1])


@pytest.mark.parametrize("protocol", ["natural", "whitespace"])
def test_a_vocabulary_that_could_not_be_read_again_is_refused(protocol, monkeypatch):
    text = " ".join(f"word{i}" for i in range(100))
    config = TokenizerConfig(level="word", words=protocol, min_count=1)
    fitting = train_tokenizer([text], config.model_copy(update={"vocab_size": 50}))
    size = len(base.to_bytes(fitting.to_dict()))
    for limit, value in (("MAX_VOCABULARY", 60), ("MAX_BYTES", size + 100), ("MAX_VALUES", 60)):
        with monkeypatch.context() as patch:
            patch.setattr(base, limit, value)
            with pytest.raises(UsageError, match="cannot be kept") as caught:
                train_tokenizer([text], config)
            assert "--vocab-size" in caught.value.hint


def test_vocabulary_is_cut_by_count_and_size():
    text = " ".join(["one"] * 5 + ["two"] * 3 + ["three"] * 2 + ["four"])
    by_count = train_tokenizer(
        [text], TokenizerConfig(level="word", words="whitespace", min_count=2)
    )
    assert by_count.words == ("one", "two", "three")
    by_size = train_tokenizer(
        [text], TokenizerConfig(level="word", words="whitespace", vocab_size=4)
    )
    assert by_size.words == ("one", "two")
    with pytest.raises(UsageError):
        train_tokenizer([text], TokenizerConfig(level="word", vocab_size=2))
    with pytest.raises(UsageError):
        train_tokenizer([text], TokenizerConfig(level="bpe", vocab_size=200))
    with pytest.raises(DataError, match="no text"):
        train_tokenizer([], TokenizerConfig(level="char"))


def test_long_natural_text_learns_the_unknown_word():
    text = " ".join(f"w{i % 500}" for i in range(20_000)) + " single"
    tokenizer = train_tokenizer([text], TokenizerConfig(level="word"))
    assert " single" not in tokenizer.words
    assert " w7" in tokenizer.words


def test_text_with_unk_in_it_is_taken_for_wikitext():
    marked = "the <unk> cat \n" * 50
    assert train_tokenizer([marked], TokenizerConfig(level="word")).protocol == "whitespace"
    assert train_tokenizer(["the cat \n"], TokenizerConfig(level="word")).protocol == "natural"


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 300), max_size=8), words=st.sampled_from(["natural", "whitespace"])
)
def test_parts_of_running_text_count_as_the_whole(sample, cuts, words):
    config = TokenizerConfig(level="word", words=words)
    borders = [0, *sorted(min(cut, len(sample)) for cut in cuts), len(sample)]
    parts = [sample[a:b] for a, b in itertools.pairwise(borders)]
    whole = train_tokenizer([sample], config)
    assert train_tokenizer(parts, config, running=True).fingerprint == whole.fingerprint


def test_training_twice_gives_the_same_bytes(tmp_path: Path, sample):
    for config in (TokenizerConfig(level="bpe", vocab_size=320), TokenizerConfig(level="word")):
        found = {train_tokenizer([sample] * 3, config).fingerprint for _ in range(3)}
        assert len(found) == 1


def test_wikitext_has_the_published_counts(shared_data):
    folder = shared_data / "wikitext2"
    texts = {n: (folder / f"{n}.txt").read_bytes().decode() for n in ("train", "valid", "test")}
    tokenizer = train_tokenizer([texts["train"]], TokenizerConfig(level="word"))
    assert tokenizer.vocab_size == 33_278
    assert [len(tokenizer.encode(text)) for text in texts.values()] == [2_088_628, 217_646, 245_569]
    assert tokenizer.spelling_nats(texts["test"]) == (0, 0.0)
    assert tokenizer.decode(tokenizer.encode(texts["valid"])) == texts["valid"]
