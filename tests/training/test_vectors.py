"""`rnnctl train --vectors`: what a model begins with, frozen or tuned, resumed and repeated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from rnnctl.runs import Run
from rnnctl.tasks.loading import load

Command = Callable[..., Any]
OPTIONS = ["--level", "word", "--quiet", "--no-diagnose", "--hidden-size", 6, "--format", "json"]
CLASSIFY = ["--task", "classify", *OPTIONS]
STILL = ["--steps", 1, "--lr", 1e-12]  # moves no weight in float32


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Some of the words of `review_file`, five numbers each."""
    draw = np.random.default_rng(3)
    words = ["one", "two", "three", "good", "nowhere", "four"]
    rows = [f"{word} {' '.join(f'{x:.4f}' for x in draw.normal(size=5))}" for word in words]
    path = tmp_path / "small.vec"
    path.write_text("6 5\n" + "\n".join(rows) + "\n")
    return path


def rows_in(path: Path) -> dict[str, list[float]]:
    lines = path.read_text().splitlines()[1:]
    return {line.split()[0]: [float(x) for x in line.split()[1:]] for line in lines}


def embedding(run: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Token -> the layers' input for it."""
    loaded = load(run)
    scaled = loaded.model.embedding.weight.detach().numpy() * loaded.model.input_scale
    names = [loaded.tokenizer.token_bytes(n).decode() for n in range(len(scaled))]
    names[0] = "<eos>"
    return dict(zip(names, scaled, strict=True))


@pytest.mark.parametrize("kind", ["classify", "lm", "tied"])
def test_a_model_begins_with_the_rows_of_the_file(
    rnnctl: Command, review_file: Path, text_file: Path, vectors: Path, tmp_path: Path, kind: str
) -> None:
    more = [review_file, *CLASSIFY] if kind == "classify" else [text_file, *OPTIONS]
    more += ["--tied" if kind == "tied" else "--no-tied"] if kind != "classify" else []
    run = tmp_path / "run"
    done = rnnctl("train", *more, *STILL, "--vectors", vectors, "--run", run)
    assert done.code == 0, done.err
    found, known = embedding(run), rows_in(vectors)
    for token, vector in found.items():
        if token.strip() in known:
            np.testing.assert_allclose(vector, known[token.strip()], rtol=1e-5)
    config = Run.open(run).config.model
    assert config.embedding_size == 5 and config.vectors == str(vectors)
    record = json.loads(done.out)["vectors"]
    wanted = sum(token.strip() in known for token in found)
    assert (record["found"], record["tokens"], record["size"]) == (wanted, len(found), 5)
    assert record["sha256"] == config.vectors_sha256
    assert "four" in found or " four" in found  # there is something to check


def test_what_is_found_is_said(
    rnnctl: Command, review_file: Path, vectors: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "Capital.csv"
    corpus.write_text(review_file.read_text().replace("two", "Two"))
    call = ("train", corpus, "--task", "classify", *STILL, "--no-diagnose", "--vectors", vectors)
    done = rnnctl(*call, "--no-lowercase", "--run", tmp_path / "run")
    vocabulary = list(embedding(tmp_path / "run"))
    known = rows_in(vectors)
    lowered = sum(t.strip() == "Two" for t in vocabulary)
    found = sum(t.strip().lower() in known for t in vocabulary)
    said = (
        f"vectors: {found} of {len(vocabulary)} tokens found in small.vec ({lowered} in lower case)"
    )
    assert done.code == 0 and lowered and said in done.err, done.err
    known_later = rnnctl("info", tmp_path / "run").out
    assert "small.vec" in known_later and "trained further" in known_later


def test_frozen_rows_stay_and_the_others_learn(
    rnnctl: Command, review_file: Path, text_file: Path, vectors: Path, tmp_path: Path
) -> None:
    known = rows_in(vectors)
    for name, more in (
        ("classifier", [review_file, *CLASSIFY]),
        ("two", [review_file, *CLASSIFY, "--workers", 2]),
        ("language model", [text_file, *OPTIONS]),
    ):
        run = tmp_path / name
        call = ["train", *more, "--steps", 5, "--vectors", vectors, "--run", run]
        done = rnnctl(*call, "--freeze-vectors")
        assert done.code == 0, done.err
        frozen = embedding(run)
        assert json.loads(done.out)["vectors"]["frozen"]
        tuned = rnnctl(*call[:-1], tmp_path / f"{name} tuned")
        assert tuned.code == 0, tuned.err
        learnt = embedding(tmp_path / f"{name} tuned")
        moved = 0
        for token, vector in frozen.items():
            if token.strip() in known:
                np.testing.assert_allclose(vector, np.float32(known[token.strip()]), rtol=1e-6)
                moved += not np.allclose(learnt[token], vector, atol=1e-4)
        assert moved >= 4
        still = rnnctl(*call[:4], *call[4:-1], tmp_path / f"{name} still", "--steps", 1, "--lr",
                       1e-12, "--freeze-vectors")  # fmt: skip
        assert still.code == 0, still.err
        first = embedding(tmp_path / f"{name} still")
        free = [
            t for t in frozen if t.strip() not in known and not np.allclose(frozen[t], first[t])
        ]
        assert free  # what is not in the file is trained


def test_a_training_goes_on_and_is_repeated_without_the_file(
    rnnctl: Command, review_file: Path, vectors: Path, tmp_path: Path
) -> None:
    call = ("train", review_file, *CLASSIFY, "--vectors", vectors, "--freeze-vectors")
    assert rnnctl(*call, "--steps", 8, "--run", tmp_path / "whole").code == 0
    assert rnnctl(*call, "--steps", 4, "--run", tmp_path / "half").code == 0
    vectors.rename(tmp_path / "elsewhere.vec")
    done = rnnctl("train", "--resume", tmp_path / "half", "--steps", 8, "--quiet", "--no-diagnose")
    assert done.code == 0, done.err
    for token, row in rows_in(tmp_path / "elsewhere.vec").items():
        if token in embedding(tmp_path / "half"):
            np.testing.assert_allclose(embedding(tmp_path / "half")[token], np.float32(row))
    record = Run.open(tmp_path / "half").read_result("train")["vectors"]
    assert record == Run.open(tmp_path / "whole").read_result("train")["vectors"]
    again = rnnctl(
        "train", "--config", tmp_path / "whole", "--run", tmp_path / "again", "--quiet",
        "--no-diagnose",
    )  # fmt: skip
    assert again.code == 0, again.err
    one, two = (
        safetensors.torch.load_file(tmp_path / name / "model.safetensors")
        for name in ("whole", "again")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
    other = rnnctl("train", "--config", tmp_path / "whole", "--run", tmp_path / "other", "--quiet",
                   "--no-diagnose", "--vocab-size", 9)  # fmt: skip
    assert other.code == 1 and "small.vec: No such file" in other.err
    vectors.write_text("one 1 1 1 1 1\n")
    changed = rnnctl("train", "--config", tmp_path / "whole", "--run", tmp_path / "x", "--quiet")
    assert changed.code == 1 and "its content changed" in changed.err
    refused = rnnctl(
        "train", "--resume", tmp_path / "half", "--vectors", tmp_path / "elsewhere.vec"
    )
    assert refused.code == 2 and "is not possible once" in refused.err, refused.err


def test_folds_and_vectors(
    rnnctl: Command, review_file: Path, vectors: Path, tmp_path: Path
) -> None:
    call = ("train", review_file, *CLASSIFY, *STILL, "--folds", 2, "--run", tmp_path / "folds",
            "--vectors", vectors)  # fmt: skip
    assert rnnctl(*call).code == 0
    assert rnnctl(*call).code == 0  # what is finished is not trained again
    assert Run.open(tmp_path / "folds" / "fold-2").config.model.vectors_sha256


@pytest.mark.parametrize("kind", ["classify", "lm", "tied"])
def test_a_model_begins_with_what_its_own_text_says_of_its_words(
    rnnctl: Command, review_file: Path, text_file: Path, tmp_path: Path, kind: str
) -> None:
    """The default of classifiers: no label is needed for it, and none is looked at."""
    more = [review_file, *CLASSIFY] if kind == "classify" else [text_file, *OPTIONS]
    more += ["--tied" if kind == "tied" else "--no-tied"] if kind != "classify" else []
    sizes = ("--hidden-size", 6, "--embedding-size", 6)
    vectors = () if kind == "classify" else ("--vectors", "corpus")
    done = rnnctl("train", *more, *sizes, *STILL, *vectors, "--run", tmp_path / "run")
    assert done.code == 0, done.err
    run = Run.open(tmp_path / "run")
    record = json.loads(done.out)["vectors"]
    assert (record["file"], run.config.model.vectors) == ("corpus", "corpus")
    assert run.config.model.vectors_sha256 is None
    kept = safetensors.torch.load_file(run.file("vectors.safetensors"))
    begun = np.stack(list(embedding(tmp_path / "run").values()))
    np.testing.assert_allclose(begun[kept["places"]], kept["rows"], rtol=1e-5, atol=1e-7)
    random = rnnctl("train", *more, *sizes, *STILL, "--vectors", "none", "--run", tmp_path / "none")
    assert random.code == 0 and json.loads(random.out)["vectors"] is None
    other = rnnctl("train", *more, *sizes, *STILL, *vectors, "--seed", 7, "--run", tmp_path / "7")
    assert json.loads(other.out)["vectors"] == record  # seeds and cells begin with the same ones
    usual = np.stack(list(embedding(tmp_path / "none").values()))
    assert begun.std() == pytest.approx(usual.std(), rel=0.25)  # the layers see as large inputs
    assert "learnt from the training text" in rnnctl("info", tmp_path / "run").out


def test_words_without_company_begin_at_random(rnnctl: Command, tmp_path: Path) -> None:
    names = tmp_path / "names.csv"
    names.write_text("text,label\n" + "".join(f"{n},{n}\n" for n in ["yes", "no"] * 40))
    call = ("train", names, *CLASSIFY, *STILL, "--documents", "line")
    done = rnnctl(*call[:-2], "--run", tmp_path / "run")
    assert done.code == 0, done.err
    assert json.loads(done.out)["vectors"]["found"] == 0
    assert "no two words stand side by side" in rnnctl("info", tmp_path / "run").out
    assert np.stack(list(embedding(tmp_path / "run").values())).std() > 0.1


def test_vectors_of_the_text_are_kept_repeated_and_left_out(
    rnnctl: Command, review_file: Path, make_run: Any, tmp_path: Path
) -> None:
    call = ("train", review_file, *CLASSIFY)
    assert rnnctl(*call, "--steps", 8, "--run", tmp_path / "whole").code == 0
    assert rnnctl(*call, "--steps", 4, "--run", tmp_path / "half").code == 0
    done = rnnctl("train", "--resume", tmp_path / "half", "--steps", 8, "--quiet", "--no-diagnose")
    assert done.code == 0, done.err
    record = Run.open(tmp_path / "half").read_result("train")["vectors"]
    assert record == Run.open(tmp_path / "whole").read_result("train")["vectors"]
    again = rnnctl("train", "--config", tmp_path / "whole", "--run", tmp_path / "again", "--quiet",
                   "--no-diagnose")  # fmt: skip
    assert again.code == 0, again.err
    one, two = (
        safetensors.torch.load_file(tmp_path / name / "model.safetensors")
        for name in ("whole", "again")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
    other = make_run("a b one two", level="word")
    for name, more in (("from", ("--from", other)), ("none", ("--vectors", "none"))):
        run = tmp_path / name
        assert rnnctl("train", review_file, "--task", "classify", "--quiet", "--no-diagnose",
                      *STILL, *more, "--run", run).code == 0  # fmt: skip
        assert Run.open(run).config.model.vectors is None
    changed = rnnctl("train", "--config", tmp_path / "whole", "--from", other, "--run",
                     tmp_path / "changed", "--quiet", "--no-diagnose")  # fmt: skip
    assert changed.code == 0, changed.err
    assert Run.open(tmp_path / "changed").config.model.vectors is None


def test_what_cannot_be(
    rnnctl: Command, review_file: Path, text_file: Path, vectors: Path, make_run: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "french.txt").write_text("chien 1 2 3\nchat 3 4 5\n")
    (tmp_path / "empty.txt").write_text("")
    other = make_run("a b", level="word")
    for arguments, code, error, hint in [
        ((review_file, *CLASSIFY, "--vectors", vectors, "--embedding-size", 50), 2,
         "--embedding-size 50: the vectors of", "the file determines it"),
        ((text_file, "--vectors", vectors), 2, "--vectors is for --level word", "--level word"),
        ((text_file, "--level", "bpe", "--vectors", vectors), 2, "is for --level word", "leave"),
        ((text_file, *OPTIONS, "--freeze-vectors"), 2, "begins with word vectors", "--vectors"),
        ((review_file, *CLASSIFY, "--vectors", "none", "--freeze-vectors"), 2,
         "begins with word vectors", "leave it out"),
        ((text_file, "--vectors", "corpus"), 2, "--vectors is for --level word", "--level word"),
        ((review_file, *CLASSIFY, "--vectors", "corpus", "--from", other), 2,
         "both set the initial word vectors", "leave one"),
        ((review_file, *CLASSIFY, "--vectors", "corpus", "--pretrain", "1s"), 2,
         "both set the initial weights", "leave one"),
        ((text_file, *OPTIONS, "--tied", "--freeze-vectors", "--vectors", vectors), 2,
         "tied to the embedding", "--no-tied"),
        ((review_file, *CLASSIFY, "--vectors", vectors, "--from", other), 2,
         "both set the initial word vectors", "leave one"),
        ((review_file, *CLASSIFY, "--vectors", tmp_path / "french.txt"), 1,
         "none of the vocabulary", "language"),
        ((review_file, *CLASSIFY, "--vectors", tmp_path / "empty.txt"), 1, "holds no vectors",
         "each line is a word"),
        ((review_file, *CLASSIFY, "--vectors", tmp_path / "gone.txt"), 1, "No such file",
         "--vectors"),
    ]:  # fmt: skip
        done = rnnctl("train", *arguments, "--run", tmp_path / "run")
        assert done.code == code and error in done.err and hint in done.err, done.err
        assert not (tmp_path / "run").exists()
