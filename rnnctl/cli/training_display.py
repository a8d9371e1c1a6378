"""What a training shows of itself while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rnnctl.cli import console
from rnnctl.cli.progress import Said, bar
from rnnctl.config import TrainingConfig
from rnnctl.reports.cells import display_name
from rnnctl.reports.numbers import number, percent, seconds
from rnnctl.reports.training import labels_in_words, limits_in_words, vectors_in_words
from rnnctl.training import events
from rnnctl.training.events import Evaluated, Event, SlowStep, Started, Step, SteppedBack
from rnnctl.wording import plural

FIRST = "first step …"
KEPT = 0.95  # of a step's weight in the shown loss, at every further step


@dataclass(slots=True)
class Picture:
    """What is known of a training at a moment, from its events: a `View`."""

    frequent = Step

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

    def take(self, event: Event) -> Iterator[Said]:
        """Take in an event; what is to be said of it."""
        match event:
            case Step():
                self._step(event)
            case Started():
                self._begin(event)
                for warning in event.warnings:
                    yield Said(warning.text, "warning")
                yield Said(introduction(event), "news")
            case Evaluated():
                self.evaluated, self.progress = event, event.progress
                yield Said(self.status())
            case events.SampleLine():
                self.sample = event.text
            case events.GradientShare():
                self.shares = event.shares
            case events.Preparing():
                self.doing = event.what
                yield Said(f"{event.what} …")
            case events.Advice():
                yield Said(event.text, "warning")
            case SteppedBack():
                yield Said(stepped_back(event), "warning")
            case SlowStep():
                yield Said(slow_step(event), "warning")
            case events.NotFinite(step, value):
                yield Said(
                    f"step {step}: the validation loss is not finite ({value}); it counts as no "
                    "improvement",
                    "warning",
                )

    def _begin(self, event: Started) -> None:
        """Start anew: of a language model before a classifier nothing is left."""
        self.started, self.doing = event, FIRST
        self.step, self.evaluated, self.progress = None, None, 0.0
        self.loss = self._weight = 0.0
        self.sample, self.shares = "", None

    def _step(self, event: Step) -> None:
        if self.step is None:
            self.begun_at_s, self.begun_tokens = event.elapsed_s, event.tokens
        # A weighted mean from the first step on: an average that began at 0 would look like a low
        # loss.
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
        return [*parts, f"gradient norm {step.gradient_norm:.2f}", f"lr {step.lr:.2g}"]

    def reach(self) -> str:
        """How much of the gradient arrives from so many steps back."""
        if not self.shares:
            return ""
        parts = [f"{lag}: {number(100 * s, 2)} %" for lag, s in self.shares.items()]
        return "gradient left after N steps back: " + ", ".join(parts)

    def status(self) -> str:
        """How far the training is, in one line of a log."""
        done = percent(self.progress, 0) if self.step else ""
        return f"{done:>5}  {'  '.join(self.numbers())}"

    def lines(self, width: int) -> list[str]:
        """The same for a live display: a bar, numbers, the gradient's reach and a sample."""
        lines = filled(self.numbers(), width)
        if self.step is not None:
            left = f"{seconds(self.left_s)} left" if self.left_s is not None else ""
            done = f"{bar(self.progress)} {percent(self.progress, 0)}  {self.doing or left}"
            lines.insert(0, done)
        if self.reach():
            lines.append(self.reach())
        if self.sample:
            lines.append(f"sample: {self.sample}")
        return lines


def _validation(event: Evaluated) -> str:
    text = f"valid {event.value:.3f}"
    if event.accuracy is not None:
        text += f" ({percent(event.accuracy)} right)"
    return text


def stepped_back(event: SteppedBack) -> str:
    """A return to earlier weights, in words."""
    return (
        f"step {event.step}: the loss is not finite (loss {event.loss_nats}, gradient norm "
        f"{event.gradient_norm}, learning rate {event.lr:.3g}); going back to the weights of step "
        f"{event.to_step}, with {event.lr_scale:.2g} of the learning rate"
    )


def slow_step(event: SlowStep) -> str:
    """A step that used up much of the budget, and what the machine is busy with."""
    cores = plural(event.cores, "core")
    why = cores if event.load is None else f"load {event.load:.1f} on {cores}"
    busy = event.load is not None and event.load > event.cores + 0.5
    cause = "other programs use the machine" if busy else "the model is large for this machine"
    return (
        f"step {event.step} took {seconds(event.seconds)} of a budget of "
        f"{seconds(event.budget_s)}: {cause} ({why})"
    )


def introduction(event: Started) -> str:
    """What is going to be trained, on what."""
    model = event.config.model
    layers = f"{plural(model.num_layers, 'layer')} of {model.hidden_size}"
    cut = f", {percent(event.cut_share)} of the documents cut" if event.cut_share else ""
    begun = f"continuing after step {event.step:,}" if event.step else f"run {event.run}"
    if event.resumed and not event.step:
        begun = f"run {event.run} was stopped before its first checkpoint and starts again"
    if event.ended:
        begun = f"ended at step {event.step:,}: nothing is left to train"
    read = "".join(f"{console.from_here(note)}\n" for note in event.notes)
    why = f"{event.why_this_size}\n" if event.why_this_size else ""
    if event.vectors is not None:
        why += f"vectors: {vectors_in_words(event.vectors)}\n"
    why += _fine_tuning(event.config.training)
    length = "" if event.ended else f"; trains for {limits_in_words(event.config.training)}"
    return (
        f"{read}{event.corpus}{labels_in_words(event.labels)}\n"
        f"{plural(event.train_tokens, 'training token')}, vocabulary {event.vocab_size:,}{cut}\n"
        f"{why}{display_name(model.cell)}, {layers}, {plural(event.parameters, 'parameter')}; "
        f"{event.device}, {plural(event.threads, 'thread')}\n"
        f"{event.dtype}; {begun}{length}"
    )


def _fine_tuning(training: TrainingConfig) -> str:
    """How a model that begins with another one's weights learns, in one line."""
    parts = []
    if training.layer_factor > 1:
        parts.append(f"each layer learns {training.layer_factor:g} times slower than the next")
    if training.unfreeze:
        parts.append(f"one more layer every {percent(training.unfreeze, 0)} of the training")
    return f"fine-tuning: {', '.join(parts)}\n" if parts else ""


def filled(parts: list[str], width: int) -> list[str]:
    """The parts in as few lines as they fit into, two spaces apart."""
    lines = parts[:1]
    for part in parts[1:]:
        if len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f"  {part}"
        else:
            lines.append(part)
    return lines
