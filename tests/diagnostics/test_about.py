"""What a diagnosis says about the run it was made on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rnnctl.diagnostics.diagnose import model_record
from rnnctl.tasks.loading import load


@pytest.mark.parametrize(
    ("running", "policy"), [(True, "carried"), (False, "reset_document")], ids=["text", "documents"]
)
@pytest.mark.parametrize("level", ["char", "word"])
def test_the_state_policy_is_that_of_the_corpus(
    make_run: Callable[..., Path], level: str, running: bool, policy: str
) -> None:
    """Tables and the bundled text are documents, though --documents was never given."""
    run = make_run("one two three. " * 20, level=level, running=running)
    assert model_record(load(run)).state_policy == policy
