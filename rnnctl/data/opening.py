"""Opening a corpus: sources to collections, collections to splits, with what should be said."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from rnnctl.config import CorpusConfig
from rnnctl.data import running
from rnnctl.data.collections import Collection, Selection, TextUnits, everything
from rnnctl.data.corpus import Corpus, bundled
from rnnctl.data.documents import SPLITS
from rnnctl.data.running import RunningText
from rnnctl.data.sources import Layout, arrange, is_table
from rnnctl.data.splitting import Shares, assign, parse_split
from rnnctl.data.textfile import TextFile, open_text, spool
from rnnctl.errors import DataError, UsageError
from rnnctl.results.base import Warning_

_T = TypeVar("_T")


class Opener:
    """Makes one `Corpus` of one `CorpusConfig`."""

    def __init__(
        self, config: CorpusConfig, task: str, cache: Path, stdin: BinaryIO | None
    ) -> None:
        self.config = config
        self.task = task
        self.cache = cache
        self.stdin = stdin
        self.shares = parse_split(config.split)
        self.hashes: dict[str, list[str]] = {}
        self.unit = config.documents

    def open(self) -> Corpus:
        """See `open_corpus`."""
        sources = self.config.sources
        for prefix in ("task:", "hub:"):
            if any(source.startswith(prefix) for source in sources) and len(sources) > 1:
                raise UsageError(f"a {prefix} corpus stands alone", hint="give it as the only one")
        if sources and sources[0].startswith("task:"):
            return self._bench_task(sources[0])
        if sources and sources[0].startswith("hub:"):
            return self._hub(sources[0])
        layout = arrange(self._paths())
        tables = [is_table(path) for paths in layout.values() for path in paths]
        if any(tables):
            if not all(tables):
                raise DataError("text and tables are mixed", hint="give one kind at a time")
            return self._tables(layout)
        files = {name: [self._text(p, name) for p in paths] for name, paths in layout.items()}
        if self.task != "lm":
            return self._labelled_text(files)
        if self.unit == "none":
            return self._running(files)
        return self._documents({n: TextUnits(f, self.unit) for n, f in files.items()})

    def _paths(self) -> list[Path]:
        if not self.config.sources:
            self.unit = "paragraph" if self.unit == "none" else self.unit
            return [bundled("paragraphs" if self.task == "lm" else "reviews")]
        return [self._spooled() if s == "-" else Path(s).expanduser() for s in self.config.sources]

    def _spooled(self) -> Path:
        """Standard input as a file: its beginning says whether it is JSON lines."""
        if self.stdin is None:
            raise UsageError("there is no standard input to read", hint="name a file instead of -")
        text = spool(
            self.stdin, name="standard input", codec=self.config.encoding, cache=self.cache
        )
        return text.path

    def _text(self, path: Path, split: str) -> TextFile:
        file = open_text(path, encoding=self.config.encoding, cache=self.cache)
        self.hashes.setdefault(split, []).append(file.sha256)
        return file

    def _running(self, files: Mapping[str, list[TextFile]]) -> Corpus:
        whole = files.get("all", files.get("train", []))
        if not any(file.chars for file in whole):
            raise _empty([file.name for file in whole])
        if len(files) == 1:
            parts = running.cut(whole, self.shares)
        elif "valid" in files:
            parts = (
                running.whole(whole),
                running.whole(files["valid"]),
                running.whole(files.get("test", [])),
            )
        else:
            train, valid, _ = running.cut(whole, self.shares.without_test())
            parts = (train, valid, running.whole(files["test"]))
        return self._corpus(dict(zip(SPLITS, parts, strict=True)), running=True)

    def _documents(
        self, given: Mapping[str, Collection], warnings: tuple[Warning_, ...] = ()
    ) -> Corpus:
        """Splits as given; what is missing is held out of the training documents."""
        whole = given.get("all") or given["train"]
        if not len(whole.digests):
            raise _empty(self.config.sources)
        strata = whole.strata
        if len(given) == 1:
            shares = self.shares
        elif "valid" in given:
            shares = Shares(self.shares.train / self.shares.train, *[self.shares.train * 0] * 2)
        else:
            shares = self.shares.without_test()
        chosen = assign(whole.digests, strata, shares, self.config.split_seed)
        parts = dict(zip(SPLITS, (Selection(whole, i) for i in chosen), strict=True))
        parts |= {name: everything(c) for name, c in given.items() if name in ("valid", "test")}
        names = self._labels(parts)
        found = (*warnings, *_shared(parts, "test"), *_shared(parts, "valid"))
        return self._corpus(parts, running=False, label_names=names, warnings=found)

    def _labels(self, parts: Mapping[str, Selection]) -> tuple[str, ...]:
        if self.task == "lm":
            return ()
        names = parts["train"].labels
        if len(names) < 2:
            which = f"only the label {names[0]!r}" if names else "no label"
            raise DataError(
                f"the training documents have {which}: a classifier needs two",
                hint="check --label-field, or give a corpus with more classes",
            )
        return tuple(sorted({*names, *parts["valid"].labels, *parts["test"].labels}))

    def _corpus(
        self,
        parts: Mapping[str, RunningText] | Mapping[str, Selection],
        *,
        running: bool,
        label_names: tuple[str, ...] = (),
        warnings: tuple[Warning_, ...] = (),
    ) -> Corpus:
        options = self.config.model_dump(
            include={"documents", "split", "split_seed", "text_field", "label_field"}
        )
        content = json.dumps([self.hashes, options, self.unit, self.task, running], sort_keys=True)
        return Corpus(
            parts=parts,
            running=running,
            description=", ".join(self.config.sources) or "the bundled corpus",
            fingerprint=hashlib.sha256(content.encode()).hexdigest(),
            label_names=label_names,
            warnings=warnings,
        )

    def _bench_task(self, spec: str) -> Corpus:
        from rnnctl.data.bench_tasks import task_documents

        return Corpus.from_documents(task_documents(spec), description=spec)

    def _hub(self, spec: str) -> Corpus:
        raise NotImplementedError(spec)

    def _tables(self, layout: Layout) -> Corpus:
        raise NotImplementedError(layout)

    def _labelled_text(self, files: Mapping[str, list[TextFile]]) -> Corpus:
        raise NotImplementedError(files)


def _empty(names: object) -> DataError:
    listed = ", ".join(map(str, names)) if isinstance(names, list | tuple) else str(names)
    return DataError(f"{listed} holds no text", hint="give a file with something in it")


def _shared(parts: Mapping[str, Selection], other: str) -> tuple[Warning_, ...]:
    """A warning if texts of the training split stand in another one too."""
    train, second = parts["train"], parts[other]
    both = np.intersect1d(train.digests, second.digests)
    if not len(both):
        return ()
    where = np.flatnonzero(np.isin(second.digests, both))[:3]
    examples = "; ".join(
        f"{d.source} ({' '.join(d.text.split())[:40]}…)"
        for d in second.collection.read(second.indices[where])
    )
    text = f"{len(both)} texts stand in both train and {other}, for instance {examples}"
    return (Warning_(code=f"train_{other}_overlap", text=text),)
