"""A language model as a scorer: the other side of ``rnnctl diagnose --scorer``.

The protocol is written down in ``rnnctl/docs/scorer.md``. Requests come as JSON lines, answers go
out in the order of the requests. Requests that begin alike are read once: what one of them has
read, the others need not read again.

N requests, T tokens of a sequence.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl.data.batches import pad_documents
from rnnctl.data.tokenizers import Tokenizer
from rnnctl.errors import DataError, UsageError
from rnnctl.inference.score import CHUNK, LONG_TEXT, Scorer
from rnnctl.nn import softmax
from rnnctl.nn.reading import can_read, in_groups
from rnnctl.tasks.evaluation import batches_by_length

PROTOCOL, VERSION = "rnnctl-scorer", 1
AT_ONCE = 4096  # requests that are answered together, at most

Ids = NDArray[np.int64]


@dataclass(slots=True)
class _Asked:
    """A request: ids of the context and the target, spelling of the target's unknown tokens.

    `cut`: the context does not begin where a text begins. `listed`: all next tokens are wanted.
    """

    id: object
    context: Ids
    target: Ids
    spelling: float
    cut: bool
    listed: bool = False


class Answerer:
    """Answers requests with a run's language model."""

    def __init__(self, scorer: Scorer, name: str) -> None:
        self._scorer = scorer
        self._model = scorer.model
        self._tokenizer: Tokenizer = scorer.tokenizer
        self._name = name
        self._pieces: dict[str, tuple[int, ...]] = {}

    def hello(self) -> dict[str, Any]:
        """The first line: protocol, version, and what else this scorer can do."""
        return {
            "protocol": PROTOCOL,
            "version": VERSION,
            "name": self._name,
            "can": ["list", "split"],
            "pieces": "words" if self._tokenizer.level == "word" else "parts",
            "vocabulary": self._tokenizer.vocab_size,
        }

    def answers(self, lines: Sequence[bytes]) -> list[dict[str, Any]]:
        """One answer to each line, in order; ``{"id", "error"}`` to what cannot be answered."""
        found: list[dict[str, Any]] = []
        asked: list[tuple[int, _Asked]] = []
        for line in lines:
            found.append({})
            try:
                request = _parsed(line)
            except DataError as problem:
                found[-1] = {"id": None, "error": problem.message}
                continue
            try:
                if "split" in request:
                    found[-1] = {"id": request["id"], **self._split(_text(request, "split"))}
                else:
                    asked.append((len(found) - 1, self._asked(request)))
            except DataError as problem:
                found[-1] = {"id": request["id"], "error": problem.message}
        for (k, one), answer in zip(asked, self._told([one for _, one in asked]), strict=True):
            found[k] = {"id": one.id, **answer}
        return found

    # -- requests to ids -------------------------------------------------------------------------

    def _asked(self, request: dict[str, Any]) -> _Asked:
        listed = bool(request.get("list", False))
        cut = bool(request.get("cut", False))
        context = request.get("context")
        target: object = "" if listed else request.get("target")
        if isinstance(context, str) and isinstance(target, str):
            before, ids, spelling = self._strings(context, target)
        elif isinstance(context, list) and isinstance(target, list | str):
            before = self._joined(context)
            parts = target if isinstance(target, list) else [target] if target else []
            ids = self._joined(parts)
            spelling = self._tokenizer.spelling_nats("".join(parts))[1]
        else:
            raise DataError('"context" and "target" must be two strings, or two lists of pieces')
        if len(ids) == 0 and not listed:
            raise DataError("the target has no token")
        return _Asked(request["id"], before, ids, spelling, cut and len(before) > 0, listed)

    def _strings(self, context: str, target: str) -> tuple[Ids, Ids, float]:
        """Ids of both, read together where a token ends between them, else one after the other."""
        tokenizer, whole = self._tokenizer, context + target
        ids = tokenizer.encode(whole)
        starts = tokenizer.spans(whole, ids)
        size = len(context.encode("utf-8"))
        first = int(np.searchsorted(starts[:, 0], size))
        # A token across the border would have to be divided: then both are encoded by themselves.
        if first == 0 or starts[first - 1, 1] <= size:
            spelling = float(tokenizer.spelling_by_token(whole)[first:].sum())
            return ids[:first].astype(np.int64), ids[first:].astype(np.int64), spelling
        after, _, nats = tokenizer.encode_charged(target)
        return tokenizer.encode(context).astype(np.int64), after.astype(np.int64), nats

    def _joined(self, pieces: list[object]) -> Ids:
        ids: list[int] = []
        for piece in pieces:
            if not isinstance(piece, str):
                raise DataError("a piece must be a string")
            known = self._pieces.get(piece)
            if known is None:
                known = self._pieces[piece] = tuple(self._tokenizer.encode(piece).tolist())
            ids.extend(known)
        return np.array(ids, dtype=np.int64)

    def _split(self, text: str) -> dict[str, Any]:
        """The text in this model's tokens, those that share a character as one piece.

        And which of the pieces are unknown to the model.
        """
        ids = self._tokenizer.encode(text)
        data = text.encode("utf-8")
        spans = self._tokenizer.spans(text, ids)
        pieces: list[str] = []
        begin, held = 0, []
        unknown: list[int] = []
        for k, token in enumerate(ids.tolist()):
            held.append(token)
            end = int(spans[k, 1])
            if end < len(data) and data[end] & 0xC0 == 0x80:
                continue  # in the middle of a character
            if self._tokenizer.unknown_id in held:
                unknown.append(len(pieces))
            pieces.append(data[begin:end].decode("utf-8"))
            self._pieces.setdefault(pieces[-1], tuple(held))
            begin, held = end, []
        if begin < len(data):  # whitespace that is no token
            pieces.append(data[begin:].decode("utf-8"))
        return {"pieces": pieces, "unknown": unknown}

    # -- ids to numbers --------------------------------------------------------------------------

    def _told(self, asked: Sequence[_Asked]) -> list[dict[str, Any]]:
        """The nats of each target, or the list of all next tokens."""
        boundary = self._tokenizer.boundary_id
        sequences, begins = [], []
        for one in asked:
            read = [one.context, one.target[:-1]]
            if not one.cut:
                read.insert(0, np.array([boundary], dtype=np.int64))
            sequences.append(np.concatenate(read))
            begins.append(len(sequences[-1]) - max(1, len(one.target)))
        # A diagnosis asks about the same beginning with many ends: it is read once for all of them.
        leaders, of = _shared(sequences)
        rows = [[] for _ in leaders]  # type: list[list[int]]
        for k, leader in enumerate(of):
            rows[leader].append(k)
        found: list[dict[str, Any]] = [{} for _ in asked]
        for members, features in self._features([sequences[k] for k in leaders]):
            for leader, own in zip(members, features, strict=True):
                self._fill(found, asked, rows[leader], begins, own)
        return found

    def _fill(
        self,
        found: list[dict[str, Any]],
        asked: Sequence[_Asked],
        members: Sequence[int],
        begins: Sequence[int],
        features: torch.Tensor,
    ) -> None:
        """Answers of the requests `members`, which begin as the sequence of `features` (T, F)."""
        wanted = [k for k in members if not asked[k].listed]
        if wanted:
            places = np.concatenate(
                [begins[k] + np.arange(len(asked[k].target)) for k in wanted]
            ).astype(np.int64)
            targets = torch.from_numpy(np.concatenate([asked[k].target for k in wanted]))
            decoder = self._model.decoder
            nats = softmax.token_losses(
                features[torch.from_numpy(places).to(features.device)],
                decoder.weight,
                decoder.bias,
                targets.to(features.device),
                compiled=True,
            )
            sizes = np.cumsum([0, *(len(asked[k].target) for k in wanted)])
            sums = np.add.reduceat(nats.double().cpu().numpy(), sizes[:-1])
            for k, value in zip(wanted, sums.tolist(), strict=True):
                found[k] = {"nats": value + asked[k].spelling}
        for k in members:
            if asked[k].listed:
                with torch.no_grad():
                    logits = self._model.logits(features[begins[k]]).double()
                    log = torch.log_softmax(logits, -1).cpu().numpy()
                texts = [self._tokenizer.token_text(i) for i in range(len(log))]
                pairs = zip(texts, (-log).tolist(), strict=True)
                found[k] = {"list": [[text, nats] for text, nats in pairs]}

    def _features(
        self, sequences: Sequence[Ids]
    ) -> Iterator[tuple[Sequence[int], Sequence[torch.Tensor]]]:
        """What the decoder reads after each token of each sequence, some sequences at a time."""
        lengths = np.array([len(one) for one in sequences], dtype=np.int64)
        self._scorer.engine.note(int(lengths.sum()))
        recurrent = self._model.recurrent
        if can_read(recurrent) and len(lengths) and lengths.max() <= LONG_TEXT:

            def read(some: NDArray[np.int64]) -> Sequence[torch.Tensor]:
                joined = np.concatenate([sequences[k] for k in some])
                features, _ = self._model.text_features(joined, lengths[some])
                return torch.split(features, lengths[some].tolist())

            for some, found in in_groups(recurrent, lengths, read):
                yield some.tolist(), found
            return
        device = next(self._model.parameters()).device
        for some in batches_by_length(lengths):
            members = some.tolist()
            ids, _ = pad_documents([sequences[k] for k in members], self._tokenizer.boundary_id)
            pieces, state = [], None
            with torch.no_grad():
                for begin in range(0, len(ids), CHUNK):
                    piece = torch.from_numpy(ids[begin : begin + CHUNK]).to(device)
                    read_here, state = self._model.features(piece, state)
                    pieces.append(read_here)
            features = torch.cat(pieces)
            yield members, [features[: lengths[k], column] for column, k in enumerate(members)]


