"""Files that a stranger sent: loaded exactly as saved, or refused with one clear error."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnctl.data.tokenizers import Tokenizer
from rnnctl.data.tokenizers.base import MAX_BYTES, to_bytes
from rnnctl.errors import CorruptRunError

KINDS = ["char", "byte", "natural", "whitespace", "bpe"]


@pytest.fixture
def load(tmp_path):
    def call(data: bytes) -> Tokenizer:
        path = tmp_path / "tokenizer.json"
        path.write_bytes(data)
        return Tokenizer.load(path)

    return call


def _changed(tokenizer: Tokenizer, change) -> bytes:
    content = json.loads(to_bytes(tokenizer.to_dict()))
    change(content)
    return json.dumps(content).encode()


def _set(*path):
    *parents, last, value = path

    def change(content):
        for key in parents:
            content = content[key]
        content[last] = value

    return change


HOSTILE = {
    "a hanging pattern": _set("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(a+)+$"}}),
    "another pattern": _set("pre_tokenizer", "pattern", "Regex", "(x+x+)+y"),
    "a normaliser": _set(
        "normalizer", {"type": "Replace", "pattern": {"String": "a"}, "content": "b"}
    ),
    "a post-processor": _set("post_processor", {"type": "TemplateProcessing"}),
    "added tokens": _set("added_tokens", [{"id": 0, "content": "a", "special": True}]),
    "truncation": _set("truncation", {"max_length": 1}),
    "an unknown part": _set("surprise", 1),
    "another level": _set("model", "rnnctl", "level", "emoji"),
    "another format": _set("model", "rnnctl", "format", 99),
    "another kind of model": _set("model", "type", "Unigram"),
    "no vocabulary": _set("model", "vocab", {}),
    "a gap in the ids": _set("model", "vocab", "<eos>", 10**9),
    "a negative id": _set("model", "vocab", "<eos>", -1),
    "an id that is true": _set("model", "vocab", "<eos>", False),
    "an id that is text": _set("model", "vocab", "<eos>", "0"),
    "no letter counts": _set("model", "rnnctl", "spelling", None),
    "a negative count": _set("model", "rnnctl", "spelling", "ends", -5),
    "a surrogate": _set("model", "rnnctl", "spelling", "chars", {"\ud800": 1}),
    "a huge count": _set("model", "rnnctl", "spelling", "ends", 10**400),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_parts_are_refused(load, tokenizers, name):
    with pytest.raises(CorruptRunError, match="not a tokenizer that rnnctl wrote"):
        load(_changed(tokenizers["natural"], HOSTILE[name]))


BPE = {
    "a merge of nothing known": _set("model", "merges", [["Zq", "Qz"]]),
    "a merge of three": _set("model", "merges", [["a", "b", "c"]]),
    "merges that are text": _set("model", "merges", "a b"),
    "no merges": _set("model", "merges", None),
    "dropout": _set("model", "dropout", 0.5),
}


@pytest.mark.parametrize("name", BPE)
def test_hostile_merges_are_refused(load, tokenizers, name):
    with pytest.raises(CorruptRunError):
        load(_changed(tokenizers["bpe"], BPE[name]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\x80\x04\x95pickle",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"\xff\xfe{}",
        b'{"model": {"rnnctl": []}}',
        b'{"model": {"rnnctl": {"format": 1}}}',
        b"1" * 100_000,
        b'{"model": NaN}',
    ],
)
def test_other_files_are_refused(load, data):
    with pytest.raises(CorruptRunError):
        load(data)


@pytest.mark.parametrize(
    "data",
    [
        b" " * (MAX_BYTES + 1),
        b"[" + b"0," * (MAX_BYTES // 2 - 2) + b"0]",
        b"[" + b"[]," * (MAX_BYTES // 3 - 2) + b"[]]",
        b'"\\ud83d\\ude00' + b"x" * (MAX_BYTES - 20) + b'"',
    ],
)
def test_absurd_sizes_cost_little_memory(load, data):
    tracemalloc.start()
    with pytest.raises(CorruptRunError):
        load(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300 << 20


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CorruptRunError, match=r"gone\.json: the tokenizer cannot be read"):
        Tokenizer.load(tmp_path / "gone.json")


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_altered_bytes_are_refused_or_mean_what_they_say(load, tokenizers, kind, data):
    """A changed file either is refused, or is a complete tokenizer whose own file it is."""
    saved = bytearray(to_bytes(tokenizers[kind].to_dict()))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(saved) - 1))
        saved[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        saved = saved[: data.draw(st.integers(0, len(saved)))]
    try:
        found = load(bytes(saved))
    except CorruptRunError:
        return
    assert found.to_dict() == json.loads(bytes(saved))
    assert found.decode(found.encode("the cat")) is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_value_anywhere_is_refused_or_harmless(load, tokenizers, data):
    kind = data.draw(st.sampled_from(KINDS))
    content = json.loads(to_bytes(tokenizers[kind].to_dict()))
    node = content
    while True:
        key = data.draw(st.sampled_from(sorted(node)))
        if isinstance(node[key], dict) and node[key] and data.draw(st.booleans()):
            node = node[key]
            continue
        node[key] = data.draw(JSON)
        break
    try:
        found = load(json.dumps(content).encode("utf-8", "surrogatepass"))
    except CorruptRunError:
        return
    found.encode("the cat Ж")
