"""Coverage-guided fuzzing of readers, tokenizer loader, run files and filter lines; by hand.

    pip install atheris
    python tests/data/fuzz_with_atheris.py loader|tables|text|manifest|lines -max_total_time=600

What it finds is kept as an example in a test. Allowed is an answer or an `RnnctlError`.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import sys
import tempfile
import zlib
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["rnnctl.data", "rnnctl.runs", "json", "csv"]):
    from rnnctl import integrity
    from rnnctl.config import CorpusConfig, TokenizerConfig
    from rnnctl.data.columns import pick_columns
    from rnnctl.data.corpus import open_corpus
    from rnnctl.data.recognition import labels_lines
    from rnnctl.data.records import rows
    from rnnctl.data.tables import text_table
    from rnnctl.data.text import beginning, open_text
    from rnnctl.data.tokenizers import Tokenizer, train_tokenizer
    from rnnctl.data.tokenizers.base import to_bytes
    from rnnctl.inference.records import RecordReader
    from rnnctl.runs import Run, summarize
    from rnnctl.runs.checkpoints import CURRENT_NAME, MANIFEST, write_checkpoint
    from rnnctl.runs.run import config_bytes, entry_of

from rnnctl.config import RunConfig
from rnnctl.errors import RnnctlError

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))
KINDS = (".csv", ".tsv", ".jsonl", ".json", "lines")


def loader(data: bytes) -> None:
    """The tokenizer file."""
    path = FOLDER / "tokenizer.json"
    path.write_bytes(data)
    try:
        found = Tokenizer.load(path)
    except RnnctlError:
        return
    assert found.to_dict() == json.loads(data)


def tables(data: bytes) -> None:
    """The first byte says which kind of table the rest is."""
    if not data:
        return
    path = FOLDER / "table"
    path.write_bytes(data[1:])
    try:
        file = open_text(path, encoding="utf-8", cache=FOLDER)
        labels_lines(beginning(file))
        kind = KINDS[data[0] % len(KINDS)]
        given = "lines" if kind == "lines" else None
        table = text_table(file, FOLDER, suffix=kind, given=given, labelled=data[0] > 127)
        if table is None:
            return
        columns = pick_columns(
            table.columns, table.sample, None, None, file.name, labelled=data[0] > 127
        )
        for row in rows(file, table.format, columns):
            (row["text"] + row["label"]).encode()
    except RnnctlError:
        pass


def text(data: bytes) -> None:
    """The first byte says how the rest is to be cut and decoded."""
    if not data or data[1:].lstrip().startswith(b"{"):
        return
    unit = ("none", "paragraph", "line", "file")[data[0] % 4]
    encoding = ("utf-8", "utf-16", "cp1252", "gb18030")[data[0] // 4 % 4]
    config = CorpusConfig(sources=("-",), documents=unit, encoding=encoding)
    try:
        corpus = open_corpus(config, cache=FOLDER, stdin=io.BytesIO(data[1:]))
        for split in ("train", "valid", "test"):
            for document in corpus.documents(split):
                document.text.encode()
    except RnnctlError:
        pass


def resealed(data: bytes) -> bytes:
    """`data` with the checksum of a sealed file, if it is a JSON object; as it is otherwise."""
    try:
        content = json.loads(data)
        content.pop("checksum", None)
        return integrity.seal(content)
    except (ValueError, RecursionError, AttributeError, AssertionError):
        return data


def chained(data: bytes) -> bytes:
    """Lines with the checksums of a log."""
    done, crc = b"", 0
    for line in data.split(b"\n"):
        body = line.removesuffix(b"}")
        crc = zlib.crc32(body, crc)
        done += body + f', "crc": "{crc:08x}"}}\n'.encode()
    return done


@functools.cache
def begun() -> tuple[Path, str]:
    """A run with a checkpoint, and its `current.json`."""
    run = Run.create(FOLDER / "run", RunConfig(), files={"heldout.jsonl.gz": b""})
    digest = write_checkpoint(run.path, "000001", {"model.safetensors": b"x", "state.json": b"{}"})
    run.commit(newest="000001", before=None, best="000001", checkpoints={"000001": digest})
    (run.path / "results").mkdir()
    return run.path, (run.path / CURRENT_NAME).read_text("utf-8")


def manifest(data: bytes) -> None:
    """The first byte says which file of a run the rest is; all checksums are made to fit."""
    if not data:
        return
    path, current = begun()
    (path / CURRENT_NAME).write_text(current, "utf-8")
    run = Run.open(path)
    name = (CURRENT_NAME, "config.json", "log.jsonl", "heldout.jsonl.gz", MANIFEST, "train")
    kind, rest = name[data[0] % len(name)], data[1:]
    if kind == CURRENT_NAME:
        (path / kind).write_bytes(resealed(rest))
    elif kind == "log.jsonl":
        (path / kind).write_bytes(chained(rest))
    elif kind == MANIFEST:
        file = path / "checkpoints" / "000001" / MANIFEST
        file.write_bytes(resealed(rest))
        run.commit(checkpoints={"000001": integrity.digest_of_file(file)})
    elif kind == "train":
        body = b'{"name": "train", "result": ' + rest + b"}"
        (path / "results" / "train.json").write_bytes(resealed(body))
    else:
        packed = gzip.compress(rest) if kind.endswith("gz") else rest
        (path / kind).write_bytes(packed)
        run.commit(files={**run.current.files, kind: entry_of(packed)})
    try:
        summarize(path)
        run = Run.open(path)
        run.verify()
        assert run.weights_path.is_relative_to(path)
    except RnnctlError:
        pass
    finally:
        (path / "config.json").write_bytes(CONFIG)


def lines(data: bytes) -> None:
    """Lines of a filter: one record each, and its answer is one line of JSON."""
    try:
        windows = list(RecordReader().windows(io.BytesIO(data + b"\n")))
    except RnnctlError:
        return
    for record in (record for window in windows for record in window):
        answer = record.with_answer({"error": record.error} if record.error else {"label": "x"})
        assert "\n" not in answer and answer.encode()


CONFIG = config_bytes(RunConfig())


def seeds(target: str) -> Path:
    """A folder with something to begin from."""
    folder = FOLDER / "seeds"
    folder.mkdir()
    samples = [
        b"\x00text,label\na,b\n",
        b'\x02{"text": "a", "label": 1}\n',
        b"\x01text\tlabel\na\tb\n",
    ]
    if target == "loader":
        configs = [TokenizerConfig(level=level, vocab_size=None) for level in ("char", "word")]
        samples = [to_bytes(train_tokenizer(["a b a b"], c).to_dict()) for c in configs]
        samples.append(to_bytes(train_tokenizer([], TokenizerConfig(level="byte")).to_dict()))
    if target == "manifest":
        _, current = begun()
        samples = [b"\0" + current.encode(), b"\1" + CONFIG, b'\2{"event": "step"}']
        samples += [b'\3{"split": "valid", "text": "a"}', b'\4{"files": {}}', b'\5{"splits": []}']
    if target == "lines":
        samples = [b'{"text": "a"}\n{"body": 1}', b"plain\nlines\n\xff"]
    for i, sample in enumerate(samples):
        (folder / str(i)).write_bytes(sample)
    return folder


if __name__ == "__main__":
    target = sys.argv.pop(1)
    sys.argv.append(str(seeds(target)))
    targets = {"loader": loader, "tables": tables, "text": text, "manifest": manifest}
    atheris.Setup(sys.argv, {**targets, "lines": lines}[target])
    atheris.Fuzz()
