"""Files that change while they are read: refused, and nothing of them stays in the cache."""

from __future__ import annotations

import os
import shutil

import pytest

from rnnctl.config import CorpusConfig, TokenizerConfig
from rnnctl.data import cache as caching
from rnnctl.data import tables, text
from rnnctl.data.corpus import open_corpus
from rnnctl.data.store import build_store
from rnnctl.data.tokenizers import make_tokenizer
from rnnctl.errors import DataError

GOOD = "".join(f"good line {i:05d}\n\n" for i in range(300))
BYTES = TokenizerConfig(level="byte")


def opened(path, cache, documents="none", task="lm"):
    config = CorpusConfig(sources=(str(path),), documents=documents)
    return open_corpus(config, task=task, cache=cache)


def built(path, cache, documents):
    corpus = opened(path, cache, documents)
    tokenizer = make_tokenizer(corpus, BYTES, cache=cache)
    return tokenizer.decode(build_store(corpus, tokenizer, cache=cache).split("train").ids[:9])


@pytest.mark.parametrize("documents", ["none", "line", "paragraph", "file"])
@pytest.mark.parametrize("other", ["evil", "é", "", "good line"])
def test_a_store_holds_only_the_text_that_was_opened(write, cache, documents, other):
    path = write("live.txt", GOOD)
    stat = path.stat()
    corpus = opened(path, cache, documents)
    tokenizer = make_tokenizer(corpus, BYTES, cache=cache)
    path.write_text(GOOD.replace("good", other) if other != "good line" else other)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(DataError, match=r"live\.txt was changed or removed while it was read"):
        build_store(corpus, tokenizer, cache=cache)
    assert not [p for p in (cache / "stores").iterdir() if p.name[0] != "."]
    path.write_text(GOOD)
    assert built(path, cache, documents) == "good line"


@pytest.mark.parametrize("documents", ["none", "line"])
def test_a_tokenizer_is_made_of_the_text_that_was_opened(write, cache, documents):
    path = write("live.txt", GOOD)
    corpus = opened(path, cache, documents)
    path.write_text(GOOD.replace("good", "evil"))
    with pytest.raises(DataError, match="was changed"):
        make_tokenizer(corpus, TokenizerConfig(), cache=cache)
    assert not list((cache / "tokenizers").iterdir())


@pytest.mark.parametrize("documents", ["none", "line"])
def test_a_text_that_only_grew_is_read_as_it_was(write, cache, documents):
    path = write("log.txt", GOOD)
    corpus = opened(path, cache, documents)
    with path.open("a") as file:
        file.write("and more\n")
    assert "more" not in "".join(d.text for d in corpus.documents("test"))


def test_a_large_text_is_hashed_again_only_if_it_was_touched(write, cache, monkeypatch):
    monkeypatch.setattr(text, "ALWAYS_HASHED", 100)
    path = write("large.txt", GOOD)
    corpus = opened(path, cache)
    with monkeypatch.context() as patch:
        patch.setattr(text, "_sha256", None)  # hashing would fail
        assert list(corpus.documents("train"))
    os.utime(path, (1, 1))
    assert list(corpus.documents("train"))
    path.write_text(GOOD.replace("good", "evil"))
    with pytest.raises(DataError, match="was changed"):
        next(corpus.documents("train"))


@pytest.mark.parametrize("hashed", [0, 1 << 20])
def test_a_text_that_changed_under_its_old_time_is_read_anew(write, cache, monkeypatch, hashed):
    monkeypatch.setattr(text, "_SCAN_WORTH_KEEPING", 100)
    monkeypatch.setattr(text, "ALWAYS_HASHED", hashed)
    path = write("large.txt", GOOD)
    os.utime(path, (1, 1))
    assert built(path, cache, "none") == "good line"
    assert list((cache / "scans").iterdir())
    path.write_text(GOOD.replace("good", "evil"))
    os.utime(path, (1, 1))
    assert built(path, cache, "none") == "evil line"


def test_a_table_is_kept_only_as_it_was_opened(write, cache, monkeypatch):
    path = write("t.csv", "text,label\n" + "good,x\nbad,y\n" * 9)

    def later(*arguments, **options):
        path.write_text("text,label\n" + "evil,x\nbad,y\n" * 9)
        return convert(*arguments, **options)

    convert = tables._convert
    with monkeypatch.context() as patch:
        patch.setattr(tables, "_convert", later)
        with pytest.raises(DataError, match=r"t\.csv was changed"):
            opened(path, cache, task="classify")
    assert not list((cache / "tables").iterdir())


def test_a_parquet_table_is_kept_only_as_it_was_opened(tmp_path, cache, monkeypatch):
    path, other = parquet(tmp_path / "t.parquet", "good"), parquet(tmp_path / "u.parquet", "evil")
    load = tables._load_parquet

    def later(*arguments, **options):
        shutil.copy(other, path)
        load(*arguments, **options)

    monkeypatch.setattr(tables, "_load_parquet", later)
    with pytest.raises(DataError, match=r"t\.parquet was changed"):
        opened(path, cache)
    assert not list((cache / "tables").iterdir())


def test_one_table_under_two_names_is_converted_once(tmp_path, cache, monkeypatch):
    path = parquet(tmp_path / "t.parquet", "good")
    again = shutil.copy(path, tmp_path / "u.parquet")
    opened(path, cache)
    monkeypatch.setattr(caching, "_publish", None)  # converting again would fail
    corpus = opened(again, cache)
    assert {d.source.rsplit(":")[0] for d in corpus.documents("train")} == {str(again)}
    opened(path, cache)


def test_an_empty_parquet_table_is_said_to_be_empty(tmp_path, cache, capfd):
    with pytest.raises(DataError, match=r"t\.parquet holds no text"):
        opened(parquet(tmp_path / "t.parquet"), cache)
    assert capfd.readouterr() == ("", "")


def parquet(path, *words):
    import pyarrow
    import pyarrow.parquet

    texts = [f"{word} {i}" for word in words for i in range(20)]
    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array(texts, "string")}), path)
    return path
