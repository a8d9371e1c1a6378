"""Where sentences are in a sequence of ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnnctl.diagnostics.sample import Sample

Ids = NDArray[np.int64]
ENDS = frozenset(".!?。！？…")
SHORTEST = 3  # tokens; shorter pieces belong to the sentence before them
CHUNK = 8  # tokens of a "sentence" where ids have no text (known-answer models)


def split(ids: Ids, sample: Sample) -> list[Ids]:
    """The sentences of one document, in order; together they are the document."""
    shown = sample.token_bytes
    if shown is None:
        return [ids[k : k + CHUNK] for k in range(0, len(ids), CHUNK)]
    cuts, begin = [], 0
    texts = [shown(int(token)).decode("utf-8", "replace") for token in ids]
    for k, text in enumerate(texts):
        following = texts[k + 1] if k + 1 < len(texts) else " "
        ended = text.strip()[-1:] in ENDS and following.strip()[:1] not in ENDS
        # in spelled text "3.5" ends no sentence: a space must follow
        if sample.spelled and following[:1].strip():
            ended = False
        if ended and k + 1 - begin >= SHORTEST:
            cuts.append(k + 1)
            begin = k + 1
    return [part for part in np.split(ids, cuts) if len(part)]
