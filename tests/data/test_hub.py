"""Hub corpora, tried on a data set that lies in a folder: the loading code is the real one."""

from __future__ import annotations

import json
import os

import pytest

from rnnctl.config import CorpusConfig
from rnnctl.data import hub
from rnnctl.data.corpus import open_corpus
from rnnctl.errors import DataError, UsageError


@pytest.fixture
def hubbed(tmp_path, monkeypatch, cache):
    """Open ``hub:owner/name`` where the hub is a folder."""
    root = tmp_path / "hub"

    def record(split, i):
        return json.dumps({"sentence": f"{split} {i}", "label": i % 2, "idx": i}) + "\n"

    for split, count in (("train", 30), ("validation", 6), ("test", 8)):
        path = root / "owner/name/data" / f"{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(record(split, i) for i in range(count)))
    monkeypatch.setattr(hub, "location", lambda name: str(root / name))

    def call(spec, task="classify", **options):
        return open_corpus(CorpusConfig(sources=(spec,), **options), task=task, cache=cache)

    return call


def test_splits_are_found_by_their_names(hubbed):
    corpus = hubbed("hub:owner/name")
    sizes = [len(list(corpus.documents(s))) for s in ("train", "valid", "test")]
    assert sizes == [30, 6, 8]
    assert corpus.label_names == ("0", "1")
    first = next(corpus.documents("valid"))
    assert (first.text, first.label, first.source) == ("validation 0", "0", "hub:owner/name:1")


def test_one_split_is_cut_like_any_corpus(hubbed):
    corpus = hubbed("hub:owner/name:train", task="lm", split="80/10/10")
    texts = [d.text for s in ("train", "valid", "test") for d in corpus.documents(s)]
    assert sorted(texts) == sorted(f"train {i}" for i in range(30))
    assert corpus.label_names == ()


def test_a_split_that_is_not_there_is_said(hubbed):
    with pytest.raises(DataError, match="has no split 'dev'") as caught:
        hubbed("hub:owner/name:dev")
    assert "train, validation, test" in caught.value.hint


def test_a_data_set_that_is_not_there_is_said(hubbed):
    with pytest.raises(DataError, match="hub:owner/other cannot be loaded"):
        hubbed("hub:owner/other")


@pytest.mark.parametrize(
    "spec",
    [
        "hub:",
        "hub:/etc/passwd",
        "hub:../x",
        "hub:a/../b",
        "hub:a/b/c",
        "hub:a b",
        "hub:a:train[:10%]",
        "hub:a:b:c",
        "hub:https://example.org/x",
        "hub:-x",
        "hub:a\n",
        "hub:" + "a" * 200,
    ],
)
def test_names_are_validated(spec):
    with pytest.raises(UsageError, match="is not hub:NAME"):
        hub.parse(spec)


def test_good_names_are_parsed():
    assert hub.parse("hub:imdb") == ("imdb", None)
    assert hub.parse("hub:stanfordnlp/imdb:train") == ("stanfordnlp/imdb", "train")


def test_a_folder_of_that_name_is_not_taken_for_the_hub(tmp_path, monkeypatch):
    (tmp_path / "imdb").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="there is a folder of that name"):
        hub.location("imdb")


@pytest.mark.parametrize(
    ("proxy", "known", "offline"),
    [("", False, "1"), ("", True, None), ("http://proxy:3128", False, None)],
    ids=["no names", "names", "a proxy"],
)
def test_nothing_is_retried_where_no_name_can_be_looked_up(monkeypatch, proxy, known, offline):
    def look_up(*_):
        if not known:
            raise OSError("Name or service not known")

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    if proxy:
        monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setattr(hub.socket, "getaddrinfo", look_up)
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    hub.stay_offline_without_names()
    assert os.environ.get("HF_HUB_OFFLINE") == offline
