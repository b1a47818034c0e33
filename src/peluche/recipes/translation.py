"""The recipe of a translator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, Self

import torch
from pydantic import model_validator

from peluche.config import Config
from peluche.data.batching import BatchingConfig, TranslationStream
from peluche.data.sources import Pair, SkipReport, Source
from peluche.errors import DataError
from peluche.generation.config import DecodingConfig
from peluche.hub.resolve import open_source
from peluche.hub.run import RunDirectory
from peluche.metrics import Score
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.pretrained_generative import PretrainedTranslationConfig
from peluche.models.registry import ModelConfig
from peluche.objectives.translation import TranslationConfig
from peluche.recipes.base import Assembly, Recipe, Say, log_test, phase, silent
from peluche.recipes.pretrained_generative import described, start_from
from peluche.tasks.summarise import Summariser
from peluche.tasks.translate import Translator
from peluche.text.tokenizer import Tokenizer, TokenizerConfig
from peluche.training.evaluators import EvaluationConfig, TranslationEvaluator


class DataConfig(Config):
    """The corpora of a run; `test` is translated and scored once, at the end."""

    train: Source
    validation: Source
    test: Source | None = None


class TranslationRecipe(Recipe):
    """From sentence pairs to a translator."""

    task: Literal["translation"] = "translation"
    data: DataConfig
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ModelConfig = EncoderDecoderConfig()
    objective: TranslationConfig = TranslationConfig()
    batching: BatchingConfig = BatchingConfig()
    decoding: DecodingConfig = DecodingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _decoding_fits(self) -> Self:
        if self.decoding.kind == "contrastive":
            raise ValueError(
                "contrastive search goes on with texts: translate by decoding.kind=beam, greedy or "
                "sample"
            )
        return self

    def completed(self) -> Self:
        """See `Recipe.completed`."""
        if not isinstance(self.model, PretrainedTranslationConfig):
            return self
        return self.model_copy(update={"model": described(self.model)})

    def measured(self) -> set[str]:
        return {"loss", "nll", "perplexity", *self.scored()}

    def scored(self) -> set[str]:
        return set(self.evaluation.metrics)

    def assemble(self, run: RunDirectory, device: torch.device, say: Say) -> Assembly:
        with phase(run, "read the corpus", say):
            train = _Corpus(self.data.train, self.batching.window is None, say)
            validation = read_pairs(self.data.validation, say)
        with phase(run, "learn the vocabulary", say):
            tokenizer = self._tokenizer(run, train.read)
        torch.manual_seed(self.training.seed)
        model = self.model.build(len(tokenizer)).to(device)
        if isinstance(self.model, PretrainedTranslationConfig):
            start_from(self.model, model, run, say)
        with phase(run, "encode the corpus", say):
            seed = self.training.seed
            stream = TranslationStream(train.read, tokenizer, self.batching, seed, say)
            stream.warm()
        objective = self.objective.build()
        evaluator = TranslationEvaluator(
            model,
            objective,
            TranslationStream(lambda: validation, tokenizer, self.batching),
            validation,
            Translator(model, tokenizer, self.decoding),
            self.evaluation,
        )
        return Assembly(model, objective, stream, evaluator, {"vocabulary": len(tokenizer)})

    def _tokenizer(self, run: RunDirectory, read: Callable[[], Iterator[Pair]]) -> Tokenizer:
        """The run's; else that of the model that it starts from; else one learnt from pairs."""
        if not (run.path / "tokenizer.json").exists():
            if isinstance(self.model, PretrainedTranslationConfig):
                run.save_tokenizer(open_source(self.model.model).tokenizer())
            else:
                run.save_tokenizer(
                    self.tokenizer.build(text for pair in read() for text in pair.texts)
                )
        return run.tokenizer()

    def evaluate(
        self, run: RunDirectory, task: Translator, say: Say
    ) -> tuple[list[Score], list[dict[str, Any]]]:
        """Translate and score the test set as the recipe's protocol says."""
        source = self.tested()
        assert source is not None, "a validation set is needed"
        return log_test(run, source, task, say, decoding=self.decoding.model_dump(mode="json"))


class SummaryEvaluation(EvaluationConfig):
    """The same by ROUGE."""

    metrics: tuple[str, ...] = Summariser.metrics


class SummarisationRecipe(TranslationRecipe):
    """From texts and their summaries, as pairs, to a summariser."""

    task: Literal["summarisation"] = "summarisation"  # type: ignore[assignment]
    evaluation: SummaryEvaluation = SummaryEvaluation()


class _Corpus:
    """Pairs of a source: kept after the first reading, or read anew each time."""

    def __init__(self, source: Source, keep: bool, say: Say) -> None:
        self.source = source
        self.kept = read_pairs(source, say) if keep else None

    def read(self) -> Iterator[Pair]:
        return iter(self.kept) if self.kept is not None else self.source.read()


def read_pairs(source: Source, say: Say = silent) -> list[Pair]:
    """All pairs of a source; says how many were skipped for an empty side.

    Raises:
        DataError: if there is none.
    """
    skipped = SkipReport()
    pairs = list(source.read(skipped))
    if skipped.empty:
        say(str(skipped))
    if not pairs:
        raise DataError("the corpus holds no pairs", where=source, remedy="check the files")
    return pairs
