"""Text to ids and back, one class per level; all saved as a Hugging Face ``tokenizer.json``.

Why: `tokenizers` encodes characters at about 1 MB/s, a lookup table at hundreds, so each level has
its own fast encoder here and writes a file that `tokenizers.Tokenizer.from_file` opens and that
encodes alike (tests/data hold the two against each other). Id 0 is ``<eos>`` at every level: it
ends a document and is fed before the first token of anything. Characters and words also have
``<unk>``, id 1. What a text may hold is never searched for such names, but for the WikiText
protocol, whose files spell them out.
"""

from __future__ import annotations

from rnnctl.data.tokenizers.base import (
    BOUNDARY_ID,
    UNKNOWN_ID,
    Encoder,
    MalformedTextError,
    Tokenizer,
    make_tokenizer,
    train_tokenizer,
)

__all__ = [
    "BOUNDARY_ID",
    "UNKNOWN_ID",
    "Encoder",
    "MalformedTextError",
    "Tokenizer",
    "make_tokenizer",
    "train_tokenizer",
]
