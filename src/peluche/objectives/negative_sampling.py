"""Negative sampling: tell the word that is there from a few that are not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional as F

from peluche.config import Config
from peluche.data.token_stream import TokenChunk
from peluche.data.windows import WindowConfig, draw_windows
from peluche.models.word_vectors import Word2Vec
from peluche.objectives.base import Losses, Term
from peluche.objectives.noise import alias_table, keep_probabilities

# Pieces of a chunk that workers take in turn, so that a slow one does not keep the others waiting.
PIECES, SMALLEST_PIECE = 16, 4000
# Windows that torch handles at a time. A word in several of them moves by the sum, which must not
# grow too large: of few words, there are few at a time.
WINDOWS, WORDS_PER_WINDOW = 64, 64


class NegativeSamplingConfig(Config):
    """Some words by chance against the one that is there (Mikolov et al. 2013, arXiv 1310.4546).

    Attributes:
        negatives: words by chance, the same for all pairs of a window.
        power: they are drawn by count to this power (§2.2).
        kernel: compiled by numba, or plain torch; `auto` is numba where it is installed.
    """

    kind: Literal["negative_sampling"] = "negative_sampling"
    negatives: int = Field(5, gt=0)
    power: float = Field(0.75, ge=0)
    kernel: Literal["auto", "numba", "torch"] = "auto"

    @field_validator("kernel")
    @classmethod
    def _kernel_is_installed(cls, kernel: str) -> str:
        if kernel == "numba" and find_spec("numba") is None:
            raise ValueError("numba is not installed: pip install 'peluche[vectors]', or use auto")
        return kernel

    @property
    def compiled(self) -> bool:
        """Whether numba's kernel does it, on the CPU."""
        return self.kernel != "torch" and find_spec("numba") is not None

    def build(
        self, counts: NDArray[np.int64], window: WindowConfig, *, skipgram: bool
    ) -> NegativeSampling:
        """For words with these counts."""
        return NegativeSampling(self, counts, window, skipgram)


class NegativeSampling:
    """Term `loss` in nats per prediction: −log σ(x·w) − Σ log σ(−x·noise). Updates by itself.

    Plain gradient descent, pair by pair (numba) or some windows at a time (torch). In a continuous
    bag of words every word of the context moves by the whole gradient of their mean instead of its
    share, as in the authors' code. With several threads the kernel's workers change the same tables
    without locks (Hogwild, Recht et al. 2011), and no two runs are alike bit for bit.
    """

    def __init__(
        self,
        config: NegativeSamplingConfig,
        counts: NDArray[np.int64],
        window: WindowConfig,
        skipgram: bool,
    ) -> None:
        self.config, self.window, self.skipgram = config, window, skipgram
        self.keep = keep_probabilities(counts, window.subsample)
        self.noise = alias_table(np.maximum(counts, 1).astype(np.float64) ** config.power)
        self.workers = torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None

    def update(self, model: Word2Vec, batch: TokenChunk, rate: float) -> Losses:
        """Go over the chunk once."""
        learn = self._compiled if self.config.compiled else self._plain
        with torch.no_grad():
            total, count = learn(model, batch, rate)
        return Losses({"loss": Term(torch.tensor(total, dtype=torch.float64), count)})

    def _compiled(self, model: Word2Vec, chunk: TokenChunk, rate: float) -> tuple[float, float]:
        from peluche.objectives.negative_sampling_kernel import train

        self._pool = self._pool or ThreadPoolExecutor(self.workers)
        inputs, outputs = model.inputs.weight.numpy(), model.outputs.weight.numpy()

        def work(number: int, tokens: NDArray[np.int32]) -> NDArray[np.float64]:
            totals = np.zeros(2)
            seed = np.uint64((chunk.seed * PIECES + number) % 2**64)
            train(
                *(tokens, inputs, outputs, self.keep, *self.noise, self.config.negatives),
                *(
                    self.window.size,
                    self.window.dynamic,
                    self.skipgram,
                    np.float32(rate),
                    seed,
                    totals,
                ),
            )
            return totals

        number = min(PIECES, max(1, len(chunk.tokens) // SMALLEST_PIECE))
        pieces = np.array_split(chunk.tokens.numpy(), number)
        total, count = np.sum(list(self._pool.map(work, range(number), pieces)), axis=0)
        return float(total), float(count)

    def _plain(self, model: Word2Vec, chunk: TokenChunk, rate: float) -> tuple[float, float]:
        inputs, outputs = model.inputs.weight, model.outputs.weight
        windows = draw_windows(chunk, self.window, torch.from_numpy(self.keep).to(inputs.device))
        noise = self._noise(len(windows.centers), chunk.seed).to(inputs.device)
        total = count = 0.0
        at_once = max(1, min(WINDOWS, len(inputs) // WORDS_PER_WINDOW))
        for rows in torch.arange(len(noise), device=inputs.device).split(at_once):
            centers, contexts, valid = (part[rows] for part in windows)
            targets = torch.cat([centers[:, None], noise[rows]], 1)
            said = outputs[targets]
            if self.skipgram:
                read, predictions = inputs[contexts], valid
            else:
                read, predictions = model.hidden(contexts, valid)[:, None], valid[:, :1] | True
            # Noise that happens to be the true word does not count.
            counted = targets != centers[:, None]
            counted[:, 0] = True
            weight = predictions[:, :, None] & counted[:, None]
            scores = read @ said.transpose(1, 2)
            true = torch.zeros_like(scores)
            true[:, :, 0] = 1
            losses = F.binary_cross_entropy_with_logits(scores, true, reduction="none")
            total += float((losses * weight).sum(dtype=torch.float64))
            count += float(predictions.sum())
            steps = (true - scores.sigmoid()) * weight * rate
            change = (steps @ said * valid[:, :, None]).flatten(0, 1)
            outputs.index_add_(0, targets.flatten(), (steps.transpose(1, 2) @ read).flatten(0, 1))
            inputs.index_add_(0, contexts.flatten(), change)
        return total, count

    def _noise(self, windows: int, seed: int) -> Tensor:
        """(windows, negatives) words by chance."""
        random = np.random.default_rng([seed, 1])
        shape = (windows, self.config.negatives)
        column = random.integers(0, len(self.keep), shape)
        other = random.random(shape, dtype=np.float32) >= self.noise.probability[column]
        return torch.from_numpy(np.where(other, self.noise.alias[column], column))
