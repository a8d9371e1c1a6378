"""What a training shows while it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnctl.cli.training_display import Picture, filled, introduction
from rnnctl.config import RunConfig
from rnnctl.training import events
from rnnctl.training.events import Started

STARTED = Started(
    run=Path("runs/a"),
    config=RunConfig(),
    corpus="reviews.csv",
    train_tokens=1_003_854,
    parameters=1_355_840,
    vocab_size=65,
    device="cpu",
    dtype="bfloat16 products, float32 weights",
    threads=1,
    labels=tuple(f"label {i}" for i in range(12)),
)


def picture() -> Picture:
    made = Picture()
    step = events.Step(
        step=1160, progress=0.58, lr=0.015, loss_nats=1.432, gradient_norm=0.12, clipped=False,
        tokens=2_375_680, epoch=2.4, elapsed_s=75.0,
    )  # fmt: skip
    for event in (STARTED, step, events.Evaluated(1160, 1.532, 1.6, True, 0.993, 74.0, 1.0)):
        list(made.take(event))
    list(made.take(events.GradientShare(1160, {1: 1.0, 10: 0.123, 50: 0.0123, 100: 0.00012})))
    return made


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_number_is_cut_off(width: int) -> None:
    parts = picture().numbers()
    lines = filled(parts, width)
    assert all(len(line) <= width for line in lines)
    assert "  ".join(lines) == "  ".join(parts)
    assert "99.3 % right" in lines[0]


def test_the_last_validation_stands_at_the_end_of_the_training() -> None:
    assert picture().progress == 1.0 and picture().left_s == 0.0


def test_a_classifier_shows_nothing_of_the_language_model_before_it() -> None:
    made = picture()
    list(made.take(STARTED))
    assert made.numbers() == ["first step …"] and made.lines(80) == ["first step …"]
    step = events.Step(1, 0.0, 0.1, 0.69, 0.1, False, 64, 0.1, 1.0)
    list(made.take(step))
    assert made.loss == pytest.approx(0.69) and "valid" not in made.status()


def test_the_loss_shown_weighs_the_first_step_no_more_than_the_others() -> None:
    made = Picture()
    for step, loss in enumerate((3.0, 1.0, 1.0), 1):
        event = events.Step(
            step=step, progress=0.1, lr=0.1, loss_nats=loss, gradient_norm=0.1, clipped=False,
            tokens=step, epoch=0.1, elapsed_s=float(step),
        )  # fmt: skip
        assert list(made.take(event)) == []
    assert made.loss == pytest.approx((3 * 0.95**2 + 0.95 + 1) / (0.95**2 + 0.95 + 1))


def test_gradient_shares_fit_a_terminal() -> None:
    line = picture().reach()
    assert line.endswith("100: 0.012 %") and len(line) <= 80


def test_an_introduction_fits_a_terminal_and_names_the_labels() -> None:
    lines = introduction(STARTED).splitlines()
    assert all(len(line) <= 80 for line in lines[1:])
    assert lines[0].startswith("reviews.csv, 12 labels: label 0, label 1")
    assert lines[0].endswith("and 4 more")
    assert "1 thread" in lines[2] and "threads" not in lines[2]


VIEW = """
from rnnctl.cli import console
from rnnctl.cli.progress import Display, Said
class View:
    frequent = int
    def take(self, event):
        if isinstance(event, str):
            yield Said(f"{event} is said", event)
    def status(self):
        return ""
    def lines(self, width):
        return ["a line of the display, which is cut: " + "x" * 200]
with Display(View()) as display:
    for event in ("news", 1, "warning", 2, "line", 3):
        display.show(event)
    console.warn("from elsewhere")
"""


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("command", ["view", "train"])
def test_a_display_in_a_terminal_ends_and_leaves_what_was_said(
    command: str, tmp_path: Path
) -> None:
    import pty

    (tmp_path / "text.txt").write_text("the cat sat on the mat and ate the rat. \n" * 90)
    train = ["-m", "rnnctl", "train", "text.txt", "--steps", "3", "--hidden-size", "4"]
    train += ["--embedding-size", "4", "--no-diagnose", "--run", "run"]
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *({"view": ["-c", VIEW], "train": train}[command])],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )  # fmt: skip
    os.close(follower)
    shown = b""
    try:
        with suppress(OSError):  # so ends a terminal whose other side is closed
            while part := os.read(leader, 4096):
                shown += part
        assert process.wait(60) == 0
    finally:
        process.kill()
        os.close(leader)
    wanted = {
        "view": ["news is said", "warning: warning is said", "which is cut", "from elsewhere"],
        "train": ["training tokens, vocabulary", "step 3", "uses it"],
    }[command]
    assert [text for text in wanted if text.encode() not in shown] == []
    assert b"line is said" not in shown and b"x" * 60 not in shown


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"budget_s": 75.0}, "; trains for 75 s"),
        ({"steps": 300}, "; trains for 300 steps"),
        ({"epochs": 4.0, "budget_s": 600.0}, "; trains for at most 10 min or 4 epochs"),
        ({"budget_s": 75.0, "ended": True}, ": nothing is left to train"),
    ],
)
def test_a_training_says_how_long_it_takes(limits: dict[str, Any], said: str) -> None:
    settings = dict(limits)
    ended = settings.pop("ended", False)
    training = RunConfig().training.model_copy(
        update={"budget_s": None, "steps": None, "epochs": None, **settings}
    )
    config = RunConfig().model_copy(update={"training": training})
    assert introduction(replace(STARTED, config=config, ended=ended)).endswith(said)


def test_what_was_stopped_before_its_first_checkpoint_begins_anew_and_says_so() -> None:
    """After kill -9 in the first minutes it began at step 1 without a word."""
    said = introduction(replace(STARTED, resumed=True))
    assert "run runs/a was stopped before its first checkpoint and starts again; trains" in said
    assert "continuing after step 40;" in introduction(replace(STARTED, resumed=True, step=40))
    assert "anew" not in introduction(STARTED)
