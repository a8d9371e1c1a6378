"""Generating, scoring and classifying: ours against `torch.nn` in a process of its own.

    python tests/benchmarks/speed_inference.py [--quick] [--only generate,score,classify]

The other side is what a user writes: `torch.nn` stepped one token at a time to generate, one
document at a time to score and classify, with ids made beforehand (ours tokenizes as it goes). Same
weights on both sides; scores and probabilities are compared first. `streams` is 64 continuations at
once against stepping one. Ours uses the fast engine from the start, as a filter does once it has
worked for half a second. Prints JSON; ratios are of tokens or documents per second, above 1 is
faster.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from speed_harness import Other, compare, report, serve
from torch import nn

from rnnctl.config import ModelConfig, RunConfig, TokenizerConfig
from rnnctl.data.tokenizers import Tokenizer, train_tokenizer
from rnnctl.data.tokenizers.base import to_bytes
from rnnctl.inference.classify import Predictor
from rnnctl.inference.generate import Generator, Wish
from rnnctl.inference.sampling import Sampling
from rnnctl.inference.score import Scorer
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.runs import Run
from rnnctl.tasks.loading import Loaded, build_model, load

CHARS = "".join(map(chr, range(32, 97))) + "\n"
TOKENS = 200  # generated at a time
STREAMS = 64
DOCUMENTS = {"char": 64, "word": 256}
CASES: dict[str, dict[str, Any]] = {
    f"{cell}-512": {"cell": cell, "hidden_size": 512, "level": "char"}
    for cell in ("lstm", "gru", "rnn")
}
CASES["words-2x200"] = {
    "cell": "lstm",
    "hidden_size": 200,
    "num_layers": 2,
    "tied": True,
    "level": "word",
}
CLASSIFIERS: dict[str, dict[str, Any]] = {
    f"{cell}-128": {"cell": cell, "hidden_size": 128, "level": "word", "pool": "meanmax"}
    for cell in ("lstm", "gru")
}
CLASSIFIERS["lstm-128-both"] = {**CLASSIFIERS["lstm-128"], "bidirectional": True}


def words(count: int) -> list[str]:
    """So many different words of letters."""
    letters = "etaoinshrdlu"
    return [
        "".join(letters[int(d, 36)] for d in np.base_repr(i, len(letters))) for i in range(count)
    ]


def tokenizer_of(case: dict[str, Any], vocabulary: int) -> Tokenizer:
    text = " ".join(words(vocabulary)) if case["level"] == "word" else CHARS
    once = 1 if case["level"] == "word" else None  # every word of the list is a word to know
    return train_tokenizer([text], TokenizerConfig(level=case["level"], min_count=once))


def make_run(folder: Path, case: dict[str, Any], labels: tuple[str, ...]) -> Path:
    """An untrained run of the sizes of `case`; the same weights on both sides."""
    model = {name: value for name, value in case.items() if name != "level"}
    task = "classify" if labels else "lm"
    config = RunConfig(
        tokenizer=TokenizerConfig(level=case["level"]), model=ModelConfig(task=task, **model)
    )
    tokenizer = tokenizer_of(case, 20_000 if labels else 33_270)
    torch.manual_seed(0)
    built = build_model(config.model, vocab_size=tokenizer.vocab_size, num_classes=len(labels))
    weights = {name: value.clone() for name, value in built.state_dict().items()}
    facts = {"fingerprint": "", "running": True, "labels": list(labels)}
    files = {
        "tokenizer.json": to_bytes(tokenizer.to_dict()),
        "corpus.json": json.dumps(facts).encode(),
        "model.safetensors": safetensors.torch.save(weights),
    }
    Run.create(folder / "run", config, files=files)
    return folder / "run"


def texts(case: dict[str, Any]) -> list[str]:
    """Documents of IMDb's lengths: 20 to 1,000 words or characters, 180 in the middle."""
    generator = np.random.default_rng(0)
    count = DOCUMENTS[case["level"]]
    lengths = np.clip(generator.lognormal(np.log(180), 0.75, count), 20, 1000).astype(int)
    if case["level"] == "char":
        return ["".join(generator.choice(list(CHARS), n)) for n in lengths]
    known = words(20_000)
    return [" ".join(known[i] for i in generator.zipf(1.3, n) % 20_000) for n in lengths]


# The other side.


def stock_layers(loaded: Loaded) -> nn.Module:
    ours = loaded.model.recurrent
    kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn_tanh": nn.RNN}[ours.cell.name]
    layers = kind(
        ours.input_size, ours.hidden_size, ours.num_layers, bidirectional=ours.directions == 2
    )
    layers.load_state_dict(ours.state_dict())
    return layers


def stock_generate(loaded: Loaded) -> Callable[[], None]:
    """pytorch/examples word_language_model generate.py: step, divide, exp, multinomial."""
    model, layers = loaded.model, stock_layers(loaded)
    assert isinstance(model, LanguageModel)
    token, hidden = torch.full((1, 1), 2), None

    @torch.no_grad()
    def generate() -> None:
        nonlocal token, hidden
        for _ in range(TOKENS):
            output, hidden = layers(model.embedding(token) * model.input_scale, hidden)
            logits = model.decoder(model.projection(output))
            weights = logits.squeeze().div(0.8).exp()
            token = torch.multinomial(weights, 1).view(1, 1)
            loaded.tokenizer.token_bytes(int(token))

    return generate


