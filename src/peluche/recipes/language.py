"""The recipe of a language model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from pydantic import Field

from peluche.config import Config
from peluche.data.packing import LanguageBatch, Packed, PackedStream, PackingConfig, pack
from peluche.data.texts import TextFile
from peluche.generation.sampling import SamplingParameters
from peluche.hub.run import RunDirectory
from peluche.metrics import Score, perplexity
from peluche.metrics.perplexity import BitsPerByte
from peluche.models.decoder import DecoderConfig
from peluche.models.language_registry import LanguageModelConfig
from peluche.objectives.base import Objective
from peluche.objectives.causal import CausalConfig
from peluche.recipes.base import Assembly, Recipe, Say, log_test, phase
from peluche.tasks.complete import Completer
from peluche.text.tokenizer import TokenizerConfig
from peluche.training.evaluators import mean_losses
from peluche.training.events import EvaluateEvent

TRAIN, VALIDATION = "train.bin", "validation.bin"


class LanguageData(Config):
    """Plain texts; `test` is scored once, at the end."""

    train: TextFile
    validation: TextFile
    test: TextFile | None = None


class LanguageEvaluation(Config):
    """What is shown while training.

    Attributes:
        sample: the beginning of a text that the model goes on with; None for no sample.
        tokens: how far it goes on.
    """

    sample: str | None = None
    tokens: int = Field(60, gt=0)


class LanguageRecipe(Recipe):
    """From plain texts to a language model."""

    task: Literal["language_modelling"] = "language_modelling"
    data: LanguageData
    tokenizer: TokenizerConfig = TokenizerConfig(byte_level=True)
    model: LanguageModelConfig = DecoderConfig()
    objective: CausalConfig = CausalConfig()
    batching: PackingConfig = PackingConfig()
    evaluation: LanguageEvaluation = LanguageEvaluation()

    def measured(self) -> set[str]:
        return {"loss", "nll", "perplexity", "bits_per_byte"}

    def assemble(self, run: RunDirectory, device: torch.device, say: Say) -> Assembly:
        with phase(run, "learn the vocabulary", say):
            if not (run.path / "tokenizer.json").exists():
                run.save_tokenizer(self.tokenizer.build(_texts(self.data.train)))
            tokenizer = run.tokenizer()
        streams, packed = {}, {}
        with phase(run, "encode the corpus", say):
            for name, source in ((TRAIN, self.data.train), (VALIDATION, self.data.validation)):
                packed[name] = pack(run.path / name, _texts(source), tokenizer)
                streams[name] = PackedStream.open(
                    run.path / name, len(tokenizer), self.batching, self.training.seed
                )
        torch.manual_seed(self.training.seed)
        model = self.model.build(len(tokenizer)).to(device)
        objective = self.objective.build(getattr(self.model, "experts", None))
        batches = list(streams[VALIDATION].once())
        completer = Completer(model, tokenizer, self.batching)
        evaluator = LanguageEvaluator(
            objective, batches, packed[VALIDATION], completer, self.evaluation
        )
        facts = {"vocabulary": len(tokenizer), "tokens": packed[TRAIN].tokens}
        return Assembly(model, objective, streams[TRAIN], evaluator, facts)

    def finish(self, run: RunDirectory, parts: Assembly) -> None:
        """The encoded corpus is only of use for training."""
        for name in (TRAIN, VALIDATION):
            (run.path / name).unlink(missing_ok=True)

    def evaluate(
        self, run: RunDirectory, task: Completer, say: Say
    ) -> tuple[list[Score], list[dict[str, Any]]]:
        """Perplexity and bits per byte of the test set."""
        return log_test(run, self.data.test or self.data.validation, task, say)


def _texts(source: TextFile) -> Iterator[str]:
    return (example.text for example in source.read())


class LanguageEvaluator:
    """Loss, perplexity and bits per byte of the whole validation set; a sample."""

    def __init__(
        self,
        objective: Objective,
        batches: list[LanguageBatch],
        packed: Packed,
        completer: Completer,
        config: LanguageEvaluation,
    ) -> None:
        self.objective, self.batches, self.completer = objective, batches, completer
        self.tokens = sum(batch.target_tokens for batch in batches)
        self.bytes, self.config = packed.bytes, config

    @torch.no_grad()
    def __call__(self, step: int) -> EvaluateEvent:
        metrics = mean_losses(self.completer.model, self.objective, self.batches)
        metrics["perplexity"] = perplexity(metrics["nll"], 1)
        metrics["bits_per_byte"] = BitsPerByte.of(metrics["nll"] * self.tokens, self.bytes)
        if self.config.sample is None:
            return EvaluateEvent(step, metrics)
        prompt = self.config.sample
        said = self.completer.complete(
            [prompt], max_tokens=self.config.tokens, sampling=SamplingParameters()
        )
        return EvaluateEvent(step, metrics, ((prompt, said[0].text),))
