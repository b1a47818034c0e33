"""Embedding: texts in, one vector each out; like texts have like vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from peluche.config import Config
from peluche.generation.batching import batches
from peluche.models.encoder import Encoder
from peluche.nn.pooling import Pooling
from peluche.tasks.modes import evaluating
from peluche.text.tokenizer import Tokenizer


class EmbeddingConfig(Config):
    """From the vectors of tokens to that of a text.

    Attributes:
        pooling: the mean of all tokens, or the first one's vector.
        normalize: to length one, so that products are cosines.
        max_length: longer texts are read up to here, in tokens.
        batch_tokens: padded tokens that are read at a time.
    """

    pooling: Literal["mean", "first"] = "mean"
    normalize: bool = True
    max_length: int = 512
    batch_tokens: int = 8192


class Embedder:
    """Vectors of texts by an encoder and its tokenizer."""

    def __init__(
        self, model: Encoder, tokenizer: Tokenizer, config: EmbeddingConfig = EmbeddingConfig()
    ) -> None:
        self.model, self.tokenizer, self.config = model, tokenizer, config
        self._mean = Pooling("mean", model.config.d_model)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Float[Tensor, "texts width"]:
        """A vector for each text, in order."""
        longest = min(self.config.max_length, self.model.longest or self.config.max_length)
        encoded = [
            ids if len(ids) <= longest else [*ids[: longest - 1], ids[-1]]
            for ids in self.tokenizer.encode_batch(texts, bos=True, eos=True)
        ]
        found = torch.empty(len(texts), self.model.config.d_model)
        with evaluating(self.model):
            for rows in batches([len(ids) for ids in encoded], self.config.batch_tokens):
                found[rows] = self._embed([encoded[row] for row in rows]).float().cpu()
        return found

    def _embed(self, encoded: list[list[int]]) -> Tensor:
        device = next(self.model.parameters()).device
        width = max(map(len, encoded))
        pad = max(self.tokenizer.pad_id, 0)
        tokens = torch.tensor([ids + [pad] * (width - len(ids)) for ids in encoded], device=device)
        lengths = torch.tensor([len(ids) for ids in encoded], device=device)
        valid = torch.arange(width, device=device) < lengths[:, None]
        hidden = self.model.hidden(tokens, valid=None if bool(valid.all()) else valid)
        pooled = self._mean(hidden, valid) if self.config.pooling == "mean" else hidden[:, 0]
        return torch.nn.functional.normalize(pooled, dim=-1) if self.config.normalize else pooled
