"""Which documents of a corpus a diagnosis reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnctl.diagnostics import material as texts
from rnnctl.diagnostics.material import read_text
from rnnctl.tasks.loading import load

MakeRun = Callable[..., Path]
LABELS = ("neg", "pos")


def write(path: Path, labels: list[str]) -> Path:
    rows = [{"text": f"review number {k} .", "label": label} for k, label in enumerate(labels)]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("most", [{"MOST_DOCUMENTS": 50}, {"MOST_CHARS": 2000}])
@pytest.mark.parametrize("labels", [["neg"] * 200 + ["pos"] * 200, ["neg", "pos"] * 200])
def test_a_labelled_corpus_in_any_order_is_met_evenly(
    make_run: MakeRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    labels: list[str],
    most: dict[str, int],
) -> None:
    for name, value in most.items():
        monkeypatch.setattr(texts, name, value)
    loaded = load(make_run("review number 1 .", level="word", labels=LABELS))
    found = read_text(loaded, str(write(tmp_path / "sorted.jsonl", labels)))
    assert 45 <= len(found.documents) <= 60
    for part in (found.documents, found.reference):
        kinds = Counter(document.label for document in part)
        assert min(kinds["neg"], kinds["pos"]) > 0.3 * len(part)
    assert found.name.endswith("a sample of its 400 documents")


def test_documents_without_labels_are_taken_from_everywhere(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "MOST_DOCUMENTS", 40)
    path = write(tmp_path / "long.jsonl", ["any"] * 300)
    loaded = load(make_run("review number 1 .", level="word", running=False))
    found = read_text(loaded, str(path))
    places = [int(document.text.split()[2]) for document in found.documents]
    assert len(places) == 40 and places == sorted(places)
    assert places[0] < 10 and places[-1] >= 290
    assert found.name.endswith("a sample of its 300 documents")
    monkeypatch.setattr(texts, "MOST_DOCUMENTS", 300)
    assert "sample" not in read_text(loaded, str(path)).name


def test_running_text_is_read_from_its_beginning(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.txt"
    path.write_text("".join(f"line {k} of a book\n" for k in range(200_000)), encoding="utf-8")
    monkeypatch.setattr(texts, "MOST_CHARS", 1000)
    found: Any = read_text(load(make_run("a book", level="char")), str(path))
    assert found.running and found.documents[0].text.startswith("line 0 of a book")
    assert "sample" not in found.name


def test_plain_text_is_read_in_documents_where_the_run_was(
    make_run: MakeRun, tmp_path: Path
) -> None:
    """Paragraphs between blank lines; and a word about it where there are none."""
    loaded = load(make_run("a book of lines", level="word", running=False))
    path = tmp_path / "text.txt"
    path.write_text("".join(f"a book of {k} lines .\n\n" for k in range(30)), encoding="utf-8")
    found = read_text(loaded, str(path))
    assert not found.running and len(found.documents) == 30 and found.warnings == ()
    path.write_text("a book of lines . " * 30, encoding="utf-8")
    found = read_text(loaded, str(path))
    assert [warning.code for warning in found.warnings] == ["RUNNING_TEXT"]
    assert "no blank lines" in found.warnings[0].text
    assert read_text(load(make_run("a book of lines")), str(path)).warnings == ()