def stock_score(loaded: Loaded) -> Callable[[], list[float]]:
    model, layers = loaded.model, stock_layers(loaded)
    assert isinstance(model, LanguageModel)
    ids = [torch.from_numpy(loaded.tokenizer.encode(t)).long() for t in texts_of(loaded)]

    @torch.no_grad()
    def score() -> list[float]:
        nats = []
        for document in ids:
            inputs = torch.cat([torch.tensor([loaded.tokenizer.boundary_id]), document[:-1]])
            output, _ = layers(model.embedding(inputs).unsqueeze(1) * model.input_scale)
            logits = model.decoder(model.projection(output[:, 0]))
            nats.append(float(nn.functional.cross_entropy(logits, document, reduction="sum")))
        return nats

    return score


def stock_classify(loaded: Loaded) -> Callable[[], list[float]]:
    model, layers = loaded.model, stock_layers(loaded)
    assert isinstance(model, Classifier)
    ids = [torch.from_numpy(loaded.tokenizer.encode_document(t)).long() for t in texts_of(loaded)]

    @torch.no_grad()
    def classify() -> list[float]:
        chances = []
        for document in ids:
            outputs, _ = layers(model.embedding(document).unsqueeze(1))
            read = torch.cat([outputs[:, 0].mean(0), outputs[:, 0].amax(0)])
            chances.append(float(torch.softmax(model.output(read), -1)[0]))
        return chances

    return classify


STOCK: dict[str, Callable[[Loaded], Callable[[], Any]]] = {
    "generate": stock_generate,
    "streams": stock_generate,
    "score": stock_score,
    "classify": stock_classify,
}


# Our side.


def texts_of(loaded: Loaded) -> list[str]:
    return texts({"level": loaded.config.tokenizer.level})


def our_generate(loaded: Loaded, streams: int) -> Callable[[], None]:
    generator = Generator(Scorer(loaded))
    start = [generator.read("a")] * streams
    wish = Wish(length=TOKENS, sampling=Sampling(temperature=0.8))

    def generate() -> None:
        for _ in generator.generate(start, wish):
            pass

    return generate


def ours(job: str, loaded: Loaded) -> Callable[[], Any]:
    if job in ("generate", "streams"):
        return our_generate(loaded, STREAMS if job == "streams" else 1)
    documents = texts_of(loaded)
    if job == "score":
        scorer = Scorer(loaded)
        return lambda: [sums.nats - sums.unknown_nats for sums in scorer.tally_texts(documents)]
    predictor = Predictor(loaded)
    return lambda: [p.probabilities[0] for p in predictor.predict(documents)]


def row(job: str, name: str, case: dict[str, Any], pairs: int, patience: float) -> dict[str, Any]:
    labels = ("a", "b") if job == "classify" else ()
    with tempfile.TemporaryDirectory() as folder:
        path = make_run(Path(folder), case, labels)
        step = ours(job, load(path, engine="fused"))
        other = Other(job, str(path), script=__file__)
        found: dict[str, Any] = {"job": job, "case": name}
        for key, value in other.facts.items():
            found[key] = difference(value, step())
        found |= compare(step, other, pairs, patience)
        other.close()
    if job == "streams":  # ours made that many times as many tokens
        for key in ("ratio", "ratio_95"):
            found[key] = np.round(np.array(found[key]) * STREAMS, 2).tolist()
    units = {"generate": TOKENS, "streams": TOKENS * STREAMS}.get(job, DOCUMENTS[case["level"]])
    found["per_second"] = round(units / found["ours_ms"] * 1e3, 1)
    return found


def difference(theirs: list[float], mine: list[float]) -> float:
    """Largest difference, relative to the numbers' size."""
    both = np.array([mine, theirs])
    return float(np.abs(both[0] - both[1]).max() / np.abs(both).max())


def worker(job: str, path: str) -> None:
    step = STOCK[job](load(path))
    facts: dict[str, Any] = {}
    if job in ("score", "classify"):
        facts["difference"] = step()
    serve(step, facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", nargs=2, metavar=("JOB", "RUN"))
    parser.add_argument("--quick", action="store_true", help="5 pairs instead of 15")
    parser.add_argument("--only", default="generate,streams,score,classify")
    parser.add_argument("--cases", default="", help="names, comma-separated; all by default")
    parser.add_argument(
        "--patience", type=float, default=40, help="seconds to wait for quiet pairs"
    )
    options = parser.parse_args()
    if options.worker:
        worker(*options.worker)
        return
    rows, pairs = [], 5 if options.quick else 15
    for job in options.only.split(","):
        for name, case in (CLASSIFIERS if job == "classify" else CASES).items():
            if not options.cases or name in options.cases.split(","):
                rows.append(row(job, name, case, pairs, options.patience))
    report("inference", rows)


if __name__ == "__main__":
    main()
