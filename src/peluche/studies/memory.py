"""What recurrent nets remember: gradients by distance, and recall by length."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from peluche.config import Config
from peluche.data.batching import Position
from peluche.data.classification import ClassificationBatch
from peluche.hub.run import RunDirectory
from peluche.models.classifier import Classifier, ClassifierConfig
from peluche.models.text_encoders import (
    RecurrentEncoderConfig,
    TextEncoderConfig,
    TransformerEncoderConfig,
)
from peluche.nn.recurrent import CellKind
from peluche.objectives.classification import ClassificationConfig
from peluche.recipes.base import Say, silent
from peluche.training.config import TrainingConfig
from peluche.training.evaluators import mean_losses
from peluche.training.events import EvaluateEvent
from peluche.training.loop import Trainer
from peluche.training.optimizers import OptimizerConfig
from peluche.training.replica import Replica
from peluche.training.schedules import Constant

NETS = ("rnn", "gru", "lstm", "attention")
TESTED, MEASURED = 512, 128


class MemoryConfig(Config):
    """The recall task and how long each net may practise it.

    A sequence begins with one of `symbols` symbols; noise follows; at its end the net has to say
    which symbol it was. Chance is 1/symbols.
    """

    lengths: tuple[Annotated[int, Field(gt=1)], ...] = Field((5, 10, 20, 40, 80), min_length=1)
    symbols: int = Field(8, gt=1)
    noise: int = Field(8, gt=0, description="other tokens, none of which matters")
    width: int = Field(64, gt=0, description="of embeddings and states")
    batch: int = Field(64, gt=0)
    steps: int = Field(300, gt=0)
    lr: float = Field(3e-3, gt=0)
    seeds: int = Field(3, gt=0)

    def build(self, net: str) -> Classifier:
        """An untrained net of one layer, the first token's symbol to be told from the last state.

        Recurrent nets read from left to right. The one with attention is a Transformer layer.
        """
        return ClassifierConfig(encoder=self._encoder(net), pooling="last", dropout=0.0).build(
            self.symbols + self.noise, self.symbols
        )

    def _encoder(self, net: str) -> TextEncoderConfig:
        if net == "attention":
            return TransformerEncoderConfig(
                d_model=self.width, layers=1, heads=4, d_ff=2 * self.width, dropout=0.0
            )
        kinds: dict[str, CellKind] = {"rnn": "rnn", "gru": "gru", "lstm": "lstm"}
        return RecurrentEncoderConfig(
            cell=kinds[net],
            embedding=self.width,
            hidden=self.width,
            bidirectional=False,
            dropout=0.0,
        )


class Recall:
    """Endless batches of the task: the same seed gives the same ones."""

    def __init__(self, config: MemoryConfig, length: int, seed: int) -> None:
        self.config, self.length, self.seed = config, length, seed

    def draw(self, rows: int, number: int) -> ClassificationBatch:
        """`rows` sequences; `number` tells draws apart."""
        config = self.config
        random = np.random.default_rng([self.seed, self.length, number])
        labels = torch.from_numpy(random.integers(config.symbols, size=rows))
        noise = random.integers(config.noise, size=(rows, self.length))
        tokens = torch.from_numpy(config.symbols + noise)
        tokens[:, 0] = labels
        return ClassificationBatch(tokens, torch.ones_like(tokens, dtype=torch.bool), None, labels)

    def batches(self, position: Position) -> Iterator[tuple[ClassificationBatch, Position]]:
        number = position.batch
        while True:
            number += 1
            yield self.draw(self.config.batch, number), Position(batch=number)

    def batches_per_epoch(self) -> int:
        return self.config.steps


def practise(config: MemoryConfig, net: str, length: int, seed: int) -> tuple[Classifier, float]:
    """A net trained on sequences of one length, and how many of others it recalls, in percent."""
    torch.manual_seed(seed)
    model, recall = config.build(net), Recall(config, length, seed)
    objective = ClassificationConfig().build()
    tests = [recall.draw(TESTED, 0)]

    def evaluate(step: int) -> EvaluateEvent:
        return EvaluateEvent(step, mean_losses(model, objective, tests), ())

    training = TrainingConfig(
        steps=config.steps, evaluate_every=config.steps, checkpoint_every=config.steps
    )
    optimizer = OptimizerConfig(lr=config.lr, betas=(0.9, 0.99), weight_decay=0.0).build(model)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.create(Path(folder) / "run", {"model": model.config.model_dump()})
        schedule = Constant(warmup=min(20, config.steps))
        replica = Replica(model, objective)
        Trainer(run, replica, recall, optimizer, schedule, training, evaluate).fit()
    model.eval()
    with torch.no_grad():
        return model, evaluate(config.steps).metrics["accuracy"]


def gradient_norms(model: Classifier, batch: ClassificationBatch) -> list[float]:
    """How much the last state h_T depends on the vector x that was read d tokens earlier.

    Estimates ‖∂h_T/∂x_{T−d}‖ (Frobenius), d = 0, 1, …: with u ~ N(0, I), the mean of ‖uᵀJ‖² is
    ‖J‖². Where these fall like a power of d's base, there is nothing to learn from (Bengio et al.
    1994, "Learning long-term dependencies with gradient descent is difficult").
    """
    read: list[Tensor] = []

    def keep(module: object, inputs: object, output: Tensor) -> None:
        output.retain_grad()
        read.append(output)

    embedding = model.encoder.embedding
    assert isinstance(embedding, nn.Module)
    handle = embedding.register_forward_hook(keep)
    try:
        state = model.hidden(batch.tokens, batch.valid)
    finally:
        handle.remove()
    generator = torch.Generator().manual_seed(0)
    state.backward(torch.randn(state.shape, generator=generator))
    model.zero_grad(set_to_none=True)
    gradient = read[0].grad
    assert gradient is not None, "the state depends on what was read"
    squares = gradient.double().square().sum(-1).mean(0)
    return squares.sqrt().flip(0).tolist()


def study_memory(config: MemoryConfig, say: Say = silent) -> dict[str, Any]:
    """Gradients and recall of every net, as plain numbers.

    Returns:
        `gradients`: net → before and after training → by distance, over sequences of the longest
        length; `recall`: net → length → percent right, a figure per seed; and the `config`.
    """
    longest = max(config.lengths)
    gradients: dict[str, dict[str, list[float]]] = {}
    recall: dict[str, dict[str, list[float]]] = {}
    for net in NETS:
        batch = Recall(config, longest, 0).draw(MEASURED, 0)
        torch.manual_seed(0)
        gradients[net] = {"before": gradient_norms(config.build(net).eval(), batch)}
        recall[net] = {}
        for length in config.lengths:
            scores = []
            for seed in range(config.seeds):
                model, score = practise(config, net, length, seed)
                scores.append(score)
                if length == longest and seed == 0:
                    gradients[net]["after"] = gradient_norms(model, batch)
            recall[net][str(length)] = scores
            shown = ", ".join(f"{score:.1f}" for score in scores)
            say(f"{net}, length {length}: {shown} % recalled")
    return {
        "study": "memory",
        "config": config.model_dump(mode="json"),
        "gradients": gradients,
        "recall": recall,
    }
