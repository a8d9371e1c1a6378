"""The progress of a training on stderr: a Rich display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from rnnctl.cli import console
from rnnctl.reports.cells import display_name
from rnnctl.reports.numbers import number, percent, seconds
from rnnctl.wording import plural

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rnnctl.training.events import Evaluated, Event, SlowStep, Started, Step
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnnctl.data.ids import SplitIds
    from rnnctl.data.tokenizers import Tokenizer
    from rnnctl.nn.models import Classifier, LanguageModel
    from rnnctl.training.events import GradientShare, SampleLine


REFRESH_S = 0.25
LINE_S = 5.0
SHOWN_LABELS = 8
FIRST = "first step …"
_BAR = 24


class Display(Protocol):
    """Shows events; a context manager that leaves the terminal as it was."""

    def show(self, event: Event) -> None: ...
    def __enter__(self) -> Display: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def make_display(*, live: bool, quiet: bool) -> Display:
    """The display for this stderr."""
    if quiet:
        return Silent()
    return Live() if live else Plain()


KEPT = 0.95  # of a step's weight in the shown loss, at every further step


@dataclass(slots=True)
class Picture:
    """What is known of a training at a moment, from its events."""

    started: Started | None = None
    step: Step | None = None
    evaluated: Evaluated | None = None
    progress: float = 0.0
    loss: float = 0.0  # mean over about the last 20 steps
    begun_at_s: float = 0.0
    begun_tokens: int = 0
    sample: str = ""
    shares: dict[int, float] | None = None
    doing: str = ""
    _weight: float = 0.0  # of the steps in `loss`

    def take(self, event: Event) -> None:
        from rnnctl.training import events
        from rnnctl.training.events import Preparing, Started

        if isinstance(event, events.Step):
            self._step(event)
        elif isinstance(event, Started):
            self.started, self.doing = event, FIRST
        elif isinstance(event, events.Evaluated):
            self.evaluated, self.progress = event, event.progress
        elif isinstance(event, events.SampleLine):
            self.sample = event.text
        elif isinstance(event, events.GradientShare):
            self.shares = event.shares
        elif isinstance(event, Preparing):
            self.doing = event.what

    def _step(self, event: Step) -> None:
        if self.step is None:
            self.begun_at_s, self.begun_tokens = event.elapsed_s, event.tokens
        self._weight = KEPT * self._weight + 1
        self.loss += (event.loss_nats - self.loss) / self._weight
        self.step, self.progress, self.doing = event, event.progress, ""

    @property
    def tokens_per_s(self) -> float | None:
        if self.step is None or self.step.elapsed_s <= self.begun_at_s:
            return None
        tokens = self.step.tokens - self.begun_tokens
        return tokens / (self.step.elapsed_s - self.begun_at_s)

    @property
    def left_s(self) -> float | None:
        """Seconds until the training is over, from its pace so far."""
        if self.step is None or self.progress <= 0:
            return None
        return self.step.elapsed_s * (1 - self.progress) / self.progress

    def numbers(self) -> list[str]:
        """Step, losses, speed, norm and rate."""
        step = self.step
        if step is None:
            return [self.doing]
        parts = [f"step {step.step:,}", f"loss {self.loss:.3f} nats"]
        if self.evaluated is not None and self.started is not None and self.started.validated:
            parts.append(_validation(self.evaluated))
        if self.tokens_per_s:
            parts.append(f"{self.tokens_per_s:,.0f} tokens/s")
        return [*parts, f"norm {step.gradient_norm:.2f}", f"rate {step.lr:.2g}"]

    def reach(self) -> str:
        """How much of the gradient arrives from so many steps back."""
        if not self.shares:
            return ""
        parts = [f"{lag}: {number(100 * s, 2)} %" for lag, s in self.shares.items()]
        return "gradient from so many steps back: " + ", ".join(parts)


def _validation(event: Evaluated) -> str:
    text = f"valid {event.value:.3f}"
    if event.accuracy is not None:
        text += f" ({percent(event.accuracy)} right)"
    return text


class Silent:
    """Nothing but warnings."""

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def show(self, event: Event) -> None:
        from rnnctl.training.events import Advice, NotFinite, SlowStep, Started, SteppedBack

        if isinstance(event, Advice):
            console.warn(event.text)
        elif isinstance(event, SteppedBack):
            console.warn(stepped_back(event))
        elif isinstance(event, SlowStep):
            console.warn(slow_step(event))
        elif isinstance(event, NotFinite):
            console.warn(
                f"step {event.step}: the validation loss is not finite ({event.value}); it counts "
                "as one without progress"
            )
        elif isinstance(event, Started):
            for warning in event.warnings:
                console.warn(warning.text)


def stepped_back(event: Any) -> str:
    """A return to earlier weights, in words."""
    return (
        f"step {event.step}: the loss is not finite (loss {event.loss_nats}, gradient norm "
        f"{event.gradient_norm}, rate {event.lr:.3g}); back to the weights of step "
        f"{event.to_step} at {event.lr_scale:.2g} of the rate"
    )


def slow_step(event: SlowStep) -> str:
    """A step that used up much of the budget, and what the machine is busy with."""
    cores = plural(event.cores, "core")
    why = cores if event.load is None else f"load {event.load:.1f} on {cores}"
    busy = event.load is not None and event.load > event.cores + 0.5
    cause = "other programs use the machine" if busy else "the model is large for it"
    return (
        f"step {event.step} took {seconds(event.seconds)} of a budget of "
        f"{seconds(event.budget_s)}: {cause} ({why})"
    )


def introduction(event: Started) -> str:
    """What is going to be trained, on what."""
    model = event.config.model
    layers = f"{plural(model.num_layers, 'layer')} of {model.hidden_size}"
    cut = f", {percent(event.cut_share)} of the documents cut" if event.cut_share else ""
    begun = f"going on after step {event.step:,}" if event.step else f"run {event.run}"
    if event.ended:
        begun = f"ended at step {event.step:,}: nothing is left to train"
    read = "".join(f"{console.from_here(note)}\n" for note in event.notes)
    why = f"{event.why_this_size}\n" if event.why_this_size else ""
    return (
        f"{read}{event.corpus}{_labels(event.labels)}\n"
        f"{plural(event.train_tokens, 'training token')}, vocabulary {event.vocab_size:,}{cut}\n"
        f"{why}{display_name(model.cell)}, {layers}, {plural(event.parameters, 'parameter')}; "
        f"{event.device}, {plural(event.threads, 'thread')}\n"
        f"{event.dtype}; {begun}"
    )


def _labels(names: tuple[str, ...]) -> str:
    """What a classifier is to tell apart: the first place to see a wrong column."""
    if not names:
        return ""
    more = f" and {len(names) - SHOWN_LABELS} more" if len(names) > SHOWN_LABELS else ""
    shown = ", ".join(name[:24] for name in names[:SHOWN_LABELS])
    return f", {plural(len(names), 'label')}: {shown}{more}"


class Plain(Silent):
    """A line every few seconds and one for each validation."""

    def __init__(self) -> None:
        self._picture = Picture()
        self._last = -math.inf

    def show(self, event: Event) -> None:
        from rnnctl.training.events import Evaluated, Preparing, Started, Step

        super().show(event)
        self._picture.take(event)
        if isinstance(event, Started):
            console.note(introduction(event))
        elif isinstance(event, Preparing):
            console.note(f"{event.what} …")
        elif isinstance(event, Evaluated) or (isinstance(event, Step) and self._due()):
            self._line()

    def _due(self) -> bool:
        return time.monotonic() - self._last >= LINE_S

    def _line(self) -> None:
        self._last = time.monotonic()
        done = percent(self._picture.progress, 0) if self._picture.step else ""
        console.note(f"{done:>5}  {'  '.join(self._picture.numbers())}")


class Live(Silent):
    """A few lines at the bottom of the terminal, rewritten four times a second."""

    def __init__(self) -> None:
        from rich.live import Live as RichLive

        self._picture = Picture()
        self._console = console.stderr_console()
        self._live = RichLive(console=self._console, auto_refresh=False, transient=True)
        self._last = 0.0

    def __enter__(self) -> Display:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, event: Event) -> None:
        from rnnctl.training.events import Started, Step

        super().show(event)
        self._picture.take(event)
        if isinstance(event, Started):
            self._console.print(introduction(event), markup=False)
        now = time.monotonic()
        if not isinstance(event, Step) or now - self._last >= REFRESH_S:
            self._last = now
            self._live.update(self._render(), refresh=True)

    def _render(self) -> RenderableType:
        from rich.text import Text

        picture = self._picture
        width = self._console.width - len("^C")  # which a terminal echoes behind the last line
        lines = filled(picture.numbers(), width)
        if picture.step is not None:
            lines.insert(0, _bar(picture))
        if picture.reach():
            lines.append(picture.reach())
        if picture.sample:
            lines.append(f"it writes: {picture.sample}")
        return Text("\n".join(_shortened(console.printable(line), width) for line in lines))


def _bar(picture: Picture) -> str:
    full = round(_BAR * picture.progress)
    left = f"{seconds(picture.left_s)} left" if picture.left_s is not None else ""
    doing = picture.doing or left
    return f"{'━' * full}{'─' * (_BAR - full)} {percent(picture.progress, 0)}  {doing}"


def filled(parts: list[str], width: int) -> list[str]:
    """The parts in as few lines as they fit into, two spaces apart."""
    lines = parts[:1]
    for part in parts[1:]:
        if len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f"  {part}"
        else:
            lines.append(part)
    return lines


def _shortened(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"


# What the display of a training shows beside the loss: a line that the model writes, and how far
# its gradient reaches. And the headline of the quick diagnosis at its end.

SAMPLE_TOKENS = 70
SEED = 0  # the same draws each time, so that lines differ by what the model has learnt
PROBE_STREAMS = 4
MOST_DOCUMENTS, MOST_TOKENS = 64, 20_000
HEADLINE_S = 20.0


def probe(
    model: LanguageModel | Classifier, tokenizer: Tokenizer, valid: SplitIds, step: int
) -> Iterator[SampleLine | GradientShare]:
    """A sample line of a language model; the gradient shares of any model."""
    from rnnctl.nn.models import LanguageModel
    from rnnctl.training.events import GradientShare, SampleLine

    if isinstance(model, LanguageModel):
        yield SampleLine(step, sample_line(model, tokenizer))
    shares = {} if model.recurrent.directions == 2 else gradient_shares(model, valid)
    if shares:
        yield GradientShare(step, shares)


def sample_line(model: LanguageModel, tokenizer: Tokenizer) -> str:
    """Text of SAMPLE_TOKENS tokens that the model writes, in one line."""
    import numpy as np
    import torch

    from rnnctl.inference.sampling import Sampling, Uniforms, choose

    uniforms, sampling = Uniforms(SEED, 1), Sampling(temperature=0.8)
    said = np.zeros((1, 0), dtype=np.int64)
    ids, state = [tokenizer.boundary_id], None
    device = model.embedding.weight.device
    with torch.no_grad():
        for _ in range(SAMPLE_TOKENS):
            features, state = model.features(torch.tensor([[ids[-1]]], device=device), state)
            logits = model.logits(features)[0].float().numpy(force=True)
            ids.append(int(choose(logits, sampling, said, uniforms.next())[0]))
    return " ".join(tokenizer.decode(ids[1:]).split())


def gradient_shares(model: LanguageModel | Classifier, valid: SplitIds) -> dict[int, float]:
    """Γ(k) of REACH on a few fixed validation passages; lags beyond the text are left out.

    The gradient of one step's loss with respect to the state (c of an LSTM) so many steps back,
    relative to one step back.
    """
    from rnnctl.diagnostics import reach

    count = min(MOST_DOCUMENTS, len(valid.offsets) - 1)
    windows = reach.share_windows(
        [valid.document(d)[:MOST_TOKENS] for d in range(count)],
        labels=None if valid.labels is None else [int(label) for label in valid.labels[:count]],
        running=valid.running,
        count=PROBE_STREAMS,
    )
    return {} if windows is None else reach.gradient_share(model, windows)


def headline(path: Path) -> dict[str, Any] | None:
    """The quick diagnosis of a finished run: what it says in one line, as JSON."""
    from rnnctl.diagnostics import diagnose
    from rnnctl.tasks.loading import load

    return diagnose.headline(load(path), seconds=HEADLINE_S).model_dump(mode="json")
