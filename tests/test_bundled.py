"""The bundled corpora are what their programs make, and are made as their README says."""

from __future__ import annotations

import collections
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """Both corpora, made anew."""
    target = tmp_path_factory.mktemp("made")
    program = root / "data" / "generator" / "make.py"
    subprocess.run([sys.executable, str(program), str(target)], check=True)
    return target


@pytest.fixture(scope="module")
def reviews(root: Path) -> dict[str, list[dict[str, str]]]:
    return {
        split: [
            json.loads(line)
            for line in gzip.decompress(
                (root / "data" / "reviews" / f"{split}.jsonl.gz").read_bytes()
            ).splitlines()
        ]
        for split in SPLITS
    }


@pytest.mark.parametrize("split", SPLITS)
def test_the_programs_make_the_paragraphs_that_are_there(
    made: Path, root: Path, split: str
) -> None:
    name = f"paragraphs/{split}.txt"
    assert (made / name).read_bytes() == (root / "data" / name).read_bytes()


@pytest.mark.parametrize("split", SPLITS)
def test_the_programs_make_the_reviews_that_are_there(made: Path, root: Path, split: str) -> None:
    name = f"reviews/{split}.jsonl.gz"
    new, there = (gzip.decompress((base / name).read_bytes()) for base in (made, root / "data"))
    assert new == there


def test_both_corpora_stay_small(root: Path) -> None:
    folders = [root / "data" / name for name in ("paragraphs", "reviews")]
    assert sum(file.stat().st_size for folder in folders for file in folder.iterdir()) < 2_000_000


def test_paragraphs_are_paragraphs(root: Path) -> None:
    texts = {
        split: (root / "data" / "paragraphs" / f"{split}.txt").read_text("utf-8").split("\n\n")
        for split in SPLITS
    }
    every = [text for split in SPLITS for text in texts[split]]
    assert len(set(every)) == len(every)
    assert len(texts["valid"]) > 50 and len(texts["test"]) > 50
    lengths = sorted(len(text.split()) for text in every)
    assert lengths[0] >= 40 and lengths[-1] <= 300 and 120 < lengths[len(lengths) // 2] < 200
    for text in every:
        assert "\n" not in text.strip() and "{" not in text
        assert text.count('"') % 2 == 0, f"a quotation is not closed: {text}"


def test_the_end_of_a_paragraph_needs_its_beginning(root: Path) -> None:
    """Names, numbers, things: the last sentences repeat a rare word of the first one."""
    texts = (root / "data" / "paragraphs" / "test.txt").read_text("utf-8").split("\n\n")
    counts = collections.Counter(word for text in texts for word in set(_words(text)))
    rare = {word for word, count in counts.items() if count < len(texts) / 10}
    kept = [bool(set(_words(text)[:25]) & set(_words(text)[-40:]) & rare) for text in texts]
    assert sum(kept) > 0.95 * len(kept)


def _words(text: str) -> list[str]:
    return [word.strip(".,:;?!\"'").lower() for word in text.split()]


def test_reviews_are_balanced(reviews: dict[str, list[dict[str, str]]]) -> None:
    rows = [row for split in SPLITS for row in reviews[split]]
    cells = collections.Counter((row["label"], row["position"]) for row in rows)
    assert set(cells.values()) == {len(rows) // 6} and len(cells) == 6
    assert len({row["id"] for row in rows}) == len(rows) == 6000


def test_the_filler_of_a_review_says_nothing(reviews: dict[str, list[dict[str, str]]]) -> None:
    """Without the sentence that differs, a positive and a negative review are the same text."""
    for rows in reviews.values():
        pairs = collections.defaultdict(dict)
        for row in rows:
            pairs[row["id"][:-1]][row["label"]] = row
        for pair in pairs.values():
            good, bad = pair["positive"], pair["negative"]  # both, in one split
            head = _common_start(good["text"], bad["text"])
            tail = _common_start(good["text"][::-1], bad["text"][::-1])
            place = head / max(1, head + tail)
            assert good["position"] == bad["position"]
            low, high = {"early": (0, 0.35), "middle": (0.2, 0.8), "late": (0.65, 1)}[
                good["position"]
            ]
            assert low <= place <= high, (place, good)


def _common_start(one: str, other: str) -> int:
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))
