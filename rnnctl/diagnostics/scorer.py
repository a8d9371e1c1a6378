"""The instrument for any model: USE, FIRST→LAST and EFFECT of a program that answers questions.

`Conversation` speaks the protocol of ``rnnctl/docs/scorer.md`` with a process: how many nats has
this target after this context? `ScorerSubject` makes a `LanguageSubject` of it, so that what
measures a user's program is the code that measures a run. Its state is the number of a context,
its features are a context's number and how many tokens of it were read.

T tokens, B contexts side by side, N questions.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal, cast

import numpy as np
import torch
from torch import Tensor

from rnnctl import machine
from rnnctl.config import CorpusConfig
from rnnctl.data.cache import cache_directory
from rnnctl.data.corpus import open_corpus
from rnnctl.data.tokenizers.base import UNKNOWN
from rnnctl.diagnostics import effect, first_last, panel, use
from rnnctl.diagnostics.diagnose import as_result, timed
from rnnctl.diagnostics.material import Text, beginning_of
from rnnctl.diagnostics.sample import UNSPACED, Ids, Sample, from_texts
from rnnctl.diagnostics.settings import PRESETS, Arm, Settings, for_spelled
from rnnctl.diagnostics.subject import LanguageSubject, State, numbered
from rnnctl.errors import DataError, ScorerError, UsageError
from rnnctl.inference.answer import PROTOCOL, VERSION
from rnnctl.results.base import Environment
from rnnctl.results.diagnostics import DiagnosticsResult, Measurement, ModelRecord
from rnnctl.wording import plural

MEASURED: Final[Mapping[str, Callable[[LanguageSubject, Sample, Settings], Measurement]]] = {
    "use": use.measure,
    "first_last": first_last.measure,
    "effect": effect.measure,
}
"""What needs nothing but how likely text is."""
AT_ONCE: Final = 1024  # questions between two blank lines
TIMEOUT_S: Final = 120.0
LEAVE_S: Final = 5.0  # for a scorer to end by itself
NAMED: Final = 60  # characters of a context in a message
SURE: Final = 1e-3  # that probabilities may miss 1 by
PIECE: Final = re.compile(
    rf"\s*{UNSPACED.pattern}|\s*(?:(?!{UNSPACED.pattern})\w)+(?:['’]\w+)*|\s*[^\w\s]|\s+"
)
INTERPRETER: Final = re.compile(r"python[\d.]*|perl|ruby|node|Rscript|julia|sh|bash|env|uv")
HELP: Final = "the protocol: `rnnctl help scorer`"
BOUNDARY: Final = 0


# -- the conversation ----------------------------------------------------------------------------


class Conversation:
    """A process that is asked over its standard input and answers on its standard output.

    Raises ScorerError, naming the line, for every answer that is none, and where the process ends
    or stays silent for `timeout` seconds. Use it with `with`: nothing that it started stays behind.
    """

    def __init__(self, command: str, *, timeout: float = TIMEOUT_S) -> None:
        self.command = command
        self.questions = 0
        self._timeout = timeout
        self._lines = 0  # that the scorer has written
        self._out = bytearray()
        self._answers: list[bytes] = []
        self._said = bytearray()  # the end of its standard error
        self._next = 1
        # A group of its own, so that whatever it starts can be ended with it.
        self._process = subprocess.Popen(  # noqa: S602 - a command line, pipes and all
            command,
            shell=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            for stream in self._streams:
                os.set_blocking(stream.fileno(), False)
            self._greet()
        except BaseException:
            self.close()
            raise

    @property
    def _streams(self) -> tuple[BinaryIO, BinaryIO, BinaryIO]:
        process = self._process
        streams = process.stdin, process.stdout, process.stderr
        return cast("tuple[BinaryIO, BinaryIO, BinaryIO]", streams)

    def _greet(self) -> None:
        hello = json.dumps({"protocol": PROTOCOL, "version": VERSION}).encode()
        line = self._exchange(hello + b"\n\n", 1)[0]
        said = _object(line, "line 1 of the scorer")
        if said.get("protocol") != PROTOCOL:
            raise ScorerError(
                f"line 1 of the scorer is not a greeting: {_short(line)}",
                hint=f'it must name the protocol: {{"protocol": "{PROTOCOL}", "version": '
                f"{VERSION}}} ({HELP})",
            )
        if said.get("version") != VERSION:
            raise ScorerError(
                f"the scorer speaks version {said.get('version')!r} of the protocol, rnnctl "
                f"speaks {VERSION}",
                hint=HELP,
            )
        can = said.get("can", [])
        if not isinstance(can, list):
            raise ScorerError('line 1 of the scorer: "can" is not a list', hint=HELP)
        name, vocabulary = said.get("name"), said.get("vocabulary")
        self.name = name if isinstance(name, str) and name else _program(self.command)
        self.lists, self.splits = "list" in can, "split" in can
        self.spelled = self.splits and said.get("pieces") == "parts"
        self.vocabulary = vocabulary if isinstance(vocabulary, int) and vocabulary > 0 else None

    def nats(self, questions: Sequence[Mapping[str, object]]) -> list[float]:
        """Nats of each question's target after its context (N,)."""
        found = []
        for answer, where in self._ask(questions):
            found.append(_nats(answer, where))
        return found

    def split(self, text: str) -> tuple[list[str], set[int]]:
        """The text in the scorer's own pieces, and which of them it does not know.

        Raises ScorerError where the pieces are not the text.
        """
        for answer, where in self._ask([{"split": text}]):
            pieces = answer.get("pieces")
            whole = isinstance(pieces, list) and all(isinstance(one, str) for one in pieces)
            cut = cast("list[str]", pieces if whole else [])
            if "".join(cut) != text or "" in cut:
                raise ScorerError(
                    f"{where}: the pieces are not the text, cut into parts", hint=HELP
                )
            unknown = answer.get("unknown", [])
            if not isinstance(unknown, list) or not all(isinstance(k, int) for k in unknown):
                raise ScorerError(f'{where}: "unknown" is not a list of numbers', hint=HELP)
            return cut, set(unknown)
        raise AssertionError

    def check_sums(self, contexts: Sequence[Mapping[str, object]]) -> None:
        """ScorerError where the probabilities of all next tokens do not add up to 1."""
        asked = [{**context, "list": True} for context in contexts]
        for (answer, where), question in zip(self._ask(asked), asked, strict=True):
            listed = answer.get("list")
            if not isinstance(listed, list):
                raise ScorerError(f'{where}: there is no "list"', hint=HELP)
            chances = []
            for entry in listed:
                pair = isinstance(entry, list) and len(entry) == 2
                if not pair:
                    raise ScorerError(
                        f"{where}: an entry is not a pair of text and nats", hint=HELP
                    )
                chances.append(math.exp(-_nats({"nats": entry[1]}, where, zero=True)))
            total = math.fsum(chances)
            if abs(total - 1) > SURE:
                raise ScorerError(
                    f"{where}: the probabilities after {_short(question['context'])} add up to "
                    f"{total:.4g}, not to 1",
                    hint="losses are meaningful only if probabilities add up to 1; every "
                    "token that can follow must be listed once",
                )

    def _ask(
        self, questions: Sequence[Mapping[str, object]]
    ) -> Iterator[tuple[dict[str, Any], str]]:
        """Each question's answer, and where it stands, in the order of the questions."""
        for begin in range(0, len(questions), AT_ONCE):
            some = questions[begin : begin + AT_ONCE]
            first = self._next
            self._next += len(some)
            lines = [
                json.dumps({"id": k, **question}, ensure_ascii=False)
                for k, question in enumerate(some, first)
            ]
            data = ("\n".join(lines) + "\n\n").encode("utf-8", "surrogatepass")
            before = self._lines
            for k, line in enumerate(self._exchange(data, len(some), first)):
                where = f"line {before + k + 1:,} of the scorer"
                answer = _object(line, where)
                self._check_turn(answer, first + k, where)
                yield answer, where
            self.questions += len(some)

    def _check_turn(self, answer: Mapping[str, Any], expected: int, where: str) -> None:
        number = answer.get("id")
        if isinstance(number, bool) or number != expected:
            if not isinstance(number, int):
                what = f"an answer without the id of its question, which is {expected}"
            elif 0 < number < expected:
                what = f"question {number} was answered before; this is the turn of {expected}"
            elif number < self._next:
                what = f"the answer to {number} comes before that to {expected}"
            else:
                what = f"question {number} was not asked"
            raise ScorerError(
                f"{where}: {what}",
                hint=f"each question has one answer, in the order of the questions; {HELP}",
            )
        if "error" in answer:
            raise ScorerError(
                f"{where}: the scorer cannot answer question {expected}: {answer['error']}",
                hint="read the scorer's own messages, or leave such text out",
            )

    def _exchange(self, data: bytes, wanted: int, first: int = 0) -> list[bytes]:
        """Write `data` and read `wanted` lines, both at once, so that nobody waits for the other.

        `first`: the number of the first question in `data`, for messages.
        """
        stdin, stdout, stderr = self._streams
        view, written = memoryview(data), 0
        deadline = time.monotonic() + self._timeout
        with selectors.DefaultSelector() as ready:
            ready.register(stdout, selectors.EVENT_READ)
            ready.register(stderr, selectors.EVENT_READ)
            ready.register(stdin, selectors.EVENT_WRITE)
            while len(self._answers) < wanted:
                events = ready.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    at = f"question {first + len(self._answers):,}" if first else "the greeting"
                    raise ScorerError(
                        f"the scorer has not answered for {self._timeout:g} s: no answer to {at}",
                        hint="it must write and flush all answers at every blank line; "
                        "`--scorer-timeout SECONDS` waits longer",
                    )
                for key, _ in events:
                    if key.fileobj is stdin:
                        try:
                            written += os.write(stdin.fileno(), view[written : written + 65_536])
                        except BlockingIOError:
                            continue
                        except BrokenPipeError:
                            ready.unregister(stdin)  # what it has written is still read
                            continue
                        deadline = time.monotonic() + self._timeout
                        if written == len(view):
                            ready.unregister(stdin)
                    elif key.fileobj is stderr:
                        if not self._hear():
                            ready.unregister(stderr)
                    elif self._read():
                        deadline = time.monotonic() + self._timeout
                    else:
                        self._ended(first)
        found, self._answers = self._answers[:wanted], self._answers[wanted:]
        self._lines += wanted
        return found

    def _read(self) -> bool:
        """Take in what stands on standard output; False at its end."""
        try:
            chunk = os.read(self._streams[1].fileno(), 1 << 20)
        except BlockingIOError:
            return True
        if chunk:
            self._out += chunk
            *lines, rest = bytes(self._out).split(b"\n")
            self._answers += [line for line in lines if line.strip()]
            self._out = bytearray(rest)
        return bool(chunk)

    def _hear(self) -> bool:
        try:
            chunk = os.read(self._streams[2].fileno(), 65_536)
        except BlockingIOError:
            return True
        self._said = (self._said + chunk)[-4096:]
        return bool(chunk)

    def _ended(self, first: int) -> None:
        """ScorerError for a process that has closed its output while it owes answers."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LEAVE_S)
        while self._hear() and self._process.poll() is not None:
            pass
        code = self._process.poll()
        how = "closed its output" if code is None else f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        at = f"before it answered question {first + len(self._answers):,}" if first else "at once"
        lines = self._said.decode("utf-8", "replace").strip().splitlines()
        told = [line for line in lines if line.startswith("error: ")] or lines
        said = f"; its last words: {told[-1].strip()}" if told else ""
        hint = f"run it by itself: {self.command}"
        if code == 127:
            hint = "the shell does not find it: check the name and the path"
        raise ScorerError(f"the scorer {how} {at}{said}", hint=hint)

    def finish(self) -> None:
        """Say that nothing more is asked. ScorerError where there are answers to nothing."""
        stdin, stdout, _ = self._streams
        stdin.close()
        deadline = time.monotonic() + LEAVE_S
        with selectors.DefaultSelector() as ready:
            ready.register(stdout, selectors.EVENT_READ)
            while not self._answers and ready.select(max(0.0, deadline - time.monotonic())):
                if not self._read():
                    break
        if self._answers:
            raise ScorerError(
                f"line {self._lines + 1:,} of the scorer does not answer a question: "
                f"{_short(self._answers[0])}",
                hint=f"each question has one answer; {HELP}",
            )

    def close(self) -> None:
        """End the process and all that it started."""
        for stream in self._streams:
            with contextlib.suppress(OSError):
                stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
                if number == signal.SIGTERM and self._alone():
                    return

    def _alone(self) -> bool:
        """Whether nobody of the group is left."""
        try:
            os.killpg(self._process.pid, 0)
        except OSError:
            return True
        return False

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _program(command: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    names = [os.path.basename(one) for one in words if not one.startswith("-")]  # noqa: PTH119
    if len(names) > 1 and INTERPRETER.fullmatch(names[0]):
        return names[1]
    return names[0] if names else "scorer"


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ScorerError(f"{where} is not a JSON object: {_short(line)}", hint=HELP)
    return found


def _nats(answer: Mapping[str, Any], where: str, *, zero: bool = False) -> float:
    """The answer's nats; `zero`: infinity, a probability of 0, may be among them."""
    value = answer.get("nats")
    if isinstance(value, bool) or not isinstance(value, int | float):
        what = 'has no "nats"' if value is None else f"has nats that are not a number: {value!r}"
        raise ScorerError(f"{where} {what}", hint=HELP)
    if math.isinf(value) and value > 0:
        if zero:
            return float(value)
        raise ScorerError(
            f"{where}: the nats are infinite: the scorer gives the target a probability of 0",
            hint="a language model must give every text a probability above 0: smooth its "
            "probabilities",
        )
    if math.isnan(value):
        raise ScorerError(f"{where}: the nats are NaN", hint="check what the scorer computes there")
    if value < -SURE:
        raise ScorerError(
            f"{where}: the nats are negative ({value:g}): a probability above 1",
            hint="nats are −ln of the probability of the whole target",
        )
    return max(0.0, float(value))


