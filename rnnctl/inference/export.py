"""A run as an ONNX file that needs neither rnnctl nor PyTorch, with all that a program needs of it.

Three files: the graph (`rnnctl.nn.graph`), the run's tokenizer.json, and a README.md with the code
that uses both. Before anything is written, the graph is run by onnxruntime and compared with the
model itself, where onnxruntime is installed.

B texts, T tokens, V vocabulary, C classes.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl import __version__, storage
from rnnctl.data.batches import pad_documents
from rnnctl.data.labels import labels_of
from rnnctl.errors import MissingExtraError, RnnctlError, StorageError, UsageError
from rnnctl.nn.graph import OPSET, write_graph
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.results.base import Warning_
from rnnctl.results.inference import ExportResult, Quantised
from rnnctl.tasks.loading import Loaded, environment
from rnnctl.tasks.quality import log_softmax

INSTALL = "install it with: pip install 'rnnctl[export]'"
TOLERANCE = 1e-5  # of the largest output, or of 1 where all are smaller
_CHECKED_LENGTHS = (33, 1, 64, 7, 2)  # tokens; different ones, for padding must change nothing
_MEASURED_TOKENS = {"classifier": 200_000, "language model": 20_000}
_CHUNK = 128
_STREAMS = 8

Run = Callable[[dict[str, NDArray[Any]]], list[NDArray[np.float32]]]


def export(
    loaded: Loaded, path: Path, *, int8: bool = False, overwrite: bool = False
) -> ExportResult:
    """Write a run's model to `path`, and tokenizer.json and README.md beside it.

    The folder is made where there is none. int8: with weights of one byte, as onnxruntime's dynamic
    quantisation makes them; what that costs is measured on the held-out text that the run keeps.

    Raises MissingExtraError without onnx (for int8 also without onnxruntime), UsageError for a cell
    that ONNX cannot express and for files that are there already (`overwrite` replaces them),
    RnnctlError where onnxruntime computes something else than the model.
    """
    _check_installed("onnx")
    if int8:
        _check_installed("onnxruntime")
    _check_free(path, overwrite)
    facts = _facts(loaded)
    several = loaded.calibration.several
    model = calibrated(loaded).float().cpu().eval()
    data = write_graph(model, facts, several=several).SerializeToString()
    warnings: list[Warning_] = []
    difference, checked_with, quantised = None, "", None
    if find_spec("onnxruntime") is None:
        text = f"not checked: onnxruntime is not installed; {INSTALL}"
        warnings.append(Warning_(code="not_checked", text=text))
    else:
        difference, checked_with = _checked(model, data, several), f"onnxruntime {_version()}"
    if int8:
        small = _quantised(write_graph(model, facts, shared=False, several=several))
        quantised = _measured(loaded, data, small)
        if quantised.float32 is None:
            text = (
                "what int8 costs is not measured: the run keeps no held-out text to measure it on"
            )
            warnings.append(Warning_(code="not_measured", text=text))
        data = small
    result = ExportResult(
        environment=environment(loaded),
        warnings=tuple(warnings),
        run=str(loaded.run.path),
        files=tuple(map(str, _files(path))),
        bytes=len(data),
        opset=OPSET,
        inputs=_described(data, "input"),
        outputs=_described(data, "output"),
        difference=difference,
        checked_with=checked_with,
        quantised=quantised,
    )
    readme = _readme(loaded, path.name)
    contents = (data, loaded.run.tokenizer_path.read_bytes(), readme.encode("utf-8"))
    with storage.storing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    # After all that can fail: what stood there is replaced by a whole export or not at all.
    for file, content in zip(_files(path), contents, strict=True):
        storage.write_atomic(file, content)
    return result


def calibrated(loaded: Loaded) -> LanguageModel | Classifier:
    """The model, or a copy of it with logits that are divided by the run's temperature."""
    temperature = loaded.calibration.temperature
    if temperature == 1.0 or not isinstance(loaded.model, Classifier):
        return loaded.model
    copied = copy.deepcopy(loaded.model)
    with torch.no_grad():
        copied.output.weight.div_(temperature)
        copied.output.bias.div_(temperature)
    return copied


