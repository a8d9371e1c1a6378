"""What the tests of the data package share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rnnctl.config import TokenizerConfig
from rnnctl.data.tokenizers import Tokenizer, train_tokenizer

SAMPLE = (
    "He said, \"don't go\" -- it's 3.14, well-known’s 中文。\n\n"
    "\tThe café cost £5; the naïve 😀👨‍👩‍👧 paid.\r\n"
    "नमस्ते दुनिया, the cat sat on the mat. the the cat\x00 "
)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache directory of the test's own."""
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def sample() -> str:
    """Text with punctuation, several scripts, emoji, control characters and odd spacing."""
    return SAMPLE


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, Tokenizer]:
    """One tokenizer of every kind, made from `sample`."""
    kinds = {
        "char": TokenizerConfig(level="char"),
        "byte": TokenizerConfig(level="byte"),
        "natural": TokenizerConfig(level="word", words="natural"),
        "lead": TokenizerConfig(level="word", words="natural", lead=True),
        "whitespace": TokenizerConfig(level="word", words="whitespace"),
        "bpe": TokenizerConfig(level="bpe", vocab_size=300),
        "lower": TokenizerConfig(level="word", words="natural", lead=True, lowercase=True),
        "lower whitespace": TokenizerConfig(level="word", words="whitespace", lowercase=True),
    }
    return {name: train_tokenizer([SAMPLE], config) for name, config in kinds.items()}


def read_rows(file, kind, *, cache, text_field=None, label_field=None, labelled=False):
    """The rows of a text file as a corpus has them. kind: a suffix, or "lines"."""
    from rnnctl.data.columns import pick_columns
    from rnnctl.data.records import rows
    from rnnctl.data.tables import text_table

    table = text_table(
        file,
        cache,
        suffix="" if kind == "lines" else kind,
        given="lines" if kind == "lines" else None,
        fields=[field for field in (text_field, label_field) if field],
        labelled=labelled,
    )
    if table is None or not table.columns:
        return
    columns = pick_columns(
        table.columns, table.sample, text_field, label_field, file.name, labelled=labelled
    )
    yield from rows(file, table.format, columns)


@pytest.fixture(scope="session")
def table_rows():
    """`read_rows`, for the tests of this folder."""
    return read_rows


WriteFile = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    """Write a file below the test's directory and give its path."""

    def call(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return path

    return call
