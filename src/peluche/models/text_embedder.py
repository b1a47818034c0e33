"""One vector per text: an encoder and pooling (Reimers & Gurevych 2019, §3)."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from peluche.config import Config
from peluche.models.text_encoders import TextEncoderConfig, TransformerEncoderConfig
from peluche.nn.pooling import Pooling, PoolingKind


class TextEmbedderConfig(Config):
    """An encoder, how its vectors become one, and whether that has length one."""

    kind: Literal["text_embedder"] = "text_embedder"
    encoder: TextEncoderConfig = TransformerEncoderConfig()
    pooling: PoolingKind = "mean"
    normalize: bool = True

    def build(self, vocabulary: int) -> TextEmbedder:
        """A freshly initialised model for so many tokens."""
        return TextEmbedder(self, vocabulary)


class TextEmbedder(nn.Module):
    """Reads texts; like texts get like vectors."""

    def __init__(self, config: TextEmbedderConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = config.encoder.build(vocabulary)
        self.pooling = Pooling(config.pooling, self.encoder.width, self.encoder.directions)

    def hidden(
        self, tokens: Int[Tensor, "batch length"], valid: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch width"]:
        """One vector per text; `valid` is False at padding."""
        pooled = self.pooling(self.encoder(tokens, valid), valid)
        return nn.functional.normalize(pooled, dim=-1) if self.config.normalize else pooled
