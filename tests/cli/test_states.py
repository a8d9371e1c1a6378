"""`rnnctl states`: the inside as arrays, in three formats, of texts in every form."""

from __future__ import annotations

import json
import math
import re
import tracemalloc
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnctl.data.tokenizers import Tokenizer
from rnnctl.inference import arrays
from rnnctl.inference import inside as module
from rnnctl.inference.inside import Inside, find_places
from rnnctl.tasks.loading import load

MakeRun = Callable[..., Path]
CommandLine = Callable[..., Any]
TEXT = "the clock in the hall had stopped. she came home at noon, and nobody knew.\n" * 3
LINES = "the clock had stopped.\nshe  came home\n\nUnknown wörds 😀 knew\n"
# Weights of a usual size: larger ones make a network that blows roundings up.
SIZES: dict[str, Any] = {"num_layers": 2, "hidden_size": 12, "scale": 1.0}


@pytest.fixture(scope="module", params=["char", "byte", "word", "bpe"])
def run(make_run: MakeRun, request: pytest.FixtureRequest) -> Path:
    size = 280 if request.param == "bpe" else None
    return make_run(TEXT, level=request.param, running=False, vocab_size=size, **SIZES)


@pytest.fixture(scope="module")
def one_run(make_run: MakeRun) -> Path:
    return make_run(TEXT, running=False, **SIZES)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pieces of some tokens, as they would be of a long text or a large model."""
    monkeypatch.setattr(module, "NUMBERS", 64 * 500)
    monkeypatch.setattr(module, "CHUNK", 10)
    monkeypatch.setattr(module, "FEW", 20)
    monkeypatch.setattr(arrays, "_HELD", 5000)  # the rest goes through files
    monkeypatch.setattr(module, "WORTH_IT", 60)
    yield


def nats_from(run: Path, h: np.ndarray, ids: np.ndarray) -> float:
    """What the output layer makes of the states before the ids (T, H), without spelling."""
    model = load(run).model
    with torch.no_grad():
        logits = model.logits(model.projection(torch.from_numpy(h)))
    targets = torch.from_numpy(ids.astype(np.int64))
    return float(torch.nn.functional.cross_entropy(logits.double(), targets, reduction="sum"))


@pytest.mark.parametrize("form", ["npz", "safetensors", "parquet"])
def test_the_states_give_the_nats_again(
    run: Path, form: str, tmp_path: Path, rnnctl: CommandLine
) -> None:
    """The states of the top layer, through the output layer, are what `score` says of each line."""
    file = tmp_path / f"states.{form}"
    done = rnnctl("states", run, "--lines", "-o", file, stdin=LINES)
    assert (done.code, done.out) == (0, ""), done.err
    said = rnnctl("score", run, "--lines", "--format", "json", stdin=LINES)
    tokenizer = Tokenizer.load(run / "tokenizer.json")
    if form == "parquet":
        table = pd.read_parquet(file)
        item, ids, h = table["item"].to_numpy(), table["id"].to_numpy(), np.stack(table["h_2"])
        assert item.dtype == np.int64
    else:
        found = np.load(file) if form == "npz" else safetensors.numpy.load_file(file)
        ids, h = found["id"], found["h"][:, 1]
        item = found["items"][found["item"]]
    boundary = np.array([tokenizer.boundary_id])
    for line, text in zip(said.out.splitlines(), LINES.splitlines(), strict=True):
        answer = json.loads(line)
        own = item == answer["line"]
        assert ids[own].tolist() == [tokenizer.boundary_id, *tokenizer.encode(text)]
        nats = nats_from(run, h[own], np.append(ids[own][1:], boundary))
        assert nats + tokenizer.spelling_nats(text)[1] == pytest.approx(answer["nats"], abs=1e-4)


def test_a_file_of_any_length_is_read_in_pieces(
    run: Path, tmp_path: Path, rnnctl: CommandLine
) -> None:
    """As one text it has the states of the same text in one line, and the same places."""
    text = "She knew wörds 😀 of the hall, and " * 30
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    assert rnnctl("states", run, path, "-o", tmp_path / "whole.npz").code == 0
    assert rnnctl("states", run, path, "--lines", "-o", tmp_path / "line.npz").code == 0
    whole, line = np.load(tmp_path / "whole.npz"), np.load(tmp_path / "line.npz")
    assert whole["items"].tolist() == [str(path)]
    for name in ("id", "start", "end", "byte_start", "byte_end", "item", "vocabulary", "layers"):
        np.testing.assert_array_equal(whole[name], line[name], name)
    for name in ("h", "c", "input", "forget", "candidate", "output"):
        assert whole[name].shape == (len(whole["id"]), 2, 12)
        np.testing.assert_allclose(whole[name], line[name], rtol=1e-4, atol=1e-5, err_msg=name)
    data = text.encode()
    tokens = whole["vocabulary"][whole["id"]]
    for k in (1, 5, len(tokens) - 1):
        assert data[whole["byte_start"][k] : whole["byte_end"][k]]
        piece = text[whole["start"][k] : whole["end"][k]]
        assert tokens[k] == "<unk>" or "\\" in tokens[k] or tokens[k] == piece


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_places_are_characters_and_bytes(text: str) -> None:
    """Of a byte in the middle of a character, the character's."""
    from rnnctl.config import TokenizerConfig
    from rnnctl.data.tokenizers import train_tokenizer

    for level in ("byte", "char"):
        tokenizer = train_tokenizer(["abc"], TokenizerConfig(level=level))
        places = find_places(tokenizer, text, tokenizer.encode(text))
        data = text.encode()
        for start, end, first, last in places.tolist():
            assert end == start + 1
            before = len(text[:start].encode())
            assert before <= first < last <= before + len(text[start].encode())
        assert sum(last - first for *_, first, last in places.tolist()) == len(data)