def _files(path: Path) -> tuple[Path, Path, Path]:
    return path, path.with_name("tokenizer.json"), path.with_name("README.md")


def _check_installed(package: str) -> None:
    if find_spec(package) is None:
        raise MissingExtraError(f"the export needs {package}, which is not installed", hint=INSTALL)


def _check_free(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint=f"name a file in it: {path / 'model.onnx'}")
    if path.name in ("tokenizer.json", "README.md"):
        raise UsageError(
            f"{path.name} is also written to that folder",
            hint="give the model another name, such as model.onnx",
        )
    taken = [str(file) for file in _files(path) if file.exists()]
    if taken and not overwrite:
        raise UsageError(
            f"there already: {', '.join(taken)}",
            hint="choose a new folder, such as exported/model.onnx, or add --overwrite",
        )
    for folder in path.absolute().parents:
        if folder.exists():
            if not folder.is_dir() or not os.access(folder, os.W_OK):
                what = "not writable" if folder.is_dir() else "no folder"
                raise StorageError(
                    f"cannot write {path}: {folder} is {what}",
                    hint="choose another place with --onnx; nothing was changed",
                )
            return


def _facts(loaded: Loaded) -> dict[str, str]:
    """What a program should know of the model, as text: the metadata of the graph."""
    tokenizer, corpus = loaded.tokenizer, loaded.config.corpus
    facts: dict[str, Any] = {
        "rnnctl": __version__,
        "cell": loaded.model.recurrent.cell.name,
        "level": tokenizer.level,
        "boundary_id": tokenizer.boundary_id,
        "unknown_id": tokenizer.unknown_id,
    }
    if loaded.labels:
        facts |= {"labels": loaded.labels, "max_tokens": corpus.max_tokens, "keep": corpus.keep}
    if loaded.calibration.several:
        facts["thresholds"] = _thresholds(loaded)
    return {
        name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in facts.items()
    }


def _thresholds(loaded: Loaded) -> list[float]:
    """From which probability on each label is given, where a text may have several."""
    return list(loaded.calibration.thresholds or (0.5,) * len(loaded.labels))


def _described(data: bytes, which: str) -> dict[str, str]:
    """The graph's inputs or outputs: names, and their axes in words."""
    import onnx

    graph = onnx.load_from_string(data).graph
    return {
        value.name: " × ".join(
            axis.dim_param or str(axis.dim_value) for axis in value.type.tensor_type.shape.dim
        )
        for value in getattr(graph, which)
    }


# -- in onnxruntime ------------------------------------------------------------------------------


def _version() -> str:
    from importlib.metadata import version

    return version("onnxruntime")


