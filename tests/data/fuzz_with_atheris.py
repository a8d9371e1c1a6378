"""Coverage-guided fuzzing of the readers and the tokenizer loader; by hand, not a test.

    pip install atheris
    python tests/data/fuzz_with_atheris.py loader|tables|text -max_total_time=600

What it finds is kept as an example in a test. Allowed is an answer or an `RnnctlError`.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["rnnctl.data", "json", "csv"]):
    from rnnctl.config import CorpusConfig, TokenizerConfig
    from rnnctl.data.corpus import open_corpus
    from rnnctl.data.opentext import open_text
    from rnnctl.data.tables import labels_lines, rows
    from rnnctl.data.tokenizers import Tokenizer, train_tokenizer
    from rnnctl.data.tokenizers.serialization import to_bytes

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
        labels_lines(file)
        kind = KINDS[data[0] % len(KINDS)]
        for row in rows(file, kind, text_field=None, label_field=None, labelled=data[0] > 127):
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
    for i, sample in enumerate(samples):
        (folder / str(i)).write_bytes(sample)
    return folder


if __name__ == "__main__":
    target = sys.argv.pop(1)
    sys.argv.append(str(seeds(target)))
    atheris.Setup(sys.argv, {"loader": loader, "tables": tables, "text": text}[target])
    atheris.Fuzz()
