"""A diagnostic that another package adds: how soon the state forgets what it began from.

The same text is read from the zero state and from the state after another text. SETTLE is the
number of tokens after which the two states are half as far apart as they were (after the "echo
state" property of Jaeger 2001). The entry point in the group ``rnnctl.diagnostic`` is all that
makes ``rnnctl diagnose RUN settle`` work.
"""

from __future__ import annotations

import numpy as np
import torch

from rnnctl import statistics
from rnnctl.diagnostics import curves
from rnnctl.diagnostics.material import Material
from rnnctl.diagnostics.measurements import LANGUAGE, Diagnostic
from rnnctl.diagnostics.settings import Settings
from rnnctl.results.diagnostics import Measurement, Sampling

LAGS, TEXTS = 16, 24


def measure(material: Material, settings: Settings) -> Measurement:
    """`half` (tokens, at most LAGS), with an interval over the texts."""
    texts = [ids for ids in material.sample.ids if len(ids) >= LAGS][:TEXTS]
    if len(texts) < 2:
        return Measurement(status="insufficient_data", note=f"no two texts of {LAGS} tokens")
    subject = material.language_model
    if subject is None:
        return Measurement(status="not_applicable", note="SETTLE is about language models")
    ids = torch.from_numpy(np.stack([t[:LAGS] for t in texts], 1))
    plain = subject.initial_state(len(texts))
    other = subject.read(ids.roll(1, 1), plain)
    apart = []
    for token in [None, *ids]:
        if token is not None:
            plain, other = (subject.read(token[None], state) for state in (plain, other))
        apart.append((subject.vector(plain) - subject.vector(other)).norm(dim=1).double().numpy())
    halved = np.argmax(np.array(apart) <= apart[0] / 2, axis=0).astype(float)
    halved[halved == 0] = LAGS
    n = len(texts)
    weights = statistics.resampling_weights(n, resamples=settings.resamples, seed=settings.seed)
    mean = statistics.ratio_of_means(halved, np.ones(n), weights)
    return Measurement(
        sampling=Sampling(unit="document", n=n, items=n),
        scalars={
            "half": curves.estimate(
                float(mean.estimate[0]), mean.replicates[:, 0], n=n, unit="tokens"
            )
        },
    )


def answer(record: Measurement) -> str:
    """In a few words; "" where there is no number."""
    half = record.scalars.get("half")
    return f"half after {half.estimate:.1f} tokens" if half else ""


SETTLE = Diagnostic(
    title="SETTLE: forgetting the start",
    question="how soon does the state forget what it began from?",
    short="Does the start wear off?",
    measure=measure,
    of=(LANGUAGE,),
    numbers={"half": "two starts are half as far apart after"},
    answer=answer,
    glossary="SETTLE reads one text from two states and measures when they have come together.",
)
