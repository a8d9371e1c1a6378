"""How natural text is cut into words, punctuation and spacing; also the pieces that BPE merges in.

A token is a word, a punctuation mark or symbol, or one whitespace character. A word or mark takes
the one space before it along, so that joining tokens gives the text back. Apostrophes inside a word
belong to it. Scripts written without spaces (Chinese, Japanese, Thai, Lao, Burmese, Khmer) are cut
into characters.

The classes are explicit ranges, not ``\\w``: Python's `re` and the regex engine of `tokenizers`
know different Unicode versions and disagree about combining marks. The repetitions are bounded, so
that matching is linear and a token has at most `MAX_TOKEN` characters. A match that ends at `e`
has looked at no character after `e + 1`; on that rests `complete_prefix`.
"""

from __future__ import annotations

import re

SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

_MARKS = (
    "\x00-\x08\x0e-\x1f!-/:-@\\[-\\^`{-\x84\x86-\x9f"
    "\xa1-\xa9\xab-\xb1\xb4\xb6-\xb8\xbb-\xbf\xd7\xf7"
    "\u037e\u0387\u055a-\u055f\u0589\u05be\u05c0\u05c3\u05c6\u05f3\u05f4"
    "\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965\u0f01-\u0f14"
    "\u2010-\u2027\u2030-\u205e\u20a0-\u20cf\u2190-\u2bff\u2e00-\u2e7f"
    "\ufe10-\ufe1f\ufe30-\ufe6f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uffe0-\uffef"
    "\ufff9-\uffff\U0001f000-\U0001faff"
)
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fff\u3001-\u312f\u31a0-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff5b-\uff9f\U00020000-\U0003ffff"
)
SINGLE = f"[{_MARKS}{_UNSPACED}]"
LETTER = f"[^{SPACE}{_MARKS}{_UNSPACED}]"
TOKEN = f" ?{LETTER}{{1,50}}(?:['\u2019]{LETTER}{{1,50}}){{0,3}}| ?{SINGLE}|[{SPACE}]"
MAX_TOKEN = 1 + 50 + 3 * 51

_compiled = re.compile(TOKEN)
find_tokens = _compiled.findall
iter_tokens = _compiled.finditer

_HOLD = 4096


def complete_prefix(text: str) -> int:
    """Length of a prefix of `text` whose tokens no further text can change.

    A space begins a token and every other whitespace character is one, so cutting before the last
    space or after the last newline is always right; only where neither is near does it match.
    """
    cut = max(text.rfind(" "), text.rfind("\n") + 1, 0)
    if len(text) - cut <= _HOLD:
        return cut
    for match in _compiled.finditer(text, cut):
        if match.end() + 2 > len(text):
            break
        cut = match.end()
    return cut
