"""A training that was interrupted anywhere continues as if it had not been: bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnctl import integrity, storage
from rnnctl.config import RunConfig
from rnnctl.errors import CorruptRunError, Interrupted, RunError, StorageError, UsageError
from rnnctl.runs import Run, summarize
from rnnctl.runs.checkpoints import MANIFEST
from rnnctl.runs.run import entry_of
from rnnctl.tasks.loading import load, read_weights
from rnnctl.training.events import Evaluated, Finished, Preparing, Saved, Started, Step
from rnnctl.training.resume import resumed
from rnnctl.training.train import Options, train

Settings = Callable[..., RunConfig]
Follow = Callable[..., list[Any]]
Same = Callable[[Path, Path], None]
AGAIN = Options(resume=True)
KINDS = ("lm", "classify", "paragraphs", "gru", "rnn", "words")
FIRST = ("lm", "classify", "paragraphs")


def untimed(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in event.items() if k != "timing"} for event in Run.open(run).log()]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run of three steps is made once (by the first test that asks)."""
    return tmp_path_factory.mktemp("begun") / "run"


def after_step(number: int) -> Callable[[Any], bool]:
    return lambda event: isinstance(event, Step) and event.step == number


def after_saving(number: int) -> Callable[[Any], bool]:
    return lambda event: isinstance(event, Saved) and event.step == number


@pytest.mark.parametrize(
    "kind",
    [kind if kind in FIRST else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS],
)
def test_abandoned_trainings_continue_bit_for_bit(
    kind: str, settings: Settings, follow: Follow, same: Same, tmp_path: Path
) -> None:
    config = settings(kind)
    follow(config, tmp_path / "whole")
    follow(config, tmp_path / "parts", until=after_saving(3))
    follow(config, tmp_path / "parts", AGAIN, until=after_step(8))  # at a validation
    events = follow(config, tmp_path / "parts", AGAIN)
    assert [e.step for e in events if isinstance(e, Step)] == [8, 9, 10, 11, 12]
    same(tmp_path / "whole", tmp_path / "parts")


