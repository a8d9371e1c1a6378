"""The library: train a run, open it, and use it from Python.

    import rnnctl

    result = rnnctl.train("book.txt", cell="gru", budget="60s", run="runs/gru")
    model = rnnctl.load("runs/gru")
    print(model.score(["The clock stopped."]).total.bits_per_byte)

What comes back are the records that the commands write with ``--format json``: frozen pydantic
models, with `model_dump_json()`. Errors that a caller can cause are `rnnctl.errors.RnnctlError`;
each has a `message` and a `hint`. Nothing here prints. ``import rnnctl`` loads neither this module
nor torch; both are loaded when one of its names is first used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnctl import catalog
from rnnctl.cli.setting_options import setting_names, settings_given
from rnnctl.config import is_vectors_word
from rnnctl.errors import UsageError
from rnnctl.inference.classify import Predictor
from rnnctl.inference.generate import Wish
from rnnctl.inference.inside import Inside, Stretch
from rnnctl.inference.sampling import Sampling
from rnnctl.inference.score import Scorer, Tally, scored_text
from rnnctl.inference.session import Session
from rnnctl.inference.training_text import by_document
from rnnctl.machine import set_threads
from rnnctl.results.diagnostics import DiagnosticsResult
from rnnctl.results.inference import (
    ClassifiedText,
    Explanation,
    ExplanationMethod,
    ExportResult,
    GenerateResult,
    ScoreResult,
)
from rnnctl.results.training import TrainResult
from rnnctl.tasks.loading import Loaded, environment
from rnnctl.tasks.loading import load as open_run

if TYPE_CHECKING:
    from rnnctl.training.events import Event


def load(run: str | Path, *, device: str = "cpu", threads: int | None = None) -> Model:
    """Open a run with its best weights.

    `device`: cpu, cuda, mps or auto. `threads`: CPU threads of the whole process; None leaves them
    as they are. Raises RunError where there is no run, CorruptRunError where it is damaged,
    UsageError for a device that is not there.
    """
    set_threads(threads)
    return Model(open_run(run, device=device))


@dataclass(frozen=True)
class States:
    """What is inside the recurrent layers along one text. T tokens, L layers, H units.

    `tokens`: the T tokens that were read, the first of them the document's start for a language
    model, the last of them the document's end for a classifier, which cuts long texts. `places`:
    (T, 2), the first character of each token in the text, and the one behind it. `arrays`:
    (T, L, H) float32 by name, each after the token was read: the states `h` (and `c`), and the
    cell's gates, such as `input`, `forget`, `output`.
    """

    tokens: tuple[str, ...]
    places: NDArray[np.int64]
    arrays: Mapping[str, NDArray[np.float32]]


class Model:
    """An open run. Made by `load`."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self.path: Path = loaded.run.path
        self.settings = loaded.config
        self.labels: tuple[str, ...] = loaded.labels
        """The labels of a classifier; () for a language model."""

    def __repr__(self) -> str:
        model = self.settings.model
        return f"<rnnctl model {self.path}: {model.task}, {model.cell}, {model.hidden_size} units>"

    def score(self, texts: str | Sequence[str]) -> ScoreResult:
        """How likely each text is, in nats, bits per byte and perplexity; one text, or several.

        Each is read from an empty state. Raises RunError for a classifier.
        """
        tallies = self._scorer.tally_texts(_listed(texts))
        total = Tally()
        for tally in tallies:
            total.add(tally)
        return ScoreResult(
            environment=environment(self._loaded),
            run=str(self.path),
            texts=tuple(scored_text(f"text {i}", tally) for i, tally in enumerate(tallies, 1)),
            total=scored_text("total", total),
        )

    def classify(
        self, texts: str | Sequence[str], *, explain: ExplanationMethod | None = None
    ) -> tuple[ClassifiedText, ...]:
        """The label of each text, with the probabilities of all labels.

        `explain`: say what each word contributed, by "gradients" or "occlusion"; where a text may
        have several labels, to each that it is given. Raises RunError for a language model.
        """
        listed = _listed(texts)
        predictions = self._predictor.predict(listed)
        reasons: list[tuple[Explanation, ...]] = [()] * len(listed)
        if explain is not None:
            from rnnctl.inference.explain import Explainer

            explainer = Explainer(self._loaded, self._predictor, explain)
            reasons = list(map(explainer.explain, listed, predictions))
        return tuple(
            ClassifiedText(
                prediction=found.label,
                probability=found.probability,
                predictions=found.given,
                probabilities=dict(zip(self.labels, found.probabilities, strict=True)),
                unknown=found.unknown,
                cut=found.cut,
                explanation=why[0] if why and found.given is None else None,
                explanations=why if found.given is not None else (),
            )
            for found, why in zip(predictions, reasons, strict=True)
        )

    def generate(
        self,
        prompt: str = "",
        *,
        length: int = 500,
        count: int = 1,
        stop: Sequence[str] = (),
        end: bool | None = None,
        seed: int = 0,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
    ) -> GenerateResult:
        """Continue a prompt `count` times, by at most `length` tokens. As `rnnctl generate`.

        `end`: whether the model's own end of a document ends a continuation; None: it does where
        the run was trained on documents. The defaults are those of the command. Raises RunError
        for a classifier, UsageError for a value out of its range.
        """
        if length < 0 or count < 1:
            raise UsageError(
                f"length is {length} and count is {count}",
                hint="length must be 0 or more, count 1 or more",
            )
        sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
        ends = self._session.by_document if end is None else end
        wish = Wish(length, tuple(stop), ends, seed, sampling)
        return self._session.result(prompt, self._session.read(prompt), wish, count)

    def states(self, texts: str | Sequence[str]) -> list[States]:
        """States and gates of every layer along each text, read from an empty state.

        Raises RunError for a model that reads in both directions: its states are not causal.
        """
        inside, found = Inside(self._loaded), list[States]()
        rows: list[Stretch] = []
        for stretch in inside.texts(_listed(texts)):
            rows.append(stretch)
            if stretch.last:
                found.append(_joined(inside, rows))
                rows = []
        return found

    def diagnose(
        self,
        names: Sequence[str] | None = None,
        *,
        preset: str = "quick",
        text: str | Path | None = None,
        seed: int = 0,
    ) -> DiagnosticsResult:
        """How much early context the model retains. As `rnnctl diagnose`; keeps nothing in the run.

        `names`: measurements, such as "use" and "effect"; None: all that suit the task. `preset`:
        quick (half a minute) or full. `text`: a corpus to measure on; None: the held-out text that
        the run keeps. Raises UsageError for an unknown name or preset, DataError without text.
        """
        from rnnctl.diagnostics.diagnose import diagnose
        from rnnctl.diagnostics.material import read_text
        from rnnctl.diagnostics.settings import PRESETS

        if preset not in PRESETS:
            raise UsageError(
                f"there is no preset {preset!r}", hint=catalog.suggestion(preset, PRESETS)
            )
        given = None if text is None else read_text(self._loaded, str(text))
        return diagnose(self._loaded, names=names, preset=preset, text=given, seed=seed)

    def export(
        self, path: str | Path, *, int8: bool = False, overwrite: bool = False
    ) -> ExportResult:
        """Write the model as an ONNX file, with tokenizer.json and README.md beside it.

        As `rnnctl export`. Raises MissingExtraError without onnx, UsageError for files that are
        there already.
        """
        from rnnctl.inference.export import export

        return export(self._loaded, Path(path), int8=int8, overwrite=overwrite)

    @cached_property
    def _scorer(self) -> Scorer:
        return Scorer(self._loaded, ends=by_document(self._loaded))

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self._loaded)

    @cached_property
    def _session(self) -> Session:
        return Session(self._loaded, copied=False)


