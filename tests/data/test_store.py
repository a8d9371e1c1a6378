"""The id store: what is in it, found again, whole or absent, built again when damaged."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnctl.config import CorpusConfig
from rnnctl.data import cache as caching
from rnnctl.data import store
from rnnctl.data.corpus import Corpus, open_corpus
from rnnctl.data.documents import Document
from rnnctl.data.store import WordCounter, build_store, count_words, open_store, stored_dtype
from rnnctl.errors import StorageError
from rnnctl.storage import temporary

KINDS = ["char", "byte", "natural", "whitespace", "bpe"]
LABELS = ["bad", "good"]
QUICK = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def corpus_of(texts, labelled=True):
    documents = [
        Document(text, LABELS[i % 2] if labelled else None, f"t:{i}")
        for i, text in enumerate(texts)
    ]
    return Corpus.from_documents({"train": documents, "test": documents[:1]})


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(
    texts=st.lists(st.text(alphabet="the cat\n é中😀\u3000Ж", max_size=30), min_size=1, max_size=6),
    most=st.one_of(st.none(), st.integers(1, 8)),
    keep=st.sampled_from(["head", "tail"]),
)
def test_documents_are_what_the_tokenizer_says(tokenizers, tmp_path, kind, texts, most, keep):
    tokenizer = tokenizers[kind]
    store = build_store(corpus_of(texts), tokenizer, cache=tmp_path, max_tokens=most, keep=keep)
    train = store.split("train")
    assert train.count == len(texts)
    for d, text in enumerate(texts):
        assert train.document(d).tolist() == tokenizer.encode_document(text, most, keep).tolist()
        kept = text
        if most is not None and len(tokenizer.encode(text)) > most:
            kept = tokenizer.cut(text, most, keep)
        sizes = train.chars[d], train.bytes[d], train.words[d]
        assert sizes == (len(kept), len(kept.encode()), len(kept.split()))
        unknown, nats = tokenizer.spelling_nats(kept)
        assert (train.unknown[d], train.unknown_nats[d]) == (unknown, pytest.approx(nats))
        assert store.label_names[train.labels[d]] == LABELS[d % 2] if len(texts) > 1 else True
    cut = [most is not None and len(tokenizer.encode(text)) > most for text in [*texts, texts[0]]]
    assert store.cut_share == pytest.approx(np.mean(cut))
    assert store.split("valid").count == 0
    assert np.asarray(train.ids).dtype == np.int32
    assert np.asarray(train.ids).tolist() == list(train.ids) == train.ids[:].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_running_text_is_one_document_without_boundaries(tokenizers, cache, write, sample, kind):
    path = write("text.txt", sample * 40)
    text = (sample * 40).replace("\r\n", "\n")
    corpus = open_corpus(CorpusConfig(sources=(str(path),), split="80/10/10"), cache=cache)
    tokenizer = tokenizers[kind]
    store = build_store(corpus, tokenizer, cache=cache)
    borders = [0, int(len(text) * 0.8), int(len(text) * 0.9), len(text)]
    for i, name in enumerate(("train", "valid", "test")):
        part = text[borders[i] : borders[i + 1]]
        split = store.split(name)
        assert split.running
        assert split.ids[:].tolist() == tokenizer.encode(part).tolist()
        assert split.offsets.tolist() == [0, len(split.ids)]
        assert split.labels is None
        sizes = [int(x[0]) for x in (split.chars, split.bytes, split.words)]
        assert sizes == [len(part), len(part.encode()), len(part.split())]
        assert (split.unknown[0], split.unknown_nats[0]) == pytest.approx(
            tokenizer.spelling_nats(part)
        )


@settings(max_examples=200)
@given(parts=st.lists(st.text(alphabet="a \t\n\x1c\x85\u2028\u3000\u3001é中😀"), max_size=6))
def test_words_are_counted_as_split_counts_them(parts):
    counter = WordCounter()
    for part in parts:
        counter.feed(part)
    assert counter.words == len("".join(parts).split())
    assert [count_words(part) for part in parts] == [len(part.split()) for part in parts]


def test_ids_are_kept_as_narrow_as_they_can_be():
    sizes = [2, 256, 257, 65_536, 65_537]
    assert [stored_dtype(n).itemsize for n in sizes] == [1, 1, 2, 2, 4]
    assert all(np.iinfo(stored_dtype(n)).max >= n - 1 for n in sizes)


def test_a_store_is_found_again_and_depends_on_what_went_in(tokenizers, cache, monkeypatch):
    corpus, char = corpus_of(["the cat", "sat"]), tokenizers["char"]
    first = build_store(corpus, char, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr(caching, "_publish", None)  # building again would fail
        assert build_store(corpus, char, cache=cache).path == first.path
    others = [
        build_store(corpus_of(["the cat", "sat on"]), char, cache=cache),
        build_store(corpus, tokenizers["byte"], cache=cache),
        build_store(corpus, char, cache=cache, max_tokens=2),
        build_store(corpus, char, cache=cache, max_tokens=2, keep="tail"),
    ]
    assert len({store.path for store in [first, *others]}) == 5


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_store_is_built_again(tokenizers, tmp_path, data):
    corpus = corpus_of(["the cat sat", "on the mat", "é"])
    good = build_store(corpus, tokenizers["natural"], cache=tmp_path)
    before = good.split("train").ids[:].tolist()
    files = sorted(good.path.iterdir())
    target = data.draw(st.sampled_from(files))
    content = bytearray(target.read_bytes())
    how = data.draw(st.sampled_from(["flip", "cut", "gone", "swap"]))
    if how == "gone":
        target.unlink()
    elif how == "swap":
        target.write_bytes(data.draw(st.sampled_from(files)).read_bytes())
    elif how == "cut":
        target.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    elif content:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        target.write_bytes(content)
    again = build_store(corpus, tokenizers["natural"], cache=tmp_path)
    assert again.split("train").ids[:].tolist() == before
    assert [p.name for p in again.path.parent.iterdir()] == [again.path.name]


@pytest.mark.parametrize("how", ["cut, time kept", "flip, time new"])
def test_a_large_store_is_verified_by_size_and_time(tokenizers, cache, monkeypatch, how):
    monkeypatch.setattr(caching, "ALWAYS_HASHED", 0)
    store = build_store(corpus_of(["the cat sat"]), tokenizers["char"], cache=cache)
    path = store.path / "train.ids"
    stat = path.stat()
    content = path.read_bytes()
    assert open_store(store.path) is not None
    if how == "cut, time kept":
        path.write_bytes(content[:-1])
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    else:
        path.write_bytes(content[:-2] + b"\x01" + content[-1:])
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert open_store(store.path) is None


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
def test_a_full_disk_leaves_the_cache_as_it_was(tokenizers, cache, monkeypatch, after):
    corpus = corpus_of(["the cat sat", "on the mat"])
    good = build_store(corpus, tokenizers["char"], cache=cache)
    writes = iter(range(100))

    def full(method):
        def write(self, *data):
            if next(writes) >= after:
                raise OSError(errno.ENOSPC, "No space left on device")
            return method(self, *data)

        return write

    for name in ("_write", "_flush"):
        monkeypatch.setattr(store.SplitWriter, name, full(getattr(store.SplitWriter, name)))
    with pytest.raises(StorageError, match="the disk is full"):
        build_store(corpus, tokenizers["byte"], cache=cache)
    assert [p.name for p in good.path.parent.iterdir()] == [good.path.name]
    assert open_store(good.path) is not None


@pytest.mark.parametrize("call", ["fsync", "replace", "rename"])
def test_a_failing_call_leaves_the_cache_as_it_was(tokenizers, cache, monkeypatch, call):
    def fail(*_args, **_kwargs):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        if call == "fsync":
            patch.setattr(os, "fsync", fail)
        else:
            patch.setattr(caching.Path, call, fail)
        with pytest.raises(StorageError, match="Input/output error"):
            build_store(corpus_of(["the"]), tokenizers["char"], cache=cache)
    assert not list((cache / "stores").iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_cache_is_an_error(tokenizers, cache):
    cache.mkdir()
    cache.chmod(0o500)
    with pytest.raises(StorageError):
        build_store(corpus_of(["the"]), tokenizers["char"], cache=cache)


def test_a_cache_that_is_a_file_is_an_error(tokenizers, write):
    with pytest.raises(StorageError, match="cannot write"):
        build_store(corpus_of(["the"]), tokenizers["char"], cache=write("cache", "in the way"))


def test_what_killed_builders_left_is_removed(tokenizers, cache):
    with temporary(cache / "stores" / "other") as alive:
        dead = alive.with_name(alive.name.replace(f"-{os.getpid()}", "-999999999"))
        machine = alive.name.split("-")[-2]
        elsewhere = dead.with_name(dead.name.replace(machine, "0" * 8))
        for folder in (dead, alive, elsewhere):
            folder.mkdir(parents=True)
        build_store(corpus_of(["the"]), tokenizers["char"], cache=cache)
        assert not dead.exists()
        assert alive.exists()
        assert elsewhere.exists()


BUILDER = """
    import sys
    from pathlib import Path
    from rnnctl.config import CorpusConfig, TokenizerConfig
    from rnnctl.data.corpus import open_corpus
    from rnnctl.data.store import build_store
    from rnnctl.data.tokenizers import make_tokenizer
    cache = Path(sys.argv[2])
    corpus = open_corpus(CorpusConfig(sources=(sys.argv[1],)), cache=cache)
    tokenizer = make_tokenizer(corpus, TokenizerConfig(level="char"), cache=cache)
    store = build_store(corpus, tokenizer, cache=cache)
    print(store.path, len(store.split("train").ids))
"""


def test_several_builders_at_once_agree(write, cache):
    path = write("text.txt", "the cat sat on the mat\n" * 50_000)
    command = [sys.executable, "-c", textwrap.dedent(BUILDER), str(path), str(cache)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    outputs = {process.communicate(timeout=120)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(outputs) == 1
    assert len(list((cache / "stores").iterdir())) == 1


def test_a_manifest_cannot_be_altered_unnoticed(tokenizers, cache):
    store = build_store(corpus_of(["the cat"]), tokenizers["char"], cache=cache)
    path = store.path / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["splits"]["train"]["tokens"] = 10**15
    path.write_text(json.dumps(manifest))
    assert open_store(store.path) is None
