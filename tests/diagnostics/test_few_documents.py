"""Few long documents are measured as far as they reach; many short ones are not thrown away."""

from __future__ import annotations

import numpy as np
import pytest

from rnnctl.diagnostics import hold, reach
from rnnctl.diagnostics.effect import fit_window
from rnnctl.diagnostics.known_answers.models import random_text
from rnnctl.diagnostics.sample import Sample, with_room
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.use import make_plan


@pytest.mark.parametrize("documents", [2, 8, 15, 40])
def test_the_longest_context_does_not_shrink_for_documents_that_are_not_there(
    documents: int,
) -> None:
    sample = random_text(documents, 2000)
    plan = make_plan(sample, Settings())
    assert plan is not None
    assert (plan.n_max, len(plan.documents)) == (256, documents)
    fitted = fit_window(sample, 32, 128)
    assert fitted is not None
    assert fitted[1] == 128
    if documents >= 5:
        chosen = hold._units(sample, 1, 128)
        assert chosen is not None
        assert chosen[1] == 128


def test_one_long_document_among_many_short_ones_does_not_decide() -> None:
    rng = np.random.default_rng(0)
    lengths = [3000, *[150] * 30]
    sample = Sample(ids=tuple(rng.integers(24, size=n) for n in lengths))
    plan = make_plan(sample, Settings())
    assert plan is not None
    assert (plan.n_max, len(plan.documents)) == (149, 31)


@pytest.mark.parametrize("labelled", [False, True])
def test_twenty_long_documents_do_not_speak_for_two_thousand(labelled: bool) -> None:
    rng = np.random.default_rng(0)
    ids = tuple(rng.integers(24, size=n) for n in [150] * 2000 + [400] * 20)
    labels = np.arange(len(ids)) % 2 if labelled else None
    sample = Sample(ids=ids, labels=labels)
    plan, fitted = make_plan(sample, Settings()), fit_window(sample, 32, 128)
    chosen = hold._units(sample, 1, 128)
    windows = reach.cut_windows(sample, lags=128, count=64, seed=0)
    assert plan is not None and fitted is not None and chosen is not None and windows is not None
    assert [len(found.ids) for found in (fitted[0], chosen[0])] == [2020, 2020]
    assert plan.n_max == 256 and len(plan.documents) == 2020  # USE reads every document to its end
    assert len(set(windows.groups)) == 64 and len(windows.ids) in (149, 150)


def test_shortening_must_bring_half_as_much_room_again() -> None:
    def chosen(*lengths: int, fewest: int = 2) -> int | None:
        sample = Sample(ids=tuple(np.zeros(n, dtype=np.int64) for n in lengths))
        found = with_room(sample, [100, 80], fewest=fewest, wanted=20)
        return None if found is None else found[1]

    assert chosen(*[1000] * 8) == 0
    assert chosen(*[1000] * 8, *[85] * 8) == 0
    assert chosen(*[1000] * 8, *[280] * 30) == 0  # 30 of 280 have room for 100 as well
    assert chosen(*[110] * 8, *[95] * 8) == 1
    assert chosen(*[1000] * 8, fewest=9) is None
    assert chosen(*[110] * 8, *[95] * 8, fewest=9) == 1