def _opened(data: bytes) -> Run:
    """The graph in onnxruntime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; its warnings are about its own optimiser
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def run(values: dict[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        found: list[NDArray[np.float32]] = session.run(None, values)
        return found

    return run


@torch.no_grad()
def _checked(model: LanguageModel | Classifier, data: bytes, several: bool) -> float:
    """The largest difference between the graph and the model, as TOLERANCE counts it."""
    run, rng = _opened(data), np.random.default_rng(0)
    shape = (len(_CHECKED_LENGTHS), max(_CHECKED_LENGTHS))
    ids = rng.integers(0, model.vocab_size, shape)
    pairs: list[tuple[torch.Tensor, NDArray[np.float32]]]
    if isinstance(model, Classifier):
        lengths = np.array(_CHECKED_LENGTHS)
        own = model(torch.from_numpy(ids.T.copy()), torch.from_numpy(lengths))
        found = run({"ids": ids, "lengths": lengths})
        pairs = [(own, found[0]), (own.sigmoid() if several else own.softmax(-1), found[1])]
    else:
        # From a state that is not zero: a graph that ignored it would pass otherwise.
        names, first = model.recurrent.cell.state_names, shape[1] // 2
        _, state = model.features(torch.from_numpy(ids[:, :first].T.copy()))
        own, after = model.features(torch.from_numpy(ids[:, first:].T.copy()), state)
        given = {name: part.numpy() for name, part in zip(names, state, strict=True)}
        found = run({"ids": ids[:, first:], **given})
        ours = (model.logits(own).transpose(0, 1), *after)
        pairs = list(zip(ours, found, strict=True))
    worst = max(_difference(own.numpy(), theirs) for own, theirs in pairs)
    if not worst <= TOLERANCE:
        raise RnnctlError(
            f"onnxruntime {_version()} does not compute what the model computes: the outputs "
            f"differ by {worst:.1e}, and {TOLERANCE:.0e} is allowed",
            hint="nothing was written; try another version of onnxruntime",
        )
    return worst


def _difference(own: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    return float(np.abs(own - found).max() / max(1.0, float(np.abs(own).max())))


# -- int8 ----------------------------------------------------------------------------------------


def _quantised(graph: Any) -> bytes:
    """The graph with weights of one byte where onnxruntime has an operator for them."""
    from onnxruntime.quantization import quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="rnnctl-") as folder, _silent():
        small = Path(folder) / "int8.onnx"
        quantize_dynamic(graph, small)
        return small.read_bytes()


@contextmanager
def _silent() -> Iterator[None]:
    """Without the warnings that onnxruntime's quantiser logs: they are about other models."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _measured(loaded: Loaded, data: bytes, small: bytes) -> Quantised:
    """Both graphs on the same held-out text."""
    form = loaded.model.recurrent.cell.onnx
    stays = "" if form is not None and form.has_int8 else "the recurrent layers"
    made = Quantised(bytes_float32=len(data), stays_float32=stays)
    part = next((part for part in ("test", "valid") if loaded.run.heldout(part)), None)
    if part is None:
        return made
    measure = _hits if loaded.labels else _nats
    before, count = measure(loaded, part, _opened(data))
    after, _ = measure(loaded, part, _opened(small))
    unit = "accuracy" if loaded.labels else "nats per token"
    update = {"measure": unit, "part": part, "n": count, "float32": before, "int8": after}
    return made.model_copy(update=update)


def _encoded(
    loaded: Loaded, part: str, most: int
) -> tuple[list[NDArray[np.int64]], list[tuple[str, ...]]]:
    """Held-out documents of at most `most` tokens together, and their labels."""
    corpus, ids, labels, left = loaded.config.corpus, [], [], most
    for document in loaded.run.heldout(part):
        own = labels_of(document.label or "")
        if loaded.labels and not set(own) <= {*loaded.labels}:
            continue
        one = loaded.tokenizer.encode_document(document.text, corpus.max_tokens, corpus.keep)
        ids.append(one[:left].astype(np.int64))
        labels.append(own)
        left -= len(ids[-1])
        if left <= 0:
            break
    return ids, labels


def padded(texts: Sequence[NDArray[np.integer]], fill: int) -> tuple[NDArray[np.int64], ...]:
    """ids (B, T) and lengths (B,), as the graph of a classifier takes them."""
    ids, lengths = pad_documents(texts, fill)
    return np.ascontiguousarray(ids.T), lengths


def _hits(loaded: Loaded, part: str, run: Run) -> tuple[float, int]:
    """The share of documents with the right label (or all their labels), and their number."""
    texts, labels = _encoded(loaded, part, _MEASURED_TOKENS["classifier"])
    truth = np.array([[name in own for name in loaded.labels] for own in labels])
    order = np.argsort([len(ids) for ids in texts], kind="stable")
    hits = 0
    for begin in range(0, len(order), 32):
        some = order[begin : begin + 32]
        ids, lengths = padded([texts[i] for i in some], loaded.tokenizer.boundary_id)
        logits, chances = run({"ids": ids, "lengths": lengths})
        given = np.eye(len(loaded.labels), dtype=bool)[logits.argmax(1)]
        if loaded.calibration.several:
            given = chances >= np.array(_thresholds(loaded))
        hits += int((given == truth[some]).all(1).sum())
    return hits / len(texts), len(texts)


