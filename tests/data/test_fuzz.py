"""Twenty thousand hostile inputs to the readers, and to the tokenizers; minutes, so by hand.

All of them: `python tests/benchmarks/trust.py hostile`.
Inputs are bytes, structures, and real files with a few bytes altered. Allowed is an answer or an
`RnnctlError`; everything else fails here.
"""

from __future__ import annotations

import gzip
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnctl.config import CorpusConfig
from rnnctl.data.corpus import open_corpus
from rnnctl.data.recognition import labels_lines
from rnnctl.data.text import beginning, open_text
from rnnctl.data.tokenizers import MalformedTextError, Tokenizer
from rnnctl.data.tokenizers.base import to_bytes
from rnnctl.errors import CorruptRunError, RnnctlError

PARTS = range(5)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.parametrize("part", PARTS),  # each with other inputs, and short enough to watch
]

FUZZ = settings(
    max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SEEDS = [
    b'text,label\nplain words,a\n"quoted, ""twice""",b\n',
    b'sentence\tlabel\nplain words\t1\n"open\t0\n',
    b'{"text": "plain words", "label": 1}\n{"text": "\\u00e9\\ud83d\\ude00", "label": "x"}\n',
    b'[{"text": "a", "label": null}, "b"]',
    b"__label__a plain words\n__label__b others\n",
    "Zeile eins\r\n\r\n\u2028zwei\x85 drei\x00 中文 😀\n".encode(),
    "utf sixteen\n".encode("utf-16"),
    gzip.compress(b"text,label\nplain,a\n"),
]
KINDS = [".csv", ".tsv", ".jsonl", ".json", "lines"]


@st.composite
def altered(draw, seeds):
    """A seed with bytes changed, inserted, removed or doubled."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, len(data)))
        how = draw(st.sampled_from(["set", "insert", "cut", "double", "end"]))
        if how == "set" and place < len(data):
            data[place] = draw(st.integers(0, 255))
        elif how == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=6))
        elif how == "cut":
            del data[place : place + draw(st.integers(1, 8))]
        elif how == "double":
            data[place:place] = data[: draw(st.integers(0, 20))]
        else:
            del data[place:]
    return bytes(data)


CONTENT = st.one_of(st.binary(max_size=200), altered(SEEDS))
ENCODINGS = st.sampled_from(["utf-8", "utf-8", "utf-16", "utf-32", "cp1252", "shift_jis", "utf-7"])


@FUZZ
@given(data=CONTENT, kind=st.sampled_from(KINDS), encoding=ENCODINGS, labelled=st.booleans())
def test_tables(write, cache, table_rows, data, kind, encoding, labelled, part):
    try:
        file = open_text(write(f"table{kind}", data), encoding=encoding, cache=cache)
        labels_lines(beginning(file))
        for row in table_rows(file, kind, cache=cache, labelled=labelled):
            (row["text"] + row["label"]).encode()
    except RnnctlError as error:
        assert error.message


@FUZZ
@given(
    data=CONTENT,
    encoding=ENCODINGS,
    unit=st.sampled_from(["none", "paragraph", "line", "file"]),
    piped=st.booleans(),
)
def test_text(write, cache, data, encoding, unit, piped, part):
    source = "-" if piped else str(write("t.txt", data))
    config = CorpusConfig(sources=(source,), encoding=encoding, documents=unit)
    if piped and data.lstrip().startswith(b"{"):
        return  # JSON lines: tests of tables; through `datasets` each costs a tenth of a second
    try:
        corpus = open_corpus(config, cache=cache, stdin=io.BytesIO(data))
        parts = [d.text for split in ("train", "valid", "test") for d in corpus.documents(split)]
    except RnnctlError as error:
        assert error.message
        return
    if unit == "none" and encoding == "utf-8":
        whole = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        if b"\r" in whole or whole.startswith((b"\xff\xfe", b"\xfe\xff")):
            return  # line ends are converted, and UTF-16 is read by its byte order mark
        assert "".join(parts) == whole.decode("utf-8-sig")


@FUZZ
@given(data=st.data())
def test_tokenizer_files(tokenizers, tmp_path, data, part):
    seeds = [to_bytes(tokenizer.to_dict()) for tokenizer in tokenizers.values()]
    content = data.draw(st.one_of(altered(seeds), st.binary(max_size=100)))
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    try:
        found = Tokenizer.load(path)
    except CorruptRunError:
        return
    assert found.to_dict() == json.loads(content)


@FUZZ
@given(data=st.data())
def test_streams(tokenizers, data, part):
    tokenizer = tokenizers[data.draw(st.sampled_from(sorted(tokenizers)))]
    encoder = tokenizer.stream()
    fed = b""
    try:
        for _ in range(data.draw(st.integers(0, 4))):
            part = data.draw(CONTENT)
            fed += part
            encoder.feed(part)
        encoder.finish()
    except MalformedTextError as error:
        with pytest.raises(UnicodeDecodeError) as caught:
            fed.decode()
        assert error.offset == caught.value.start
    else:
        assert encoder.unknown == tokenizer.spelling_nats(fed.decode())[0]


@settings(FUZZ, max_examples=600)
@given(text=st.text(max_size=120), kind=st.sampled_from(["char", "natural", "whitespace", "bpe"]))
def test_hugging_face_encodes_alike(tokenizers, tmp_path, text, kind, part):
    import tokenizers as library

    opened = library.Tokenizer.from_str(to_bytes(tokenizers[kind].to_dict()).decode())
    assert tokenizers[kind].encode(text).tolist() == opened.encode(text).ids