def train(
    corpus: str | Path | Sequence[str | Path] | None = None,
    *,
    run: str | Path | None = None,
    overwrite: bool = False,
    diagnose: bool = False,
    on_event: Callable[[Event], None] | None = None,
    **settings: Any,
) -> TrainResult:
    """Train a model and keep it as a run. As `rnnctl train`; the result names the run.

    `corpus`: what the command takes, one source or several; None: the bundled paragraphs.
    `settings`: the command's options with underscores, such as ``cell="gru"``, ``budget="10m"``,
    ``hidden_size=256``, ``lr=0.005``. `diagnose`: end with the quick diagnosis. `on_event`: called
    with everything that happens on the way: `Started`, `Evaluated`, … .

    Raises UsageError for a setting that does not exist or has an impossible value, DataError for a
    corpus that cannot be read, RunError where `run` exists already, Interrupted after Ctrl-C (the
    best weights are kept).
    """
    from rnnctl.cli.train import run_folder
    from rnnctl.diagnostics.while_training import headline
    from rnnctl.tasks.recipes import leaves_level_open, leaves_size_open, resolve
    from rnnctl.training.events import Finished
    from rnnctl.training.train import Options
    from rnnctl.training.train import train as work

    # By the way of the command's own options, so that a setting means the same in both.
    given = settings_given(_options(corpus, settings))
    config = resolve(given)
    options = Options(
        overwrite=overwrite,
        given=given,
        size_is_open=leaves_size_open(given, config),
        level_is_open=leaves_level_open(given, config),
    )
    if diagnose:
        options = replace(options, headline=headline)
    with run_folder(config, None if run is None else Path(run)) as folder:
        events: Iterator[Event] = work(config, folder, options)
        for event in events:
            if on_event is not None:
                on_event(event)
            if isinstance(event, Finished):
                return event.result
    raise AssertionError("a training ends with a result or an error")


def _options(
    corpus: str | Path | Sequence[str | Path] | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The values of all settings that are options of `rnnctl train`, None where not given."""
    known = setting_names()
    for name in settings:
        if name not in known:
            raise UsageError(f"there is no setting {name!r}", hint=catalog.suggestion(name, known))
    sources = [corpus] if isinstance(corpus, str | Path) else list(corpus or ())
    values: dict[str, Any] = dict.fromkeys(known)
    values.update({name: _as_option(name, value) for name, value in settings.items()})
    return {**values, "sources": [str(source) for source in sources]}


def _as_option(name: str, value: Any) -> Any:
    """Times and paths in the form that the command's parser hands on."""
    if value is None:
        return None
    # Written 90s or 2h; --evaluate-every also takes a number of steps, as text.
    if name in ("budget", "checkpoint_every", "evaluate_every", "pretrain"):
        return str(value)
    is_path = name == "start_from" or (name == "vectors" and not is_vectors_word(value))
    return Path(value) if is_path else value


def _joined(inside: Inside, rows: Sequence[Stretch]) -> States:
    """The stretches of one text as one."""
    ids = np.concatenate([row.read.ids for row in rows])
    places = np.concatenate([row.read.places[:, :2] for row in rows])
    arrays = {name: np.concatenate([row.values[name] for row in rows]) for name in inside.parts}
    return States(tuple(map(inside.tokenizer.token_text, ids.tolist())), places, arrays)


def _listed(texts: str | Sequence[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)
