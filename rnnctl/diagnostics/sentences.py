"""Where sentences are in a sequence of ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnnctl.diagnostics.sample import Sample

Ids = NDArray[np.int64]
ENDS = frozenset(".!?。！？…")
CLOSING = frozenset("\"'”’»)]")
SHORTEST = 3  # tokens; shorter pieces belong to the sentence before them
CHUNK = 8  # tokens of a "sentence" where ids have no text (known-answer models)


def split(ids: Ids, sample: Sample) -> list[Ids]:
    """The sentences of one document, in order; together they are the document."""
    shown = sample.token_bytes
    if shown is None:
        return [ids[k : k + CHUNK] for k in range(0, len(ids), CHUNK)]
    texts = [shown(int(token)).decode("utf-8", "replace") for token in ids]
    cuts, begin, k = [], 0, 0
    while k < len(texts):
        after = k + 1
        if texts[k].strip()[-1:] in ENDS:
            while after < len(texts) and texts[after] in CLOSING:
                after += 1  # a quotation's last mark belongs to the sentence that it ends
            following = texts[after] if after < len(texts) else " "
            ended = following.strip()[:1] not in ENDS
            # in spelled text "3.5" ends no sentence: a space must follow
            if sample.spelled and following[:1].strip():
                ended = False
            if ended and after - begin >= SHORTEST:
                cuts.append(after)
                begin = after
        k = after
    if cuts and 0 < len(texts) - cuts[-1] < SHORTEST:
        cuts.pop()
    return [part for part in np.split(ids, cuts) if len(part)]