def _shared(sequences: Sequence[Ids]) -> tuple[list[int], list[int]]:
    """Which sequences to read, and for each of all the number of the one read that begins so."""
    keys = [one.astype(">u4").tobytes() for one in sequences]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    leaders: list[int] = []
    of = [0] * len(keys)
    for k in reversed(order):  # whatever extends a sequence stands right behind it
        if not leaders or not keys[leaders[-1]].startswith(keys[k]):
            leaders.append(k)
        of[k] = len(leaders) - 1
    return leaders, of


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except ValueError:
        raise DataError("the line is not JSON") from None
    if not isinstance(request, dict) or "id" not in request:
        raise DataError('a request is an object with an "id"')
    return request


def _text(request: dict[str, Any], name: str) -> str:
    value = request[name]
    if not isinstance(value, str):
        raise DataError(f'"{name}" must be a string')
    return value


def check_hello(line: bytes) -> None:
    """UsageError unless the first line of a conversation names this protocol and version."""
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    if not isinstance(said, dict) or said.get("protocol") != PROTOCOL:
        raise UsageError(
            "the first line of standard input is not a greeting",
            hint=f'begin with {{"protocol": "{PROTOCOL}", "version": {VERSION}}} '
            "(`rnnctl help scorer`)",
        )
    if said.get("version") != VERSION:
        raise UsageError(
            f"version {said.get('version')!r} of the protocol is not known",
            hint=f"this rnnctl speaks version {VERSION}",
        )


def batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Requests up to each blank line, to AT_ONCE, or to the end."""
    held: list[bytes] = []
    for line in lines:
        if line.strip():
            held.append(line)
        if held and (not line.strip() or len(held) >= AT_ONCE):
            yield held
            held = []
    if held:
        yield held
