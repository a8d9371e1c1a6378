"""How fast a text becomes ids, and in how much memory: opening, tokenizer, store, by level.

    python tests/benchmarks/speed_store.py [--megabytes 300] [--text FILE] [--levels char,word]

Without --text it repeats the bundled paragraphs with new numbers in them, so that words are not
all known. Each level runs in a process of its own with a cache of its own. Prints JSON: megabytes
of text a second by the clock and by CPU time, and the peak of anonymous resident memory (RssAnon).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from speed_harness import report

from rnnctl.config import CorpusConfig, TokenizerConfig
from rnnctl.data.corpus import Corpus, open_corpus
from rnnctl.data.sources import bundled
from rnnctl.data.store import build_store
from rnnctl.data.tokenizers import make_tokenizer


def anonymous_megabytes() -> float:
    """RssAnon of this process (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1000
    return 0.0


class Peak(threading.Thread):
    """Looks at the memory every twentieth of a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.megabytes = 0.0

    def run(self) -> None:
        while True:
            self.megabytes = max(self.megabytes, anonymous_megabytes())
            time.sleep(0.05)


def measured(work: Callable[[], Any], megabytes: float) -> tuple[Any, dict[str, float]]:
    """What `work` gives, and its speed."""
    clock, cpu = time.perf_counter(), time.process_time()
    result = work()
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    rates = {
        "mb_per_s": megabytes / seconds,
        "mb_per_cpu_s": megabytes / max(cpu_seconds, 1e-3),
        "seconds": seconds,
    }
    return result, {key: round(value, 3) for key, value in rates.items()}


def one_level(path: Path, level: str, documents: str) -> dict[str, Any]:
    """All figures of one level, in this process."""
    peak = Peak()
    peak.start()
    megabytes = path.stat().st_size / 1e6
    cache = Path(tempfile.mkdtemp(prefix="speed-store-"))
    config = CorpusConfig(sources=(str(path),), documents=documents)
    settings = TokenizerConfig(level=level)
    try:
        corpus: Corpus
        corpus, opening = measured(lambda: open_corpus(config, cache=cache), megabytes)
        tokenizer, training = measured(lambda: make_tokenizer(corpus, settings), megabytes)
        store, building = measured(lambda: build_store(corpus, tokenizer, cache=cache), megabytes)
        _, again = measured(lambda: build_store(corpus, tokenizer, cache=cache), megabytes)
        return {
            "level": level,
            "documents": documents,
            "megabytes": megabytes,
            "tokens": store.split("train").tokens,
            "vocabulary": tokenizer.vocab_size,
            "open": opening,
            "tokenizer": training,
            "store": building,
            "found_again_s": again["seconds"],
            "peak_anonymous_mb": round(peak.megabytes, 1),
        }
    finally:
        shutil.rmtree(cache)


def synthetic(path: Path, megabytes: float) -> None:
    """The bundled paragraphs again and again, with a new number in every repetition."""
    text = (bundled() / "train.txt").read_text("utf-8")
    with path.open("w", encoding="utf-8") as file:
        turn = 0
        while file.tell() < megabytes * 1e6:
            turn += 1
            file.write(text.replace(" the ", f" the {turn}th ", 5000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=300)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--levels", default="char,byte,word,bpe")
    parser.add_argument("--documents", default="none")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one_level(options.text, options.one, options.documents)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = options.text or Path(folder) / "text.txt"
        if options.text is None:
            synthetic(path, options.megabytes)
        found = [level_apart(path, level, options.documents) for level in options.levels.split(",")]
    report("store", found)


def level_apart(path: Path, level: str, documents: str) -> dict[str, Any]:
    """One level in a process of its own."""
    command = [sys.executable, __file__, "--text", str(path), "--one", level]
    done = subprocess.run(
        [*command, "--documents", documents], stdout=subprocess.PIPE, text=True, check=True
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


if __name__ == "__main__":
    main()