@pytest.mark.parametrize("pool", ["mean", "last", "max"])
@pytest.mark.parametrize("whole", [False, True])
def test_pooled_is_what_the_rows_say(
    pool: str, whole: bool, one_run: Path, tmp_path: Path, rnnctl: CommandLine
) -> None:
    """The document's start is no row of the text; it counts where the text is empty."""
    how = () if whole else ("--lines",)
    for name, more in (("rows", ()), ("pooled", ("--pool", pool))):
        done = rnnctl("states", one_run, *how, *more, "-o", tmp_path / f"{name}.npz", stdin=LINES)
        assert done.code == 0, done.err
    rows, pooled = np.load(tmp_path / "rows.npz"), np.load(tmp_path / "pooled.npz")
    assert not {"id", "item", "vocabulary", "start"} & set(pooled)
    assert pooled["items"].tolist() == rows["items"].tolist()
    function = {"mean": np.mean, "last": lambda a, axis: a[-1], "max": np.max}[pool]
    for item in range(len(pooled["items"])):
        own = np.flatnonzero(rows["item"] == item)
        assert pooled["tokens"][item] == len(own) - 1
        own = own[1:] if len(own) > 1 else own
        for part in ("h", "c", "forget"):
            wanted = function(rows[part][own], axis=0)
            np.testing.assert_allclose(pooled[part][item], wanted, atol=1e-6)


def test_parts_layers_ids_and_tables(one_run: Path, tmp_path: Path, rnnctl: CommandLine) -> None:
    source = tmp_path / "items.csv"
    source.write_text("id,text,more\ni7,the clock,1\ni9,nobody knew,2\n")
    file = tmp_path / "s.npz"
    more = ("--parts", "forget, h", "--layers", "2")
    done = rnnctl("states", one_run, source, *more, "-o", file)
    assert done.code == 0, done.err
    found = np.load(file)
    assert set(found) == {
        "items", "item", "id", "start", "end", "byte_start", "byte_end", "h", "forget", "layers",
        "vocabulary",
    }  # fmt: skip
    assert found["items"].tolist() == ["i7", "i9"]
    assert found["layers"].tolist() == [2]
    assert found["h"].shape[1:] == (1, 12)
    assert rnnctl("states", one_run, source, "--id", "more", "-o", tmp_path / "t.parquet").code == 0
    table = pd.read_parquet(tmp_path / "t.parquet")
    assert table["item"].unique().tolist() == ["1", "2"]
    assert "".join(table["token"][1:10]) == "the clock"
    assert rnnctl("states", one_run, source, "-o", tmp_path / "t.safetensors").code == 0
    tensors = safetensors.numpy.load_file(tmp_path / "t.safetensors")
    assert bytes(tensors["items_utf8"]) == b"i7i9"
    assert tensors["items_size"].tolist() == [2, 2]
    with safetensors.safe_open(tmp_path / "t.safetensors", "numpy") as opened:
        vocabulary = json.loads(opened.metadata()["vocabulary"])
    assert [vocabulary[k] for k in tensors["id"][:4]] == ["<eos>", "t", "h", "e"]