def _nats(loaded: Loaded, part: str, run: Run) -> tuple[float, int]:
    """Nats per token of the text in a few streams, each from a zero state; number of tokens."""
    recurrent = loaded.model.recurrent
    ids = np.concatenate(_encoded(loaded, part, _MEASURED_TOKENS["language model"])[0])
    streams = min(_STREAMS, max(1, len(ids) // _CHUNK))
    steps = len(ids) // streams
    targets = ids[: streams * steps].reshape(streams, steps)
    first = np.full((streams, 1), loaded.tokenizer.boundary_id, np.int64)
    inputs = np.concatenate([first, targets[:, :-1]], 1)
    shape = (recurrent.num_layers, streams, recurrent.hidden_size)
    state = {name: np.zeros(shape, np.float32) for name in recurrent.cell.state_names}
    total = 0.0
    for begin in range(0, steps, _CHUNK):
        some = slice(begin, begin + _CHUNK)
        logits, *after = run({"ids": inputs[:, some], **state})
        state = dict(zip(state, after, strict=True))
        logs = log_softmax(logits.reshape(-1, logits.shape[-1]).astype(np.float64))
        total -= float(logs[np.arange(len(logs)), targets[:, some].ravel()].sum())
    return total / targets.size, targets.size


# -- how to use it -------------------------------------------------------------------------------


def _readme(loaded: Loaded, name: str) -> str:
    config = loaded.config.model
    kind = "classifier" if loaded.labels else "language model"
    layers = f"{config.num_layers} layer{'s' * (config.num_layers > 1)} of {config.hidden_size}"
    template = _CLASSIFIER if loaded.labels else _LANGUAGE_MODEL
    if loaded.calibration.several:
        for one, other in _SEVERAL:
            template = template.replace(one, other)
    cell = loaded.model.recurrent.cell
    most, keep = loaded.config.corpus.max_tokens, loaded.config.corpus.keep
    cut = "" if most is None else f"[:{most}]" if keep == "head" else f"[-{most}:]"
    slice_ = "" if most is None else f".slice(0, {most})" if keep == "head" else f".slice(-{most})"
    values = {
        "NAME": json.dumps(name, ensure_ascii=False),
        "TITLE": f"{name}: {kind} ({cell.display_name}, {layers}, {loaded.tokenizer.level} level)",
        "VERSION": __version__,
        "LABELS": json.dumps(list(loaded.labels), ensure_ascii=False),
        "THRESHOLDS": json.dumps(_thresholds(loaded)),
        "STATES": json.dumps(list(cell.state_names)),
        "SHAPE": f"{config.num_layers}, 1, {config.hidden_size}",
        "SIZE": str(config.num_layers * config.hidden_size),
        "CUT": cut,
        "SLICE": slice_,
    }
    text = template
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


_HEAD = """# @TITLE@

Written by `rnnctl export` (rnnctl @VERSION@). `tokenizer.json` is in the format of Hugging Face's
`tokenizers`. Id 0 is the boundary: it ends a document and stands before the first token of a text.
The metadata of the graph holds the labels, the level and these ids as well.
"""
_CLASSIFIER = (
    _HEAD
    + """
Input: `ids` (batch × time, int64), padded at the end with 0; `lengths` (batch, int64), each
at least 1. Output: `logits` and `probabilities` (batch × labels), in the order of `labels` below.

Python (`pip install numpy onnxruntime tokenizers`):

```python
import numpy as np, onnxruntime, tokenizers
tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
model = onnxruntime.InferenceSession(@NAME@)
labels = @LABELS@
texts = ["The sound is great.", "It broke after a week."]
ids = [tokenizer.encode(text).ids@CUT@ + [0] for text in texts]
lengths = np.array([len(one) for one in ids])
padded = np.array([one + [0] * (lengths.max() - len(one)) for one in ids])
for chances in model.run(["probabilities"], {"ids": padded, "lengths": lengths})[0]:
    print(labels[chances.argmax()], chances.max())
```

JavaScript (`npm install onnxruntime-web @huggingface/tokenizers`):

```javascript
import * as ort from "onnxruntime-web";
import { Tokenizer } from "@huggingface/tokenizers";
import { readFile } from "node:fs/promises"; // in a browser: fetch
const tokenizer = new Tokenizer(JSON.parse(await readFile("tokenizer.json", "utf8")), {});
const model = await ort.InferenceSession.create(await readFile(@NAME@));
const labels = @LABELS@;
const ids = tokenizer.encode("It broke after a week.").ids@SLICE@.map((id) => id ?? 1);
ids.push(0);
const long = (values, shape) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), shape);
const given = { ids: long(ids, [1, ids.length]), lengths: long([ids.length], [1]) };
const found = await model.run(given);
const chances = [...found.probabilities.data], best = Math.max(...chances);
console.log(labels[chances.indexOf(best)], best);
```
"""
)
# What is said differently where a text may have several labels.
_SEVERAL = (
    (
        "in the order of `labels` below.\n",
        "in the order of `labels` below.\nA text may have several labels: each that is at least as "
        "probable as its threshold.\n",
    ),
    ("labels = @LABELS@\n", "labels, thresholds = @LABELS@, np.array(@THRESHOLDS@)\n"),
    (
        "    print(labels[chances.argmax()], chances.max())\n",
        "    print([name for name, yes in zip(labels, chances >= thresholds) if yes], chances)\n",
    ),
    ("labels = @LABELS@;\n", "labels = @LABELS@, thresholds = @THRESHOLDS@;\n"),
    (
        "const chances = [...found.probabilities.data], best = Math.max(...chances);\n"
        "console.log(labels[chances.indexOf(best)], best);\n",
        "const chances = [...found.probabilities.data];\n"
        "console.log(labels.filter((_, i) => chances[i] >= thresholds[i]), chances);\n",
    ),
)
_LANGUAGE_MODEL = (
    _HEAD
    + """
Input: `ids` (batch × time, int64) and the state before them, @STATES@ (layers × batch × units),
zeros at the beginning. Output: `logits` (batch × time × vocabulary) of the token after each, and
the state after the last one, under the same names with `_out`.

Python (`pip install numpy onnxruntime tokenizers`):

```python
import numpy as np, onnxruntime, tokenizers
tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
model = onnxruntime.InferenceSession(@NAME@)
state = {name: np.zeros((@SHAPE@), np.float32) for name in @STATES@}
ids, made = [0] + tokenizer.encode("The clock").ids, []
for _ in range(100):
    logits, *after = model.run(None, {"ids": np.array([ids]), **state})
    state, chances = dict(zip(state, after)), np.exp((logits[0, -1] - logits[0, -1].max()) / 0.8)
    ids = [int(np.random.choice(len(chances), p=chances / chances.sum()))]
    made += ids
print(tokenizer.decode(made))
```

JavaScript (`npm install onnxruntime-web @huggingface/tokenizers`):

```javascript
import * as ort from "onnxruntime-web";
import { Tokenizer } from "@huggingface/tokenizers";
import { readFile } from "node:fs/promises"; // in a browser: fetch
const tokenizer = new Tokenizer(JSON.parse(await readFile("tokenizer.json", "utf8")), {});
const model = await ort.InferenceSession.create(await readFile(@NAME@));
const long = (ids) => new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]);
const zeros = () => new ort.Tensor("float32", new Float32Array(@SIZE@), [@SHAPE@]);
const state = Object.fromEntries(@STATES@.map((name) => [name, zeros()]));
let ids = [0, ...tokenizer.encode("The clock").ids.map((id) => id ?? 1)], made = [];
for (let step = 0; step < 100; step++) {
  const found = await model.run({ ids: long(ids), ...state });
  for (const name in state) state[name] = found[name + "_out"];
  const last = found.logits.data.slice(-found.logits.dims[2]);
  ids = [last.indexOf(Math.max(...last))]; // the likeliest token
  made.push(...ids);
}
console.log(tokenizer.decode(made));
```
"""
)
