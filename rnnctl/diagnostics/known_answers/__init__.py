"""Models with known answers, measured by the code that measures users' models.

GT01 to GT22 call that code; RD01 to RD13 (`hand_made_runs`) go through run directories. Each
module holds the checks of one group in a table ``CHECKS``: id -> function that yields `Check`
objects, its docstring being the title.

Why: most published measurements of a recurrent network's memory are wrong somewhere (an LSTM
without its cell state, products in the wrong order, summed losses), and nobody could have seen it
from a plausible curve. A number that has an answer on paper shows it.
"""

from rnnctl.diagnostics.known_answers.run import answers, known_ids, remember, remembered

__all__ = ["answers", "known_ids", "remember", "remembered"]
