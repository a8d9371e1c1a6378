"""The same twenty documents, however they are packed, encoded and written, are read back alike.

Every combination goes through what a corpus is read with and what the filters read with; a sample
of them through the commands themselves.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rnnctl.cli import inputs
from rnnctl.data.collections import TextUnits, everything
from rnnctl.data.columns import pick_columns
from rnnctl.data.records import rows
from rnnctl.data.sources import arrange
from rnnctl.data.tables import text_table
from rnnctl.data.text import open_text
from rnnctl.inference.lines import Encoding
from rnnctl.inference.records import RecordReader, Wanted

WORDS = ["garden", "“soup”", "naïve", "café", "hotel,", "train;", "film’s", "straße", "£5", "warm"]
DOCUMENTS = [
    f"The {WORDS[i % len(WORDS)]} was {WORDS[(5 * i + 2) % len(WORDS)]} on day {i}, they said."
    for i in range(20)
]
LABELS = [("neg", "pos")[i % 2] for i in range(20)]
PAIRS = list(zip(DOCUMENTS, LABELS, strict=True))


def separated(separator: str, header: bool) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    writer.writerows(([("text", "label")] if header else []) + PAIRS)
    return out.getvalue()


def objects() -> list[dict[str, object]]:
    return [{"id": i, "text": t, "label": label} for i, (t, label) in enumerate(PAIRS)]


# How the documents are written, and the ending of such a file.
FORMATS: dict[str, tuple[str, str]] = {
    "lines": (".txt", "\n".join(DOCUMENTS) + "\n"),
    "lines without a last newline": (".txt", "\n".join(DOCUMENTS)),
    "lines and no ending": ("", "\n".join(DOCUMENTS) + "\n"),
    "csv": (".csv", separated(",", header=True)),
    "csv without header": (".csv", separated(",", header=False)),
    "csv, semicolons": (".csv", separated(";", header=True)),
    "tsv": (".tsv", separated("\t", header=True)),
    "tsv without header": (".tsv", separated("\t", header=False)),
    "csv called text": (".txt", separated(",", header=True)),
    "json lines": (
        ".jsonl",
        "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects()),
    ),
    "json lines called text": (".txt", "".join(json.dumps(one) + "\n" for one in objects())),
    "json array": (".json", json.dumps(objects(), ensure_ascii=False)),
    "json, indented": (".json", json.dumps(objects(), ensure_ascii=False, indent=1) + "\n"),
    "labelled lines": (".txt", "".join(f"__label__{label} {t}\n" for t, label in PAIRS)),
}


def zipped(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return out.getvalue()


def taped(mode: str) -> Callable[[str, bytes], bytes]:
    def pack(name: str, data: bytes) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        return out.getvalue()

    return pack


def zstandard(name: str, data: bytes) -> bytes:
    import pyarrow

    packed: bytes = pyarrow.compress(data, codec="zstd", asbytes=True)
    return packed


CONTAINERS: dict[str, Callable[[str, bytes], bytes]] = {
    "": lambda name, data: data,
    ".gz": lambda name, data: gzip.compress(data),
    ".bz2": lambda name, data: bz2.compress(data),
    ".xz": lambda name, data: lzma.compress(data),
    ".zst": zstandard,
    ".zip": zipped,
    ".tar": taped("w"),
    ".tar.gz": taped("w:gz"),
    ".tar.xz": taped("w:xz"),
}
# How the text is encoded, and what has to be said of it.
ENCODINGS = {
    "utf-8": "utf-8",
    "utf-8-sig": "utf-8",
    "utf-16": "utf-8",
    "utf-16-le": "utf-16-le",
    "cp1252": "cp1252",
    "utf-8-sig where cp1252 is named": "cp1252",
}
LINE_ENDS = ["\n", "\r\n", "\r"]


def written(folder: Path, format: str, container: str, encoding: str, end: str) -> Path:
    suffix, text = FORMATS[format]
    codec = encoding.partition(" ")[0]
    data = text.replace("\n", end).encode(codec)
    path = folder / f"documents{suffix}{container}"
    path.write_bytes(CONTAINERS[container](f"documents{suffix}", data))
    return path


def in_a_corpus(path: Path, encoding: str, cache: Path) -> list[str]:
    """The documents as `train` and `evaluate` have them, but for their copy in `datasets`."""
    texts: list[str] = []
    for source in arrange([path], cache).files["all"]:
        file = open_text(source.path, encoding=encoding, cache=cache, name=source.name)
        table = text_table(file, cache, suffix=source.suffix)
        if table is None:
            texts += [document.text for document in everything(TextUnits([file], "line"))]
            continue
        columns = pick_columns(table.columns, table.sample, None, None, file.name, labelled=True)
        found = list(rows(file, table.format, columns))
        assert [row["label"] for row in found] == LABELS
        texts += [row["text"] for row in found]
    return texts


def in_a_filter(path: Path, encoding: str) -> list[str]:
    """The documents as `classify` and `score` have them."""
    wanted = Wanted(encoding=Encoding(encoding))
    return [
        record.text or f"error: {record.error}"
        for source in inputs.opened([path], "classify")
        for window in RecordReader(wanted, source.name, source.suffix).windows(source.stream)
        for record in window
    ]


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNCTL_CACHE", str(cache))


COMBINATIONS = len(FORMATS) * len(CONTAINERS) * len(ENCODINGS) * len(LINE_ENDS)


def test_there_are_enough_combinations() -> None:
    assert COMBINATIONS >= 2000


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("format", FORMATS)
def test_documents_come_back(format: str, container: str, tmp_path: Path, cache: Path) -> None:
    for encoding, said in ENCODINGS.items():
        for end in LINE_ENDS:
            path = written(tmp_path, format, container, encoding, end)
            case = (encoding, end)
            assert in_a_corpus(path, said, cache) == DOCUMENTS, case
            assert in_a_filter(path, said) == DOCUMENTS, case


def sampled() -> Iterator[tuple[str, str, str, str]]:
    """Some combinations in which every value of every dimension occurs."""
    for i, format in enumerate(FORMATS):
        yield (
            format,
            list(CONTAINERS)[(2 * i) % len(CONTAINERS)],
            list(ENCODINGS)[i % len(ENCODINGS)],
            LINE_ENDS[i % len(LINE_ENDS)],
        )


TEXT = "".join(DOCUMENTS)


@pytest.fixture(scope="module")
def classifier(make_run: Callable[..., Path]) -> Path:
    return make_run(TEXT, labels=("neg", "pos"))


@pytest.fixture(scope="module")
def model(make_run: Callable[..., Path]) -> Path:
    return make_run(TEXT, running=False)


@pytest.mark.parametrize(("format", "container", "encoding", "end"), list(sampled()))
def test_the_commands_agree(
    format: str,
    container: str,
    encoding: str,
    end: str,
    rnnctl: Callable[..., object],
    classifier: Path,
    model: Path,
    tmp_path: Path,
) -> None:
    path = written(tmp_path, format, container, encoding, end)
    plain = tmp_path / "plain.jsonl"
    plain.write_text("".join(json.dumps({"text": t, "label": b}) + "\n" for t, b in PAIRS))
    how = ["--encoding", ENCODINGS[encoding]]
    if ENCODINGS[encoding] == "utf-8":
        how = []

    def answered(*arguments: object) -> list[dict[str, object]]:
        done = rnnctl(*arguments, "--format", "json")
        assert done.code == 0, done.err
        return [json.loads(line) for line in done.out.splitlines()]

    def numbers(answers: list[dict[str, object]], *names: str) -> list[object]:
        return [[answer[name] for name in names] for answer in answers]

    one = numbers(answered("classify", classifier, path, *how), "probabilities", "tokens")
    assert one == numbers(answered("classify", classifier, plain), "probabilities", "tokens")
    lines = ["--lines"] if FORMATS[format][0] in (".txt", "") else []
    scored = numbers(answered("score", model, path, *lines, *how), "nats", "bytes")
    assert scored == numbers(answered("score", model, plain), "nats", "bytes")
    piped = rnnctl("classify", classifier, "--format", "json", *how, stdin=path.read_bytes())
    assert piped.code == 0, piped.err
    found = [json.loads(line) for line in piped.out.splitlines()]
    assert numbers(found, "probabilities") == [[probabilities] for probabilities, _ in one]
