"""Reading texts: ours against onnxruntime on the same model, in a process of its own.

    python tests/benchmarks/speed_onnx.py [--quick] [--cells lstm,gru,rnn] [--sizes 128,512]

A classifier of one layer (embeddings as wide as the layer, the last state, two classes) reads texts
of 200 words, one alone and 32 at once: the way that `classify` and `score` read (`nn.reading`)
against the graph that `rnnctl export` writes. Both have as many threads as torch uses. Logits are
compared first. Prints JSON; a ratio above 1 says how many times as fast ours is.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from speed_harness import Other, compare, report, serve

from rnnctl.machine import keep_memory
from rnnctl.nn.graph import write_graph
from rnnctl.nn.models import Classifier
from rnnctl.nn.reading import each, groups

TOKENS = 200
TEXTS = (1, 32)
VOCABULARY = 10_000
TOLERANCE = 1e-5


def texts(count: int) -> NDArray[np.int32]:
    """(B, T) ids; a few words are frequent, as in real texts."""
    drawn = np.random.default_rng(0).zipf(1.3, (count, TOKENS)) % VOCABULARY
    return drawn.astype(np.int32)


def model_of(cell: str, size: int) -> Classifier:
    torch.manual_seed(0)
    model = Classifier(
        num_classes=2,
        vocab_size=VOCABULARY,
        embedding_size=size,
        hidden_size=size,
        num_layers=1,
        cell=cell,
        engine="fused",
    )
    model.recurrent.keep_ready()  # as `Predictor` does
    return model.eval()


def ours(model: Classifier, ids: NDArray[np.int32]) -> Callable[[], NDArray[np.float32]]:
    """As `classify` reads: texts in groups, one for each thread where there is enough to read."""
    lengths = np.full(len(ids), TOKENS, np.int64)

    def read(some: NDArray[np.int64]) -> torch.Tensor:
        return model.read(ids[some].ravel(), lengths[some])

    def step() -> NDArray[np.float32]:
        parts = groups(model.recurrent, lengths)
        logits = np.zeros((len(ids), 2), np.float32)
        for some, found in zip(parts, each(read, parts), strict=True):
            logits[some] = found.numpy()
        return logits

    return step


def worker(path: str, count: int, threads: int) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    ids = texts(count).astype(np.int64)
    feeds = {"ids": ids, "lengths": np.full(count, TOKENS, np.int64)}
    feeds = {given.name: feeds[given.name] for given in session.get_inputs()}

    def step() -> None:
        session.run(["logits"], feeds)

    serve(step, {"logits": session.run(["logits"], feeds)[0].tolist()})


def row(cell: str, size: int, count: int, pairs: int, patience: float) -> dict[str, Any]:
    model, ids = model_of(cell, size), texts(count)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(write_graph(model, {}).SerializeToString())
        other = Other(str(path), str(count), str(torch.get_num_threads()), script=__file__)
        step = ours(model, ids)
        difference = float(np.abs(step() - np.array(other.facts["logits"])).max())
        if difference > TOLERANCE:
            raise SystemExit(f"{cell} {size} x{count}: logits differ by {difference:.1e}")
        found = compare(step, other, pairs, patience)
        other.close()
    return {"cell": cell, "units": size, "texts": count, "difference": difference, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", nargs=3, metavar=("GRAPH", "TEXTS", "THREADS"))
    parser.add_argument("--quick", action="store_true", help="5 pairs instead of 15")
    parser.add_argument("--cells", default="lstm,gru,rnn")
    parser.add_argument("--sizes", default="128,512")
    parser.add_argument("--patience", type=float, default=20, help="seconds per row")
    args = parser.parse_args()
    if args.worker:
        path, count, threads = args.worker
        worker(path, int(count), int(threads))
        return
    keep_memory()
    pairs = 5 if args.quick else 15
    report(
        "onnx",
        [
            row(cell, int(size), count, pairs, args.patience)
            for cell in args.cells.split(",")
            for size in args.sizes.split(",")
            for count in TEXTS
        ],
    )


if __name__ == "__main__":
    main()
