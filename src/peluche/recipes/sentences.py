"""The recipes of taggers and parsers: sentences with given words, and what is said of each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch

from peluche.config import Config
from peluche.data.annotation import Coding, SentenceStream
from peluche.data.batching import BatchingConfig
from peluche.data.sentences import Sentence
from peluche.data.treebanks import SentenceSource
from peluche.errors import DataError
from peluche.hub.run import RunDirectory
from peluche.metrics.entities import may_follow
from peluche.models.dependency_parser import DependencyParserConfig
from peluche.models.pretrained_encoder import PretrainedEncoderConfig
from peluche.models.span_parser import SpanParserConfig
from peluche.models.tagger import TaggerConfig
from peluche.objectives.base import Objective
from peluche.objectives.parsing import ConstituencyConfig, DependencyConfig
from peluche.objectives.tagging import TaggingConfig
from peluche.recipes.base import Assembly, Say, phase
from peluche.recipes.pretrained import EncoderRecipe, open_encoder, start_encoder
from peluche.tasks.coding import load_coding, save_coding
from peluche.tasks.evaluation import read_examples
from peluche.tasks.parse import ConstituencyAnnotator, DependencyAnnotator
from peluche.tasks.sentences import SentenceTask
from peluche.tasks.tag import SentenceTagger, measure_tags
from peluche.text.labels import Labels
from peluche.text.lexicon import Lexicon, LexiconConfig
from peluche.text.subwords import Subwords
from peluche.training.evaluators import TaskEvaluator


class SentenceData(Config):
    """Annotated sentences; `test` is scored once, at the end."""

    train: SentenceSource
    validation: SentenceSource
    test: SentenceSource | None = None


class SentenceRecipe(EncoderRecipe):
    """What recipes of taggers and parsers share."""

    data: SentenceData
    lexicon: LexiconConfig = LexiconConfig()
    batching: BatchingConfig = BatchingConfig(tokens=1024)
    model: TaggerConfig | DependencyParserConfig | SpanParserConfig
    objective: Any
    # What the validation measures beside the losses.
    figures: ClassVar[tuple[str, ...]]

    def measured(self) -> set[str]:
        return set(self.figures)

    @abstractmethod
    def coding(self, lexicon: Lexicon, sentences: Sequence[Sentence]) -> Coding:
        """The names that occur in training."""

    @abstractmethod
    def task_of(self, model: Any, coding: Coding) -> SentenceTask[Any, Any]:
        """What a model of this recipe does."""

    def assemble(self, run: RunDirectory, device: torch.device, say: Say) -> Assembly:
        with phase(run, "read the sentences", say):
            train = read_examples(self.data.train, say)
            validation = read_examples(self.data.validation, say)
        with phase(run, "learn the vocabulary", say):
            if not (run.path / "lexicon.json").exists():
                lexicon = self.lexicon.build(sentence.tokens for sentence in train)
                save_coding(run, replace(self.coding(lexicon, train), subwords=self._subwords()))
            coding = load_coding(run)
        torch.manual_seed(self.training.seed)
        model = self.model.build(coding)
        words = coding.lexicon.by_number()
        start_encoder(run, model.reader.encoder, self.model.encoder, words, say)
        model = model.to(device)
        objective: Objective = self.objective.build()
        stream = SentenceStream(lambda: train, coding, self.batching, self.training.seed, say)
        with phase(run, "encode the sentences", say):
            stream.warm()
        whole = self.batching.model_copy(update={"max_length": 10**9})
        evaluator = TaskEvaluator(
            model,
            objective,
            SentenceStream(lambda: validation, coding, whole).once(),
            self.task_of(model, coding),
            validation,
            self.figures,
        )
        facts = {"vocabulary": coding.lexicon.words, "characters": coding.lexicon.characters}
        return Assembly(model, objective, stream, evaluator, facts)

    def _subwords(self) -> Subwords | None:
        encoder = self.model.encoder
        if not isinstance(encoder, PretrainedEncoderConfig):
            return None
        return Subwords(open_encoder(encoder.model).tokenizer, encoder.longest)


class TaggingRecipe(SentenceRecipe):
    """From tagged sentences to a tagger: parts of speech, or named entities."""

    task: Literal["tagging"] = "tagging"
    model: TaggerConfig = TaggerConfig()
    objective: TaggingConfig = TaggingConfig()
    figures: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "f1_micro")

    def scored(self) -> set[str]:
        tags = list(labels_in(read_examples(self.data.train), "tags"))
        return {one.metric.name for one in measure_tags([tags], [tags], tags)}

    def coding(self, lexicon: Lexicon, sentences: Sequence[Sentence]) -> Coding:
        tags = labels_in(sentences, "tags")
        if self.model.well_formed:
            bioes = any(tag[:2] in ("E-", "S-") for tag in tags)
            for sentence in sentences:
                around = [None, *sentence.tags, None]
                if not all(may_follow(*two, bioes=bioes) for two in pairwise(around)):
                    raise DataError(
                        f"the tags of '{' '.join(sentence.tokens)}' are not well-formed",
                        where=sentence.where,
                        remedy="set scheme: bio (or bioes) on the sources, which mends them, or "
                        "model.well_formed=false",
                    )
        return Coding(lexicon, tags=tags)

    def task_of(self, model: Any, coding: Coding) -> SentenceTagger:
        return SentenceTagger(model, coding)


class DependencyRecipe(SentenceRecipe):
    """From dependency trees to a parser that also tags."""

    task: Literal["dependency_parsing"] = "dependency_parsing"
    model: DependencyParserConfig = DependencyParserConfig()
    objective: DependencyConfig = DependencyConfig()
    figures: ClassVar[tuple[str, ...]] = (
        *("loss", "heads", "relations", "tags"),
        *("uas", "las", "accuracy"),
    )

    def scored(self) -> set[str]:
        return {"uas", "las", "accuracy"}

    def coding(self, lexicon: Lexicon, sentences: Sequence[Sentence]) -> Coding:
        return Coding(
            lexicon,
            tags=labels_in(sentences, "tags"),
            relations=labels_in(sentences, "relations"),
        )

    def task_of(self, model: Any, coding: Coding) -> DependencyAnnotator:
        return DependencyAnnotator(model, coding)


class ConstituencyRecipe(SentenceRecipe):
    """From bracketed trees to a parser that also tags."""

    task: Literal["constituency_parsing"] = "constituency_parsing"
    model: SpanParserConfig = SpanParserConfig()
    objective: ConstituencyConfig = ConstituencyConfig()
    figures: ClassVar[tuple[str, ...]] = (
        *("loss", "spans", "tags"),
        *("f1_micro", "exact_match", "accuracy"),
    )

    def scored(self) -> set[str]:
        return {"f1_micro", "precision_micro", "recall_micro", "exact_match", "accuracy"}

    def coding(self, lexicon: Lexicon, sentences: Sequence[Sentence]) -> Coding:
        names = {label for sentence in sentences for _, _, label in sentence.spans}
        if not names:
            raise DataError(
                "the sentences have no constituents",
                where="the training data",
                remedy="read bracketed trees (kind: brackets)",
            )
        # Number 0 is no constituent; the empty name sorts first.
        return Coding(
            lexicon, tags=labels_in(sentences, "tags"), constituents=Labels.of({"", *names})
        )

    def task_of(self, model: Any, coding: Coding) -> ConstituencyAnnotator:
        return ConstituencyAnnotator(model, coding)


def labels_in(sentences: Sequence[Sentence], kind: Literal["tags", "relations"]) -> Labels:
    """All names of a kind that occur.

    Raises:
        DataError: there are none.
    """
    found = {name for sentence in sentences for name in getattr(sentence, kind)}
    if not found:
        raise DataError(
            f"the sentences have no {kind}",
            where="the training data",
            remedy=f"read a file that has {kind}, and the columns that they are in",
        )
    return Labels.of(found)