def _short(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if isinstance(text, list):
        text = "".join(map(str, text))
    shown = str(text)
    return repr(shown if len(shown) <= NAMED else "…" + shown[-NAMED:])


# -- the subject ---------------------------------------------------------------------------------


class Pieces:
    """Texts as ids of pieces: the scorer's own where it splits, else words with their spaces.

    Id 0 is the beginning of a text; the pieces are numbered as they come.
    """

    def __init__(self, talk: Conversation) -> None:
        self.talk = talk
        self.texts: list[str] = [""]
        self.unknown: set[int] = set()
        self._numbers: dict[str, int] = {}

    def encode(self, text: str) -> Ids:
        """Ids of a text's pieces (T,)."""
        pieces: list[str] = PIECE.findall(text) if not self.talk.splits else []
        strange: set[int] = set()
        if self.talk.splits:
            pieces, strange = self.talk.split(text)
        for k, piece in enumerate(pieces):
            if piece not in self._numbers:
                self._numbers[piece] = len(self.texts)
                self.texts.append(piece)
            if k in strange:
                self.unknown.add(self._numbers[piece])
        return np.array([self._numbers[piece] for piece in pieces], dtype=np.int64)

    def bytes_of(self, token: int) -> bytes:
        """A piece's UTF-8."""
        if token in self.unknown:
            return UNKNOWN.encode()  # as a model's own unknown token is shown
        known = token < len(self.texts)
        return self.texts[token].encode("utf-8", "surrogatepass") if known else b""


@dataclass(frozen=True, slots=True)
class _Node:
    """Ids that were read after another node's."""

    parent: int
    ids: Ids


class ScorerSubject:
    """A program as a `LanguageSubject`; `sample`'s ids are those of `pieces`."""

    def __init__(self, talk: Conversation, pieces: Pieces) -> None:
        self.talk = talk
        self.pieces = pieces
        self.boundary_id = BOUNDARY
        # the scorer's own, so that as much is measured as of the model itself
        self.vocab_size = max(talk.vocabulary or use.USUAL_VOCABULARY, len(pieces.texts))
        self._nodes: list[_Node] = [_Node(-1, np.zeros(0, dtype=np.int64))]

    def initial_state(self, batch: int) -> State:
        """See `LanguageSubject`: nothing has been read."""
        return (torch.zeros((1, batch, 1), dtype=torch.long),)

    def advance(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """See `LanguageSubject`; features (T, B, 2): the context's number, tokens of it read."""
        steps, count = ids.shape
        first = len(self._nodes)
        columns = ids.cpu().numpy().T
        for parent, column in zip(state[0][0, :, 0].tolist(), columns, strict=True):
            self._nodes.append(_Node(parent, column.copy()))
        features, numbers = numbered(first, steps, count)
        return features, (numbers,)

    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """See `LanguageSubject`."""
        rows, wanted = features.cpu().numpy(), targets.cpu().numpy()
        order = np.lexsort((rows[:, 1], rows[:, 0]))  # contexts that begin alike, side by side
        found = np.zeros(len(rows))
        found[order] = self.talk.nats(list(self._questions(rows[order], wanted[order])))
        return torch.from_numpy(found)

    def scores(self, features: Tensor, tokens: Tensor) -> Tensor:
        """See `LanguageSubject`: log-probabilities, whose normaliser cancels as that of logits."""
        count = tokens.shape[1]
        flat = self.losses(features.repeat_interleave(count, 0), tokens.reshape(-1))
        return -flat.reshape(tokens.shape)

    def _questions(self, rows: Ids, targets: Ids) -> Iterator[dict[str, object]]:
        texts, last = self.pieces.texts, -1
        before: Ids = np.zeros(0, dtype=np.int64)
        for (number, steps), target in zip(rows.tolist(), targets.tolist(), strict=True):
            if number != last:
                last, before = number, self._chain(self._nodes[number].parent)
            ids = np.concatenate([before, self._nodes[number].ids[:steps]])
            yield {**self._context(ids), "target": self._side([texts[target]])}

    def _context(self, ids: Ids) -> dict[str, object]:
        """What was read since a text began, as a question has it."""
        begun = np.flatnonzero(ids == BOUNDARY)
        if len(begun):
            ids = ids[begun[-1] + 1 :]
        context = [self.pieces.texts[i] for i in ids.tolist()]
        # A program that knows documents must not take a cut for a beginning.
        cut = {} if len(begun) else {"cut": True}
        return {"context": self._side(context), **cut}

    def _side(self, pieces: list[str]) -> object:
        return pieces if self.talk.splits else "".join(pieces)

    def _chain(self, number: int) -> Ids:
        parts = []
        while number >= 0:
            parts.append(self._nodes[number].ids)
            number = self._nodes[number].parent
        return np.concatenate(parts[::-1]) if parts else np.zeros(0, dtype=np.int64)

    def check(self, sample: Sample) -> None:
        """ScorerError where it can list its probabilities, and they do not add up to 1."""
        if not self.talk.lists or not sample.ids:
            return
        start, ids = np.array([BOUNDARY]), sample.ids[0]
        # Empty, short and long contexts: a program may deal with each in a way of its own.
        sizes = sorted({0, min(20, len(ids)), min(200, len(ids))})
        self.talk.check_sums([self._context(np.concatenate([start, ids[:k]])) for k in sizes])


# -- the diagnosis -------------------------------------------------------------------------------


def read_scorer_text(
    source: str,
    stdin: BinaryIO | None = None,
    columns: Mapping[str, str] | None = None,
    documents: Literal["none", "paragraph", "line", "file"] = "none",
) -> Text:
    """What a scorer is measured on: a table's records, or plain text, running or in documents.

    At most 5 million characters, or 4,000 documents. Raises what opening a corpus raises.
    """
    settings = CorpusConfig(
        sources=(source,), documents=documents, split="100/0/0", **(dict(columns or {}))
    )
    return beginning_of(open_corpus(settings, task="lm", cache=cache_directory(), stdin=stdin))


def diagnose_scorer(
    command: str,
    text: Text,
    names: Sequence[str] | None = None,
    *,
    preset: str = "quick",
    seed: int = 0,
    arms: Sequence[Arm] = ("foreign", "zero"),
    timeout: float = TIMEOUT_S,
    tell: Callable[[str], None] = lambda name: None,
) -> DiagnosticsResult:
    """Measure what the program `command` remembers of `text`, by asking it.

    `names`: of `MEASURED`, all by default. Raises ScorerError for a program that does not keep to
    the protocol, UsageError for a measurement that needs the inside of a model.
    """
    chosen = chosen_names(names)
    settings = replace(
        PRESETS[preset], seed=seed, arms=tuple(arms), reference=False, together=False
    )
    begin = time.perf_counter()
    timing: dict[str, float] = {}
    with Conversation(command, timeout=timeout) as talk:
        subject, sample = subject_of(talk, text)
        if sample.spelled:
            settings = for_spelled(settings, sample.units_per_token)
        timing["prepare_s"] = time.perf_counter() - begin
        records = timed(
            chosen, lambda name: MEASURED[name](subject, sample, settings), timing, tell
        )
        talk.finish()
        asked, called = talk.questions, talk.name
    timing["total_s"] = time.perf_counter() - begin
    measured = panel.Measured.of(records)
    model = ModelRecord(
        id=called, task="scorer", readout="each step", state_policy=None, command=command,
        questions=asked,
    )  # fmt: skip
    environment = Environment(**machine.facts())
    return as_result(
        text, sample, model, measured, timing=timing, environment=environment, seed=seed,
        preset=preset,
    )  # fmt: skip


def chosen_names(names: Sequence[str] | None) -> tuple[str, ...]:
    """Which of `MEASURED` are meant. Raises UsageError."""
    wanted = [name.replace("-", "_") for name in names or MEASURED]
    strange = [name for name in wanted if name not in MEASURED]
    if strange:
        raise UsageError(
            f"{strange[0]!r} cannot be measured with a scorer, which only says how likely text is",
            hint="there are: " + ", ".join(MEASURED),
        )
    return tuple(name for name in MEASURED if name in wanted)


def subject_of(talk: Conversation, text: Text) -> tuple[ScorerSubject, Sample]:
    """A scorer and a text in its pieces.

    Raises ScorerError where its probabilities do not add up to 1, DataError for an empty text.
    """
    pieces = Pieces(talk)
    sample = from_texts(
        [document.text for document in text.documents],
        pieces.encode,
        running=text.running or len(text.documents) == 1,
        token_bytes=pieces.bytes_of,
        spelled=talk.spelled,
    )
    missing = frozenset(pieces.unknown)
    unknown = sum(int(np.isin(ids, list(missing)).sum()) for ids in sample.ids) if missing else 0
    sample = replace(sample, not_known=missing, unknown=unknown)
    if sample.tokens == 0:
        raise DataError("there is no text to measure on", hint="name a text: `--text FILE`")
    subject = ScorerSubject(talk, pieces)
    subject.check(sample)
    return subject, sample


def said(result: DiagnosticsResult) -> str:
    """How much the scorer was asked, in a sentence."""
    seconds = max(1e-9, result.timing.get("total_s", 0.0))
    count = result.model.questions or 0
    return f"asked {plural(count, 'question')} in {seconds:,.0f} s, {count / seconds:,.0f} a second"
