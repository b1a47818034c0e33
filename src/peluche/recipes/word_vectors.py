"""The recipe of word vectors."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator

from peluche.config import Config
from peluche.data.cooccurrence import CooccurrenceConfig, CooccurrenceStream, count_cooccurrences
from peluche.data.text_sources import PlainTextSource
from peluche.data.token_stream import TokenStream, encode_corpus
from peluche.data.windows import WindowConfig
from peluche.data.word_tests import WordTests
from peluche.hub.run import RunDirectory
from peluche.metrics import Score
from peluche.models.word_vectors import Glove, Word2Vec, Word2VecConfig, WordVectorsConfig
from peluche.objectives.base import Objective, UpdatingObjective
from peluche.objectives.glove import GloveLossConfig
from peluche.objectives.negative_sampling import NegativeSamplingConfig
from peluche.objectives.word_softmax import WordSoftmaxConfig
from peluche.recipes.base import Assembly, Recipe, Say, phase
from peluche.tasks.word_vectors import WordVectors
from peluche.text.vocabulary import Vocabulary, VocabularyConfig
from peluche.training.events import EvaluateEvent
from peluche.training.loop import Stream
from peluche.training.optimizers import OptimizerConfig
from peluche.training.schedules import Schedule, WarmupStableDecay

VOCABULARY, CORPUS, COUNTS = "vocabulary.json", "corpus.bin", "cooccurrence.bin"


class WordData(Config):
    """Plain texts; windows do not cross from one to the next."""

    train: PlainTextSource


class WordBatching(Config):
    """What a step of the loop is made of.

    Attributes:
        words: of the text, for word2vec.
        pairs: of words that occur near each other, for GloVe.
    """

    words: int = Field(100_000, gt=0)
    pairs: int = Field(65_536, gt=0)


class WordEvaluation(Config):
    """What is measured while training and at the end.

    Attributes:
        files: of word pairs or analogies; relative paths are looked for in PELUCHE_DATA too.
        sample: a word whose neighbours are shown.
    """

    files: tuple[Path, ...] = ()
    sample: str | None = None


WordObjective = Annotated[
    NegativeSamplingConfig | WordSoftmaxConfig | GloveLossConfig, Field(discriminator="kind")
]


class WordVectorsRecipe(Recipe):
    """From plain texts to word vectors."""

    task: Literal["word_vectors"] = "word_vectors"
    data: WordData
    vocabulary: VocabularyConfig = VocabularyConfig()
    model: WordVectorsConfig = Word2VecConfig()
    window: WindowConfig = WindowConfig()
    cooccurrence: CooccurrenceConfig = CooccurrenceConfig()
    objective: WordObjective = NegativeSamplingConfig()
    batching: WordBatching = WordBatching()
    evaluation: WordEvaluation = WordEvaluation()
    optimizer: OptimizerConfig = OptimizerConfig(kind="sgd", lr=0.025)
    schedule: Schedule = WarmupStableDecay(warmup=0, decay=1.0, floor=0.004)

    @model_validator(mode="after")
    def _objective_fits(self) -> Self:
        glove = self.model.kind == "glove"
        if glove != (self.objective.kind == "glove"):
            fitting = "glove" if glove else "negative_sampling or softmax"
            raise ValueError(
                f"objective '{self.objective.kind}' does not train a model of kind "
                f"'{self.model.kind}'; set objective.kind to {fitting}"
            )
        return self

    def measured(self) -> set[str]:
        names = [path.name.removesuffix(".gz").rsplit(".", 1)[0] for path in self.evaluation.files]
        return {f"{metric}[{name}]" for name in names for metric in ("spearman", "analogies")}

    def tested(self) -> WordTests | None:
        return WordTests(files=self.evaluation.files) if self.evaluation.files else None

    def scored(self) -> set[str]:
        found: set[str] = set()
        for test in () if (source := self.tested()) is None else source.read():
            metric = "spearman" if test.pairs else "analogies"
            found |= {f"{metric}[{test.name}]", f"coverage[{test.name}]"}
            sections = {analogy.section for analogy in test.analogies} - {""}
            found |= {f"analogies[{section}]" for section in sections}
        return found

    def assemble(self, run: RunDirectory, device: torch.device, say: Say) -> Assembly:
        with phase(run, "count the words", say):
            if not (run.path / VOCABULARY).exists():
                run.save_part(VOCABULARY, self.vocabulary.build(self._texts).save)
            vocabulary = Vocabulary.load(run.part(VOCABULARY))
        stream, words = self._stream(run, vocabulary, say)
        torch.manual_seed(self.training.seed)
        objective = self._objective(vocabulary)
        model = self.model.build(len(vocabulary))
        if not _on_cpu(self.objective):
            model = model.to(device)
        elif torch.get_num_threads() > 1:
            say(
                f"{torch.get_num_threads()} workers change the same vectors without waiting for "
                "each other: no two runs are alike bit for bit (training.threads=1: they are)"
            )
        evaluator = WordVectorsEvaluator(model, vocabulary, self.evaluation, self.measured())
        facts = {"vocabulary": len(vocabulary), "words": words}
        return Assembly(model, objective, stream, evaluator, facts)

    def _texts(self) -> Iterator[str]:
        return (example.text for example in self.data.train.read())

    def _stream(self, run: RunDirectory, vocabulary: Vocabulary, say: Say) -> tuple[Stream, int]:
        seed = self.training.seed
        path = run.path / CORPUS
        with phase(run, "encode the corpus", say):
            if not path.exists():
                encode_corpus(path, self._texts(), vocabulary)
        corpus = TokenStream(path, self.batching.words, seed)
        if self.model.kind == "word2vec":
            return corpus, corpus.length
        with phase(run, "count neighbours", say):
            counts = run.path / COUNTS
            if not counts.exists():
                count_cooccurrences(corpus, len(vocabulary), self.cooccurrence, counts)
        return (
            CooccurrenceStream(counts, len(vocabulary), self.batching.pairs, seed),
            corpus.length,
        )

    def _objective(self, vocabulary: Vocabulary) -> Objective | UpdatingObjective:
        if isinstance(self.objective, GloveLossConfig):
            return self.objective.build()
        assert isinstance(self.model, Word2VecConfig)
        skipgram = self.model.architecture == "skipgram"
        return self.objective.build(vocabulary.counts, self.window, skipgram=skipgram)

    def finish(self, run: RunDirectory, parts: Assembly) -> None:
        """The encoded corpus is only of use for training."""
        for name in (CORPUS, COUNTS):
            (run.path / name).unlink(missing_ok=True)

    def evaluate(
        self, run: RunDirectory, task: WordVectors, say: Say
    ) -> tuple[list[Score], list[dict[str, Any]]]:
        """Score the files of the evaluation."""
        losses = [event["loss"] for event in run.events() if event.get("event") == "epoch"]
        say("mean loss per epoch: " + ", ".join(f"{loss:.4f}" for loss in losses))
        return super().evaluate(run, task, say)


class WordVectorsEvaluator:
    """Scores of the files, and the neighbours of a word."""

    def __init__(
        self,
        model: Word2Vec | Glove,
        vocabulary: Vocabulary,
        config: WordEvaluation,
        measured: Collection[str],
    ) -> None:
        self.model, self.vocabulary = model, vocabulary
        self.config, self.measured = config, measured
        if config.sample is not None:
            vocabulary.number(config.sample)

    def __call__(self, step: int) -> EvaluateEvent:
        task = WordVectors(self.vocabulary, self.model.vectors(), self.model)
        metrics = {}
        if self.config.files:
            tests = list(WordTests(files=self.config.files).read())
            metrics = {one.metric: one.score for one in task.measure(tests).scores(bootstrap=0)}
        metrics = {name: score for name, score in metrics.items() if name in self.measured}
        word = self.config.sample
        if word is None:
            return EvaluateEvent(step, metrics)
        found = ", ".join(neighbour.word for neighbour in task.similar(word, 5))
        return EvaluateEvent(step, metrics, ((word, found),))


def _on_cpu(objective: Any) -> bool:
    """Whether the objective's kernel is compiled for the CPU."""
    return isinstance(objective, NegativeSamplingConfig) and objective.compiled
