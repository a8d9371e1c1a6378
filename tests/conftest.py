"""What all tests share: no network, no traces in the user's home, the command line as a call."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from rnnctl import machine
from rnnctl.openmp import set_up_threads

ROOT = Path(__file__).resolve().parents[1]

# Set before anything imports these libraries: a test never reaches the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"

# Commands of the tests write as those of users do, through a buffer.
os.environ.pop("PYTHONUNBUFFERED", None)

# And before torch is: RNNCTL_CPU caps what the libraries use, in the commands' processes as here.
machine.cap_libraries()
set_up_threads()  # as the command line does, before anything imports PyTorch

# A shell starts its background jobs with SIGINT ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return f"processor: {machine.processor()}, used as {machine.described()}"


# For tests that run on every engine: the one that needs numba is left out where there is none.
FUSED = pytest.param(
    "fused", marks=pytest.mark.skipif(find_spec("numba") is None, reason="numba is not installed")
)


@dataclass(frozen=True)
class Outcome:
    """What a command line left behind."""

    code: int
    out: str
    err: str


CommandLine = Callable[..., Outcome]


@pytest.fixture(scope="session", autouse=True)
def _private_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Id stores and library caches live in the session's temporary directory."""
    home = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNCTL_CACHE", str(home / "rnnctl"))
        patch.setenv("HF_HOME", str(home / "hf"))
        patch.setenv("COLUMNS", "80")
        patch.setenv("NO_COLOR", "1")
        patch.delenv("RNNCTL_DEBUG", raising=False)
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real corpora beside the checkout; tests that need them skip where they are not."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the corpora in ../shared/data are not on this machine")
    return path


class _Stream(io.TextIOWrapper):
    """A text stream over memory, with a `buffer` as the real ones have."""

    def __init__(self, content: bytes = b"") -> None:
        self.memory = io.BytesIO(content)
        super().__init__(self.memory, encoding="utf-8", newline="")

    def text(self) -> str:
        self.flush()
        return self.memory.getvalue().decode("utf-8")


@pytest.fixture
def rnnctl(monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Call the command line in this process: ``rnnctl("score", run, stdin="text")``.

    Arguments are made strings; `stdin` is text or bytes, empty if not given.
    """
    from rnnctl.__main__ import main

    def call(*arguments: object, stdin: str | bytes = b"") -> Outcome:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        source, out, err = _Stream(given), _Stream(), _Stream()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", source)
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            code = main([str(argument) for argument in arguments])
            return Outcome(code, out.text(), err.text())

    return call


MakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """Write a run that was not trained: a tokenizer made of `text`, random weights.

    ``make_run("some text", level="word", cell="gru")`` is a language model,
    ``make_run("some text", labels=("bad", "good"))`` a classifier. `running=False` makes it one
    that knows documents; `heldout` are texts and labels of its test part, `valid` is its validation
    text; weights named `without` are 0; further settings are those of the model.
    """

    def make(
        text: str,
        *,
        level: str = "char",
        labels: tuple[str, ...] = (),
        running: bool = True,
        max_tokens: int | None = None,
        encoding: str = "utf-8",
        vocab_size: int | None = None,
        scale: float = 3.0,
        heldout: Sequence[tuple[str, str | None]] = (),
        valid: str = "",
        without: str | None = None,
        **model: Any,
    ) -> Path:
        import safetensors.torch
        import torch

        from rnnctl.config import CorpusConfig, ModelConfig, RunConfig, TokenizerConfig
        from rnnctl.data.documents import Document
        from rnnctl.data.tokenizers import train_tokenizer
        from rnnctl.data.tokenizers.base import to_bytes
        from rnnctl.runs import Run
        from rnnctl.runs.heldout import pack
        from rnnctl.tasks.loading import build_model

        sizes = {"hidden_size": 12, "embedding_size": 8, **model}
        config = RunConfig(
            corpus=CorpusConfig(sources=("-",), max_tokens=max_tokens, encoding=encoding),
            tokenizer=TokenizerConfig(level=level, vocab_size=vocab_size),
            model=ModelConfig(task="classify" if labels else "lm", **sizes),
        )
        tokenizer = train_tokenizer([text], config.tokenizer)
        torch.manual_seed(len(text))
        built = build_model(config.model, vocab_size=tokenizer.vocab_size, num_classes=len(labels))
        weights = {name: scale * value for name, value in built.state_dict().items()}
        weights |= {name: 0 * w for name, w in weights.items() if without and without in name}
        facts = {"fingerprint": "none", "running": running, "labels": list(labels)}
        path = tmp_path_factory.mktemp("runs") / "run"
        files = {
            "tokenizer.json": to_bytes(tokenizer.to_dict()),
            "corpus.json": json.dumps(facts).encode(),
            "model.safetensors": safetensors.torch.save(weights),
        }
        parts = {"valid": [(valid, None)] if valid else [], "test": heldout}
        if heldout or valid:
            files["heldout.jsonl.gz"] = pack(
                (part, running and not labels, [Document(text, label, "") for text, label in some])
                for part, some in parts.items()
                if some
            )
        Run.create(path, config, files=files)
        return path

    return make


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a window; tests that need it skip where there is none."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium on this machine: install Debian's package `chromium`")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


OpenPage = Callable[..., tuple[Any, list[str], list[str]]]


@pytest.fixture
def open_page(browser: Any) -> OpenPage:
    """Open a page: the tab, what it says on the console, and what it asks the network for."""

    def open_(path: Path, **more: Any) -> tuple[Any, list[str], list[str]]:
        tab = browser.new_context(**more).new_page()
        said: list[str] = []
        asked: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(path.as_uri())
        tab.evaluate("window.ready")
        return tab, said, [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]

    return open_