def test_a_bad_record_harms_no_other(one_run: Path, tmp_path: Path, rnnctl: CommandLine) -> None:
    source = tmp_path / "items.jsonl"
    source.write_text('{"text": "the clock"}\n{"text": 5}\nno json\n{"text": "knew"}\n')
    done = rnnctl("states", one_run, source, "-o", tmp_path / "s.npz")
    assert done.code == 1
    assert done.err.count("warning") == 2
    assert np.load(tmp_path / "s.npz")["items"].tolist() == [1, 4]
    done = rnnctl("states", one_run, source, "--jsonl", "--fail-fast", "-o", tmp_path / "t.npz")
    assert done.code == 1
    assert (
        list(tmp_path.iterdir()) == [source, tmp_path / "s.npz"]
        or not (tmp_path / "t.npz").exists()
    )
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-o", "x.txt"), "ending"),
        ((), "standard output"),
        (("-o", "-"), "standard output"),
        (("-o", "x.npz", "--parts", "hh"), "'hh'"),
        (("-o", "x.npz", "--parts", "h,,c"), "''"),
        (("-o", "x.npz", "--layers", "3"), "no layer 3"),
        (("-o", "x.npz", "--layers", "top"), "list of layers"),
        (("-o", "x.npz", "--id", "name"), "--id name"),
        (("-o", "x.npz", "--fail-fast"), "--fail-fast"),
    ],
)
def test_what_cannot_be(
    options: tuple[str, ...], said: str, one_run: Path, rnnctl: CommandLine,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = rnnctl("states", one_run, *options, stdin="the clock")
    assert done.code == 2
    assert said in done.err
    assert "hint" in done.err
    assert not list(tmp_path.iterdir())


def test_classifiers(make_run: MakeRun, tmp_path: Path, rnnctl: CommandLine) -> None:
    """One that reads in both directions is refused; another ends with the document's end."""
    both = make_run(TEXT, level="word", labels=("bad", "good"), bidirectional=True)
    done = rnnctl("states", both, "-o", tmp_path / "s.npz", stdin="the clock\n")
    assert done.code == 1
    assert "both directions" in done.err
    assert "--no-bidirectional" in done.err
    assert "--pool" in done.err
    one = make_run(TEXT, level="word", labels=("bad", "good"), max_tokens=3, pool="last", scale=1)
    done = rnnctl("states", one, "-o", tmp_path / "s.npz", stdin="the clock in the hall\nknew\n")
    assert done.code == 0, done.err
    found = np.load(tmp_path / "s.npz")
    tokens = found["vocabulary"][found["id"]].tolist()
    assert tokens[-1] == "<eos>"
    assert len(tokens) == 4 + 2
    loaded = load(one)
    with torch.no_grad():
        logits = loaded.model.head(torch.from_numpy(found["h"][[3, 5], -1]))
    said = rnnctl("classify", one, "--format", "json", stdin="the clock in the hall\nknew\n")
    for row, line in zip(logits.softmax(-1), said.out.splitlines(), strict=True):
        answer = json.loads(line)["probabilities"]
        assert row.tolist() == pytest.approx([answer["bad"], answer["good"]], abs=1e-5)


@pytest.mark.parametrize("engine", ["auto", "closed"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("pool", ["mean", "last", "max"])
def test_pooled_states_of_both_directions_are_those_of_torch(
    pool: str, cell: str, engine: str, make_run: MakeRun, tmp_path: Path, rnnctl: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """`torch.nn` layer by layer; a long text, a text of one word, and an empty line between."""
    run = make_run(TEXT, level="word", labels=("a", "b"), cell=cell, bidirectional=True, **SIZES)
    if engine == "closed":
        monkeypatch.setattr("rnnctl.nn.models.can_read", lambda recurrent: False)
    lines = [" ".join(["the clock in the hall"] * 9), "knew", "she came home"]
    done = rnnctl("states", run, "--lines", "--pool", pool, "-o", tmp_path / "s.npz",
                  stdin="\n".join(lines))  # fmt: skip
    assert done.code == 0, done.err
    assert "24 units (half of them backwards)" in done.err
    found, loaded = np.load(tmp_path / "s.npz"), load(run)
    recurrent = loaded.model.recurrent
    names = [name for name, _ in recurrent.named_parameters()]
    for row, line in enumerate(lines):
        ids = np.append(loaded.tokenizer.encode(line), loaded.tokenizer.boundary_id)
        inputs = loaded.model.embedding.weight.detach()[torch.from_numpy(ids.astype(np.int64))]
        for layer in range(2):
            kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
            one = kind(inputs.shape[1], 12, bidirectional=True)
            own = [name for name in names if f"_l{layer}" in name]
            one.load_state_dict(
                {name.replace(f"_l{layer}", "_l0"): recurrent.get_parameter(name) for name in own}
            )
            with torch.no_grad():
                inputs, _ = one(inputs)
            h = inputs.numpy()
            last = np.concatenate([h[-1, :12], h[0, 12:]])
            wanted = {"mean": h.mean(0), "max": h.max(0), "last": last}[pool]
            np.testing.assert_allclose(found["h"][row, layer], wanted, rtol=1e-4, atol=1e-5)
    assert found["tokens"].tolist() == [46, 2, 4]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_compiled_passes_say_what_the_trace_says(cell: str, make_run: MakeRun) -> None:
    """`Recurrent.trace` is tested against torch's own layers; here are many texts side by side."""
    loaded = load(make_run(TEXT, cell=cell, **SIZES))
    model, rng = loaded.model, np.random.default_rng(0)
    lengths = np.array([3, 17, 1, 9])
    ids = rng.integers(0, model.vocab_size, lengths.sum())
    names = (*model.recurrent.cell.state_names, *model.recurrent.cell.gate_names)
    state = tuple(torch.rand_like(part) for part in model.recurrent.initial_state(4))
    wanted, last = model._trace(ids, lengths, names, state)
    for layers in ([0], [1], [0, 1]):
        found, after = model.inside(ids, lengths, names, layers, state)
        assert found.keys() == set(names)
        for name, values in found.items():
            other = torch.stack([wanted[layer][name] for layer in layers], 1)
            torch.testing.assert_close(values, other, atol=1e-4, rtol=1e-4)
    for one_part, other_part in zip(after, last, strict=True):
        torch.testing.assert_close(one_part, other_part, atol=1e-4, rtol=1e-4)
    assert math.isfinite(float(found["h"].sum()))


def test_long_texts_come_in_stretches(one_run: Path) -> None:
    inside = Inside(load(one_run), ["h"])
    sizes = [len(part.read.ids) for part in inside.stream([TEXT.encode()] * 3)]
    assert max(sizes) <= 10
    assert sum(sizes) == 3 * len(TEXT) + 1


def test_what_waits_is_counted_once(one_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of short texts wait together: adding up all of them for each took longest."""
    asked = 0

    class Ids(np.ndarray[Any, Any]):
        def __len__(self) -> int:
            nonlocal asked
            asked += 1
            return super().__len__()

    inside = Inside(load(one_run), ["h"], whole=True)
    monkeypatch.setattr(inside, "_most", 1 << 20)
    whole = inside._whole
    monkeypatch.setattr(inside, "_whole", lambda text: whole(text)._replace(
        ids=whole(text).ids.view(Ids)))  # fmt: skip
    assert len(list(inside.texts(["to", "be", "or"] * 100))) == 300
    assert asked < 20 * 300


def test_the_lines_of_the_guide_run(
    one_run: Path, tmp_path: Path, rnnctl: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (files("rnnctl") / "docs" / "guide.md").read_text("utf-8")
    (lines,) = re.findall(r"```python\n(import numpy.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    more = (("--parts", "h,forget", "-o", "states.npz"), ("--pool", "mean", "-o", "pooled.parquet"))
    for options in more:
        assert rnnctl("states", one_run, "--lines", *options, stdin=LINES * 2).code == 0
    made: dict[str, Any] = {}
    exec(compile(lines, "guide.md", "exec"), made)
    assert made["top"].shape == (len(made["tokens"]), 12)
    assert len(made["table"]) == 8


def test_rows_of_many_short_texts_wait_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An array of some numbers takes more memory than these: it counts too."""
    monkeypatch.setattr(arrays, "_HELD", 1 << 20)
    path, count = tmp_path / "s.npz", 20_000
    tracemalloc.start()
    with arrays.writer(path, "npz", arrays.Facts((1,))) as out:
        for number in range(count):
            place = out.item(number)
            out.rows(place, {"h": np.full((1, 1, 2), number, np.float32)})
        highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert highest < 3 << 20, highest
    assert np.load(path)["h"][:, 0, 0].tolist() == list(range(count))