def test_the_same_settings_give_the_same_bits(
    settings: Settings, follow: Follow, same: Same, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        follow(settings(), tmp_path / name)
    same(tmp_path / "a", tmp_path / "b")
    follow(settings(seed=6), tmp_path / "c")
    assert untimed(tmp_path / "a") != untimed(tmp_path / "c")


def test_abandoned_before_the_first_checkpoint_it_begins_again(
    settings: Settings, follow: Follow, same: Same, tmp_path: Path
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
    moment: Callable[[Any], bool], settings: Settings, follow: Follow, same: Same, tmp_path: Path
) -> None:
    config = settings()
    follow(config, tmp_path / "whole")
    follow(config, tmp_path / "parts", until=moment)
    follow(config, tmp_path / "parts", AGAIN)
    same(tmp_path / "whole", tmp_path / "parts")


def test_a_finished_run_goes_on_with_more_steps(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    first = settings()
    follow(first, tmp_path / "a")
    changes = {"training": {"steps": 20, "lr": 1e-3}}
    config, options = resumed(tmp_path / "a", changes, AGAIN)
    (note,) = options.notes
    assert f"lr 0.001 instead of {first.training.lr:g}" in note.text
    assert "--steps 20 instead of 12" in note.text
    events = follow(config, tmp_path / "a", options)
    assert [e.step for e in events if isinstance(e, Step)] == list(range(13, 21))
    assert Run.open(tmp_path / "a").config.training.steps == 20
    assert Run.open(tmp_path / "a").current.finished


def test_another_batch_size_begins_a_new_pass(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    follow(settings(), tmp_path / "a", until=after_saving(6))
    config, options = resumed(tmp_path / "a", {"training": {"batch_size": 8}}, AGAIN)
    assert "batch-size 8 instead of 4" in options.notes[0].text
    events = follow(config, tmp_path / "a", options)
    assert [e.step for e in events if isinstance(e, Step)] == list(range(7, 13))


def test_the_model_cannot_change_in_the_middle(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    follow(settings(), tmp_path / "a", until=after_saving(2))
    with pytest.raises(UsageError, match="--hidden-size is 12") as caught:
        resumed(tmp_path / "a", {"model": {"hidden_size": 13}}, AGAIN)
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
    settings: Settings, follow: Follow, same: Same, tmp_path: Path
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
    settings: Settings, follow: Follow, same: Same, tmp_path: Path
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


def test_best_weights_count_although_the_disk_is_full_before_the_first_checkpoint(
    settings: Settings, follow: Follow, same: Same, tmp_path: Path
) -> None:
    config = settings(checkpoint_every_s=1000)
    follow(config, tmp_path / "whole")

    def hook(name: str, path: Path) -> None:
        if "/.000012" in path.as_posix():
            raise OSError(28, "No space left on device")

    with storage.faults(hook), pytest.raises(StorageError, match="the disk is full"):
        follow(config, tmp_path / "parts")
    assert summarize(tmp_path / "parts").state == "best weights only"
    run = Run.open(tmp_path / "parts")
    assert run.verify() == []
    trained = read_weights(Run.open(tmp_path / "whole").weights_path)
    kept = read_weights(run.weights_path)
    assert all(torch.equal(kept[name], value) for name, value in trained.items())
    assert load(tmp_path / "parts").model is not None
    follow(config, tmp_path / "parts", AGAIN)
    same(tmp_path / "whole", tmp_path / "parts")


def test_before_the_first_validation_the_newest_weights_are_used_not_the_initial_ones(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    follow(settings(), tmp_path / "a", until=after_saving(3))
    run = Run.open(tmp_path / "a")
    assert run.weights_path.parent.name == "000003"
    follow(settings(), tmp_path / "b", until=after_saving(6))
    assert Run.open(tmp_path / "b").weights_path.parent.name.startswith("best-000004")


def forge(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change `state.json` of the newest checkpoint and every checksum that vouches for it."""
    run = Run.open(path)
    newest = str(run.current.newest)
    folder = path / "checkpoints" / newest
    values = json.loads((folder / "state.json").read_bytes())
    change(values)
    (folder / "state.json").write_text(json.dumps(values))
    manifest = integrity.unseal(folder / MANIFEST)
    manifest["files"]["state.json"] = entry_of((folder / "state.json").read_bytes()).model_dump()
    (folder / MANIFEST).write_bytes(integrity.seal(manifest))
    digest = integrity.digest_of_file(folder / MANIFEST)
    run.commit(checkpoints={**run.current.checkpoints, newest: digest})


FORGED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "counters that are a list": lambda values: values.update(counters=[]),
    "a step that is text": lambda values: values["counters"].update(step="x"),
    "a huge step": lambda values: values["counters"].update(step=10**400),
    "a negative step": lambda values: values["counters"].update(step=-3),
    "a huge history": lambda values: values["counters"].update(history=[[10**400, 1.0]]),
    "a broken history": lambda values: values["counters"].update(history=[[1]]),
    "more accuracies than validations": lambda values: values["counters"].update(
        accuracies=[0.5] * 1000
    ),
    "a huge accuracy": lambda values: values["counters"].update(
        history=[[1, 1.0]], accuracies=[10**400]
    ),
    "a place behind the end": lambda values: values["data"].update(at=10**9),
    "a negative pass": lambda values: values["data"].update(epoch=-1),
    "no data": lambda values: values.update(data=None),
    "a log that is none": lambda values: values.update(log=None),
    "a place before the log": lambda values: values.update(log=[-5, 0]),
    "best weights elsewhere": lambda values: values.update(best="../../x"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_checkpoint_is_refused(
    kind: str, settings: Settings, follow: Follow, tmp_path: Path, begun: Path
) -> None:
    if not begun.exists():
        follow(settings(), begun, until=after_saving(3))
    shutil.copytree(begun, tmp_path / "run")
    forge(tmp_path / "run", FORGED[kind])
    events = follow(settings(), tmp_path / "run", AGAIN, until=lambda e: isinstance(e, Started))
    assert events[-1].step == 2  # the checkpoint before
    assert "went back to checkpoint" in events[-1].warnings[-1].text


def test_a_signal_saves_and_says_how_to_go_on(
    settings: Settings, follow: Follow, same: Same, tmp_path: Path
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
    settings: Settings, follow: Follow, same: Same, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rnnctl.tasks.language_model import LanguageModelTask

    config = settings(checkpoint_every_s=1000)
    follow(config, tmp_path / "whole")
    validate = LanguageModelTask.validate
    calls = []

    def interrupting(self: Any, interrupted: Any, most: int = 0) -> Any:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return validate(self, interrupted, most)

    with monkeypatch.context() as patch:
        patch.setattr(LanguageModelTask, "validate", interrupting)
        with pytest.raises(Interrupted):
            follow(config, tmp_path / "parts")
    events = follow(config, tmp_path / "parts", AGAIN)
    assert isinstance(next(e for e in events if isinstance(e, Step | Evaluated)), Evaluated)
    same(tmp_path / "whole", tmp_path / "parts")
