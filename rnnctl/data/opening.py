"""Opening a corpus: sources to collections, collections to splits, with what should be said."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from rnnctl.config import CorpusConfig
from rnnctl.data import remarks, running
from rnnctl.data.collections import Collection, Selection, TextUnits, combine, everything
from rnnctl.data.corpus import Corpus, bundled
from rnnctl.data.documents import SPLITS
from rnnctl.data.labelfolders import in_label_folders
from rnnctl.data.labelled import FIRST_WORD, labels_lines, no_labels
from rnnctl.data.lines import lines
from rnnctl.data.opentext import open_text, spool_stream
from rnnctl.data.rows import Rows, read_parquet, read_text_tables
from rnnctl.data.running import RunningText
from rnnctl.data.sources import Layout, Source, arrange
from rnnctl.data.splitting import Shares, assign, parse_split
from rnnctl.data.textfile import TextFile, check_encoding
from rnnctl.errors import DataError, UsageError
from rnnctl.results.base import Warning_
from rnnctl.wording import plural


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
        self.hashes: dict[str, str] = {}
        self.spooled: dict[Path, TextFile] = {}
        self.unit = config.documents
        self.warnings: list[Warning_] = []

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
        layout = self._layout()
        found = [source for group in layout.values() for source in group]
        if any(source.is_table for source in found):
            if not all(source.is_table for source in found):
                raise DataError("text and tables are mixed", hint="give one kind at a time")
            return self._tables(layout)
        files = {name: [self._text(s) for s in group] for name, group in layout.items()}
        if self.task != "lm":
            return self._labelled_text(layout, files)
        if self.unit == "none":
            return self._running(files)
        return self._documents({n: TextUnits(f, self.unit) for n, f in files.items()})

    def _layout(self) -> Layout:
        sources = self.config.sources
        if not sources:
            # The bundled text is paragraphs that have nothing to do with one another.
            self.unit = "paragraph" if self.unit == "none" else self.unit
            return arrange([bundled("paragraphs" if self.task == "lm" else "reviews")]).files
        piped = [source for source in sources if source == "-" or _is_pipe(source)]
        given = [Path(source).expanduser() for source in sources if source not in piped]
        arrangement = arrange(given)
        self.warnings += arrangement.warnings
        layout = arrangement.files
        if piped and set(layout) - {"all"}:
            raise UsageError(
                f"{piped[0]} cannot be added to a corpus with splits of its own",
                hint="leave one of them out, or add the text to the training file",
            )
        if piped:
            layout.setdefault("all", [])[:0] = [self._spooled(source) for source in piped]
        return layout

    def _spooled(self, source: str) -> Source:
        """Standard input or a pipe as a file: its first line says whether it is JSON lines."""
        codec = check_encoding(self.config.encoding)
        if source != "-":
            with Path(source).open("rb") as pipe:
                file = spool_stream(pipe, name=source, codec=codec, cache=self.cache)
        elif self.stdin is None:
            raise UsageError("there is no standard input to read", hint="name a file instead of -")
        else:
            name = "standard input"
            file = spool_stream(self.stdin, name=name, codec=codec, cache=self.cache)
        first = next((line for _, line in lines(file) if line.strip()), "")
        self.spooled[file.path] = file
        return Source(file.path, file.name, ".jsonl" if first.startswith("{") else "")

    def _text(self, source: Source) -> TextFile:
        if source.path in self.spooled:
            return self.spooled[source.path]
        return open_text(
            source.path, encoding=self.config.encoding, cache=self.cache, name=source.name
        )

    def _tables(self, layout: Layout) -> Corpus:
        given = {}
        for name, group in layout.items():
            texts = [(self._text(s), s.kind) for s in group if s.kind != ".parquet"]
            parquet = [s.path for s in group if s.kind == ".parquet"]
            rows = read_text_tables(texts, **self._fields()) if texts else []
            rows += read_parquet(parquet, **self._fields()) if parquet else []
            given[name] = rows
        return self._documents_of_rows(given)

    def _hub(self, spec: str) -> Corpus:
        from rnnctl.data import hub

        return self._documents_of_rows(hub.load(spec, **self._fields()))

    def _labelled_text(self, layout: Layout, files: Mapping[str, list[TextFile]]) -> Corpus:
        every = [file for group in files.values() for file in group]
        first = self.config.label_field == FIRST_WORD
        if first or all(labels_lines(file) for file in every):
            read = {
                name: read_text_tables([(f, "lines") for f in group], **self._fields())
                for name, group in files.items()
            }
            return self._documents_of_rows(read)
        if len({file.path.parent for file in every}) == 1:
            raise no_labels(every[0])
        within, left_out = in_label_folders(layout)
        self.warnings += left_out
        return self._documents({name: self._by_folder(files[name], within) for name in files})

    def _by_folder(self, files: Sequence[TextFile], within: Container[str]) -> TextUnits:
        """Whole files as documents, labelled by their folders."""
        kept = [file for file in files if file.name in within]
        return TextUnits(kept, "file", [Path(file.name).parent.name for file in kept])

    def _fields(self) -> dict[str, Any]:
        return {
            "text_field": self.config.text_field,
            "label_field": self.config.label_field,
            "labelled": self.task != "lm",
            "cache": self.cache,
        }

    def _documents_of_rows(self, given: Mapping[str, list[Rows]]) -> Corpus:
        blank = sum(rows.blank for group in given.values() for rows in group)
        text = plural(
            blank, "record has no text and was left out", "records have no text and were left out"
        )
        if blank:
            self.warnings.append(Warning_(code="blank_texts", text=text))
        return self._documents({name: combine(group) for name, group in given.items()})

    def _running(self, files: Mapping[str, list[TextFile]]) -> Corpus:
        whole = files.get("all", files.get("train", []))
        if not any(file.chars for file in whole):
            raise _empty([file.name for file in whole])
        for name, group in files.items():
            self.hashes[name] = " ".join(file.sha256 for file in group)
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

    def _documents(self, given: Mapping[str, Collection]) -> Corpus:
        """Splits as given; what is missing is held out of the training documents."""
        whole = given.get("all") or given["train"]
        if not len(whole.digests):
            raise _empty(self.config.sources)
        for name, collection in given.items():
            self.hashes[name] = _content(collection)
        if len(given) == 1:
            shares = self.shares
        elif "valid" in given:
            shares = Shares(Fraction(1), Fraction(0), Fraction(0))
        else:
            shares = self.shares.without_test()
        chosen = assign(whole.digests, whole.strata, shares, self.config.split_seed)
        parts = dict(zip(SPLITS, (Selection(whole, i) for i in chosen), strict=True))
        parts |= {name: everything(c) for name, c in given.items() if name in ("valid", "test")}
        names = self._labels(parts)
        self.warnings += remarks.on_documents(parts, given.keys(), labelled=self.task != "lm")
        return self._corpus(parts, running=False, label_names=names)

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
    ) -> Corpus:
        options = self.config.model_dump(
            include={"documents", "split", "split_seed", "text_field", "label_field"}
        )
        content = json.dumps([self.hashes, options, self.unit, self.task, running], sort_keys=True)
        return Corpus(
            parts=parts,
            running=running,
            description=", ".join("standard input" if s == "-" else s for s in self.config.sources)
            or "the bundled corpus",
            fingerprint=hashlib.sha256(content.encode()).hexdigest(),
            label_names=label_names,
            warnings=tuple(self.warnings),
        )

    def _bench_task(self, spec: str) -> Corpus:
        from rnnctl.data.bench_tasks import is_running, task_documents, trained_as

        if trained_as(spec) != self.task:
            raise DataError(
                f"{spec} is a corpus for --task {trained_as(spec)}, not for {self.task}",
                hint="leave --task out: the corpus sets it",
            )
        corpus = Corpus.from_documents(task_documents(spec), description=spec)
        return replace(corpus, running=is_running(spec))


def _is_pipe(source: str) -> bool:
    """Such as the shell makes of ``<(command)``."""
    path = Path(source)
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except OSError:
        return False


def _content(collection: Collection) -> str:
    """What a collection holds, as a hash."""
    sha = hashlib.sha256(collection.digests.data)
    sha.update(json.dumps(collection.label_names).encode())
    if collection.strata is not None:
        sha.update(collection.strata.data)
    return sha.hexdigest()


def _empty(names: object) -> DataError:
    listed = ", ".join(map(str, names)) if isinstance(names, list | tuple) else str(names)
    return DataError(f"{listed} holds no text", hint="give a file with something in it")
