"""A training that was interrupted anywhere continues as if it had not been: bit for bit."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnctl.config import RunConfig
from rnnctl.errors import CorruptRunError, Interrupted, RunError, StorageError, UsageError
from rnnctl.runs import Run, storage
from rnnctl.training.events import Evaluated, Saved, Step
from rnnctl.workflow.progress import Finished, Preparing, Started
from rnnctl.workflow.train import Options, resumed, train

Settings = Callable[..., RunConfig]
Follow = Callable[..., list[Any]]
AGAIN = Options(resume=True)
KINDS = ("lm", "sentiment", "paragraphs", "gru", "rnn", "words")
FIRST = ("lm", "sentiment", "paragraphs")


def untimed(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in event.items() if k != "timing"} for event in Run.open(run).log()]


def same(one: Path, other: Path) -> None:
    """Log, weights and results are the same but for timing and the run's own name."""
    assert untimed(one) == untimed(other)
    first, second = Run.open(one), Run.open(other)
    assert first.weights_path.read_bytes() == second.weights_path.read_bytes()
    results = [run.read_result("train") for run in (first, second)]
    for result in results:
        for key in ("timing", "run", "next_command", "warnings"):
            result.pop(key)
    assert results[0] == results[1]
    assert first.verify() == second.verify() == []


def after_step(number: int) -> Callable[[Any], bool]:
    return lambda event: isinstance(event, Step) and event.step == number


def after_saving(number: int) -> Callable[[Any], bool]:
    return lambda event: isinstance(event, Saved) and event.step == number


