"""What `generate`, `score`, `evaluate` and `export` return. `classify` answers line by line."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rnnctl.results.base import Classification, Estimate, LanguageModelLoss, Record, Result
from rnnctl.results.training import DocumentSums


class CopiedStretch(Record):
    """The longest stretch of a sample that stands word for word in the training text."""

    tokens: int
    chars: int
    text: str
    position: int = Field(description="its first token's place in the training ids")


class Sample(Record):
    """One continuation. `ended` says why it is over: length, stop (a stop text), end (<eos>)."""

    text: str
    ended: Literal["length", "stop", "end"]
    copied: CopiedStretch | None = Field(None, description="None where it is not known")


class GenerateResult(Result):
    """Continuations of one prompt, and how they were drawn."""

    schema_id: Literal["rnnctl.generate/1"] = "rnnctl.generate/1"
    run: str
    prompt: str
    unknown_in_prompt: int = Field(description="tokens of the prompt that the model does not know")
    temperature: float
    top_k: int = Field(description="0 = off")
    top_p: float = Field(description="1 = off")
    min_p: float = Field(description="0 = off")
    repetition_penalty: float = Field(description="1 = off")
    length: int = Field(description="most tokens of a continuation")
    stop: tuple[str, ...] = ()
    samples: tuple[Sample, ...]
    copied_note: str = Field("", description="why copies are not known, where they are not")


ExplanationMethod = Literal["gradients", "occlusion"]


class ExplainedWord(Record):
    """What one word of a text adds to the log-odds of the answer."""

    word: str
    share: float
    start: int = Field(description="its first character in the text")
    end: int


ABSENT = ""  # what a label is held against where a text may have several: its absence


class Explanation(Record):
    """Why one label and not the second most probable one: the log-odds, as a sum over words.

    Where a text may have several labels: why this one, and not its absence.
    """

    method: ExplanationMethod
    label: str
    against: str = Field(
        description="the second most probable label; empty where a text may have several"
    )
    log_odds: float = Field(description="ln(p of the label / p of the other); rest + all shares")
    rest: float = Field(
        description="of the text with all words blank; with occlusion also what words do together"
    )
    words: tuple[ExplainedWord, ...] = Field(description="those that the model has read")


class ClassifiedText(Record):
    """The label of one text, and how probable the model finds each label."""

    prediction: str
    probability: float = Field(description="of the prediction, 0 to 1")
    predictions: tuple[str, ...] | None = Field(
        None, description="the labels that it is given, where a text may have several"
    )
    probabilities: dict[str, float]
    unknown: int = Field(description="tokens that the model does not know")
    cut: bool = Field(description="whether the text was longer than --max-tokens")
    explanation: Explanation | None = Field(None, description="where it was asked for")
    explanations: tuple[Explanation, ...] = Field(
        (),
        description="in its place where a text may have several labels: of each that it is given, "
        "or of the most probable one where it is given none",
    )


class WordPull(Record):
    """What a word pulls to a label, over all texts: its shares of the log-odds, summed."""

    label: str
    word: str = Field(description="without case, and without marks at its edges")
    pull: float = Field(description="sum, in log-odds")
    mean: float = Field(description="of an occurrence, in log-odds")
    n: int = Field(description="occurrences in texts whose answer or second label it is")


class ExplainedWords(Result):
    """The words that pull most to each label of a classifier."""

    schema_id: Literal["rnnctl.explained-words/1"] = "rnnctl.explained-words/1"
    run: str
    method: ExplanationMethod
    texts: int
    labels: tuple[str, ...]
    several_labels: bool = Field(False, description="whether a text may have several")
    words: tuple[WordPull, ...] = Field(description="strongest first, of each label in turn")


class ScoredText(Record):
    """How likely one text is. Unknown tokens are charged with their spelling.

    Only bits per byte may be compared across tokenizers.
    """

    source: str
    nats: float
    tokens: int
    chars: int
    bytes: int
    unknown: int = 0
    spelling_nats: float = Field(0.0, description="part of nats: spelling of unknown tokens")
    nats_per_token: float | None
    perplexity: float | None = Field(description="per token; None where it overflows")
    bits_per_char: float | None
    bits_per_byte: float | None


class ScoreResult(Result):
    """Log-likelihoods of whole texts, read from a zero state or from a saved one."""

    schema_id: Literal["rnnctl.score/1"] = "rnnctl.score/1"
    run: str
    texts: tuple[ScoredText, ...]
    total: ScoredText
    read_before: int = Field(0, description="tokens read before, from --state-in")
    pending_bytes: int = Field(0, description="held in --state-out: not a whole token yet")


class Slice(Record):
    """The documents that have one value in a column, or one range of lengths."""

    value: str
    n: int = Field(description="documents")
    classification: Classification | None = None
    loss: LanguageModelLoss | None = None
    loss_ci95: tuple[float, float] | None = Field(
        None, description="nats per token; bootstrap over documents"
    )


class EvaluateResult(Result):
    """A run measured on a corpus: losses by protocol, or a classification."""

    schema_id: Literal["rnnctl.evaluate/1"] = "rnnctl.evaluate/1"
    run: str
    corpus: str = Field(description="what was read, in words")
    part: str = Field(
        description="which part of it: test, valid, train or all, or what of that the run keeps"
    )
    losses: tuple[LanguageModelLoss, ...] = ()
    classification: Classification | None = None
    by: str = Field("", description="the column that `slices` are of, or length")
    slices: tuple[Slice, ...] = ()
    cut_share: float = Field(0.0, description="documents longer than --max-tokens")
    memory: str = Field("", description="the cache, or how weights go on learning, if they do")
    documents: DocumentSums | None = Field(None, description="kept in the run only")


class TunePoint(Record):
    """One setting of a memory at test time, and the loss with it."""

    settings: str
    options: str = Field(description="that ask for it")
    loss_nats: float = Field(description="nats per token, spelling included")
    perplexity: float | None


class TuneResult(Result):
    """The settings of a cache, or of dynamic evaluation, that suit the validation text best."""

    schema_id: Literal["rnnctl.tune/1"] = "rnnctl.tune/1"
    run: str
    what: Literal["cache", "dynamic"]
    text: str = Field(description="what was read, in words")
    tokens: int
    confirmed_tokens: int = Field(
        0, description="of a longer text, on which the best has to help too; 0: there was none"
    )
    before: TunePoint = Field(description="the model alone")
    best: TunePoint | None = Field(description="None: no setting is better than the model alone")
    others: tuple[TunePoint, ...] = Field((), description="the next best, at most nine")
    tried: int


class PairGroup(Record):
    """How some minimal pairs went. Differences are nats(wrong) − nats(right): above 0 is right."""

    name: str
    n: int
    ties: int = Field(description="each counts as half right")
    accuracy: Estimate = Field(description="share of right pairs; Wilson's interval")
    difference: Estimate = Field(description="mean, in nats; bootstrap interval over pairs")
    baseline_accuracy: Estimate | None = None
    baseline_difference: Estimate | None = None


class PairProblem(Record):
    """A record that is no pair, or could not be scored."""

    source: str
    line: int
    error: str


class PairsRecord(Record):
    """How often a model finds the right sentence likelier, as far as models are compared in it."""

    digest: str = Field(description="SHA-256 of the pairs, and of what of them is compared")
    sources: tuple[str, ...] = Field(description="what was read")
    what: Literal["sentence", "critical"] = Field(
        description="whole sentences, or the words that differ"
    )
    total: PairGroup
    mean_of_phenomena: float | None = Field(None, description="mean accuracy, each counting once")
    phenomena: tuple[PairGroup, ...] = ()
    attractors: tuple[PairGroup, ...] = Field((), description="by number of attractors")
    baseline: str = Field("", description="the n-gram model beside it, in words")
    no_baseline: str = Field("", description="why there is none, where one was asked for")


class PairsResult(Result, PairsRecord):
    """Minimal pairs: how often the model finds the right sentence likelier."""

    schema_id: Literal["rnnctl.pairs/1"] = "rnnctl.pairs/1"
    run: str
    lengths: tuple[PairGroup, ...] = Field((), description="by words of the right sentence")
    unknown: int = Field(0, description="pairs with a token that the model does not know")
    problems: tuple[PairProblem, ...] = ()


class Quantised(Record):
    """What weights of one byte cost, on the same held-out text in onnxruntime."""

    bytes_float32: int = Field(description="size of the same model with weights of four bytes")
    stays_float32: str = Field("", description="what onnxruntime has no int8 operator for")
    measure: Literal["accuracy", "nats per token", ""] = ""
    part: str = Field("", description="of the corpus: test or valid")
    n: int = Field(0, description="documents, or tokens")
    float32: float | None = Field(None, description="None where the run keeps no held-out text")
    int8: float | None = None


class ExportResult(Result):
    """A run written as an ONNX graph, and how well onnxruntime agrees with the run."""

    schema_id: Literal["rnnctl.export/1"] = "rnnctl.export/1"
    run: str
    files: tuple[str, ...] = Field(description="the graph, tokenizer.json, README.md")
    bytes: int = Field(description="size of the graph")
    opset: int = Field(description="version of ONNX's operators")
    inputs: dict[str, str] = Field(description="name -> axes")
    outputs: dict[str, str] = Field(description="name -> axes")
    difference: float | None = Field(
        description="largest difference between onnxruntime's outputs and the run's own, as a "
        "share of the largest output (of 1 where all are smaller); None: not compared"
    )
    checked_with: str = Field("", description="onnxruntime and its version")
    quantised: Quantised | None = Field(None, description="with --int8")
