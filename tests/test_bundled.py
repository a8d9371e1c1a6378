"""The bundled corpora are what their programs make, and are made as their README says."""

from __future__ import annotations

import collections
import gzip
import json
import re
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
    assert sum(file.stat().st_size for folder in folders for file in folder.iterdir()) < 3_000_000


def test_paragraphs_are_paragraphs(root: Path) -> None:
    texts = {
        split: (root / "data" / "paragraphs" / f"{split}.txt").read_text("utf-8").split("\n\n")
        for split in SPLITS
    }
    every = [text for split in SPLITS for text in texts[split]]
    assert len(set(every)) == len(every)
    assert len(texts["valid"]) > 50 and len(texts["test"]) > 50
    lengths = sorted(len(text.split()) for text in every)
    assert lengths[0] >= 10 and lengths[-1] <= 150 and 40 < lengths[len(lengths) // 2] < 80
    for text in every:
        assert "\n" not in text.strip() and "{" not in text
        assert text.count('"') % 2 == 0, f"a quotation is not closed: {text}"


def test_the_end_of_a_paragraph_needs_its_beginning(root: Path) -> None:
    """A name and a thing: both in the first sentence and in the last, in many not between them."""
    texts = (root / "data" / "paragraphs" / "test.txt").read_text("utf-8").strip().split("\n\n")
    counts = collections.Counter(word for text in texts for word in set(_words(text)))
    rare = {word for word, count in counts.items() if count < len(texts) / 3}
    alone = 0
    for text in texts:
        first, *middle, last = re.split(r"(?<=[.?!]) |(?<=[.?!]\") ", text)
        both = set(_words(first)) & set(_words(last)) & rare
        assert len(both) >= 2, text
        alone += not both & set(_words(" ".join(middle)))
    assert 0.4 * len(texts) < alone < 0.7 * len(texts)


def test_held_out_paragraphs_are_of_other_people_with_other_things(root: Path) -> None:
    """No plot with its person and its thing is in two splits."""
    sys.path.insert(0, str(root / "data" / "generator"))
    try:
        import paragraphs  # type: ignore[import-not-found]
    finally:
        del sys.path[0]
    splits = collections.defaultdict(set)
    for number in range(3000):
        key, text = paragraphs.paragraph(number)
        splits[paragraphs.split_of(key)].add(key)
        assert all(word in text for word in key.split("/")[1:])
    assert not splits["train"] & (splits["valid"] | splits["test"])
    assert not splits["valid"] & splits["test"] and len(splits) == 3


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