@pytest.mark.parametrize(
    "kind",
    [kind if kind in FIRST else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS],
)
def test_abandoned_trainings_continue_bit_for_bit(
    kind: str, settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    config = settings(kind)
    follow(config, tmp_path / "whole")
    follow(config, tmp_path / "parts", until=after_saving(3))
    follow(config, tmp_path / "parts", AGAIN, until=after_step(8))  # at a validation
    events = follow(config, tmp_path / "parts", AGAIN)
    assert [e.step for e in events if isinstance(e, Step)] == [8, 9, 10, 11, 12]
    same(tmp_path / "whole", tmp_path / "parts")


def test_the_same_settings_give_the_same_bits(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        follow(settings(), tmp_path / name)
    same(tmp_path / "a", tmp_path / "b")
    follow(settings(seed=6), tmp_path / "c")
    assert untimed(tmp_path / "a") != untimed(tmp_path / "c")


def test_abandoned_before_the_first_checkpoint_it_begins_again(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    config = settings(checkpoint_every_s=1000)
    follow(config, tmp_path / "whole")
    follow(config, tmp_path / "parts", until=after_step(5))
    follow(config, tmp_path / "parts", AGAIN)
    same(tmp_path / "whole", tmp_path / "parts")


def while_measuring(event: Any) -> bool:
    return isinstance(event, Preparing) and "measuring" in event.what


def when_finished(event: Any) -> bool:
    return isinstance(event, Finished)


@pytest.mark.parametrize("moment", [while_measuring, when_finished])
def test_abandoned_while_measuring_or_after_it_is_finished_by_resuming(
    moment: Callable[[Any], bool], settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    config = settings()
    follow(config, tmp_path / "whole")
    follow(config, tmp_path / "parts", until=moment)
    follow(config, tmp_path / "parts", AGAIN)
    same(tmp_path / "whole", tmp_path / "parts")


def test_a_finished_run_goes_on_with_more_steps(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    follow(settings(), tmp_path / "a")
    config, notes = resumed(tmp_path / "a", {"training": {"steps": 20, "lr": 1e-3}})
    assert "lr 0.001 instead of 0.015" in notes[0].text and "steps 20" in notes[0].text
    events = follow(config, tmp_path / "a", replace(AGAIN, notes=notes))
    assert [e.step for e in events if isinstance(e, Step)] == list(range(13, 21))
    assert Run.open(tmp_path / "a").config.training.steps == 20
    assert Run.open(tmp_path / "a").current.finished


def test_another_batch_size_begins_a_new_pass(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    follow(settings(), tmp_path / "a", until=after_saving(6))
    config, notes = resumed(tmp_path / "a", {"training": {"batch_size": 8}})
    assert "batch-size 8 instead of 4" in notes[0].text
    events = follow(config, tmp_path / "a", replace(AGAIN, notes=notes))
    assert [e.step for e in events if isinstance(e, Step)] == list(range(7, 13))


def test_the_model_cannot_change_in_the_middle(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    follow(settings(), tmp_path / "a", until=after_saving(2))
    with pytest.raises(UsageError, match="--hidden-size is 12") as caught:
        resumed(tmp_path / "a", {"model": {"hidden_size": 13}})
    assert "--from" in caught.value.hint


def test_another_text_is_refused(
    settings: Settings, follow: Follow, tmp_path: Path, text_file: Path
) -> None:
    own = tmp_path / "own.txt"
    own.write_text(text_file.read_text())
    config = settings()
    config = config.model_copy(
        update={"corpus": config.corpus.model_copy(update={"sources": (str(own),)})}
    )
    follow(config, tmp_path / "a", until=after_saving(2))
    own.write_text(text_file.read_text().replace("one", "uno"))
    with pytest.raises(RunError, match="not the one"):
        follow(config, tmp_path / "a", AGAIN)


def test_a_damaged_newest_checkpoint_falls_back_with_a_warning(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    config = settings()
    follow(config, tmp_path / "whole")
    follow(config, tmp_path / "parts", until=after_saving(7))
    run = Run.open(tmp_path / "parts")
    assert (run.current.newest, run.current.before) == ("000007", "000006")
    victim = tmp_path / "parts" / "checkpoints" / "000007" / "state.safetensors"
    victim.write_bytes(victim.read_bytes()[:-1])
    events = follow(config, tmp_path / "parts", AGAIN)
    (started,) = (e for e in events if isinstance(e, Started))
    assert started.step == 6
    assert "state.safetensors is cut off" in started.warnings[-1].text
    same(tmp_path / "whole", tmp_path / "parts")


def test_when_no_checkpoint_is_good_it_says_so(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    follow(settings(), tmp_path / "a", until=after_saving(7))
    for victim in (tmp_path / "a" / "checkpoints").glob("00*/state.json"):
        victim.write_bytes(b"{}")
    with pytest.raises(CorruptRunError, match=r"state\.json"):
        follow(settings(), tmp_path / "a", AGAIN)


def test_a_full_disk_ends_the_training_and_keeps_the_last_checkpoint(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    config = settings()
    follow(config, tmp_path / "whole")

    def hook(name: str, path: Path) -> None:
        if "000006" in str(path):
            raise OSError(28, "No space left on device")

    with storage.faults(hook), pytest.raises(StorageError, match="the disk is full"):
        follow(config, tmp_path / "parts")
    assert Run.open(tmp_path / "parts").current.newest == "000005"
    assert Run.open(tmp_path / "parts").verify() == []
    follow(config, tmp_path / "parts", AGAIN)
    same(tmp_path / "whole", tmp_path / "parts")


def test_a_signal_saves_and_says_how_to_go_on(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    config = settings(checkpoint_every_s=1000)
    follow(config, tmp_path / "whole")
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        path = tmp_path / str(number)
        with pytest.raises(Interrupted) as caught:
            for event in train(config, path):
                if isinstance(event, Step) and event.step == 6:
                    os.kill(os.getpid(), number)
        assert caught.value.exit_code == code
        assert f"--resume {path}" in caught.value.hint
        assert Run.open(path).current.newest in ("000006", "000007")
        follow(config, path, AGAIN)
        same(tmp_path / "whole", path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_inside_a_validation_keeps_what_came_before(
    settings: Settings, follow: Follow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rnnctl.tasks.language_model import LanguageModelTask

    config = settings(checkpoint_every_s=1000)
    follow(config, tmp_path / "whole")
    validate = LanguageModelTask.validate
    calls = []

    def interrupting(self: Any, interrupted: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return validate(self, interrupted)

    with monkeypatch.context() as patch:
        patch.setattr(LanguageModelTask, "validate", interrupting)
        with pytest.raises(Interrupted):
            follow(config, tmp_path / "parts")
    events = follow(config, tmp_path / "parts", AGAIN)
    assert isinstance(next(e for e in events if isinstance(e, Step | Evaluated)), Evaluated)
    same(tmp_path / "whole", tmp_path / "parts")


SCRIPT = """
import sys, os
from pathlib import Path
from rnnctl.runs.run import read_config
from rnnctl.workflow.train import Options, train
config, path, resume = read_config(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "resume"
print("ready", flush=True)
for event in train(config, path, Options(resume=resume)):
    pass
"""


def kill_at_random(config: Path, path: Path, draw: random.Random) -> None:
    """Train in a process of its own, with one SIGKILL at a random instant, then to the end."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for attempt in range(2):
        mode = "resume" if (path / "current.json").exists() else "new"
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(config), str(path), mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        assert process.stdout is not None
        process.stdout.readline()
        if attempt == 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=draw.uniform(0.0, 1.2))
            process.kill()
        _, error = process.communicate(timeout=120)
        assert attempt == 0 or process.returncode == 0, error.decode()


def check_kills(
    kinds: list[str], settings: Settings, follow: Follow, folder: Path, seed: int
) -> None:
    draw = random.Random(seed)
    for number, kind in enumerate(kinds):
        config = settings(kind, steps=60, evaluate_every=7)
        whole = folder / f"whole-{kind}"
        if not whole.exists():
            follow(config, whole)
        file = folder / "config.json"
        file.write_text(config.model_dump_json())
        kill_at_random(file, folder / str(number), draw)
        same(whole, folder / str(number))


def test_sigkill_at_a_random_instant(settings: Settings, follow: Follow, tmp_path: Path) -> None:
    check_kills(["lm"], settings, follow, tmp_path, seed=random.randrange(10**6))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_sigkills(settings: Settings, follow: Follow, tmp_path: Path) -> None:
    check_kills(list(KINDS) * 34, settings, follow, tmp_path, seed=3)
