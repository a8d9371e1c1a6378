"""Make the bundled corpora: `python data/generator/make.py [FOLDER]`; without FOLDER in place."""

from __future__ import annotations

import sys
from pathlib import Path

import paragraphs
import reviews


def main() -> None:
    """Write both corpora below the folder given, or below data/."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    paragraphs.write(target / "paragraphs")
    reviews.write(target / "reviews")


if __name__ == "__main__":
    main()
