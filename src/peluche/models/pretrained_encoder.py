"""An encoder that was trained before, as the beginning of another model."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from peluche.config import Config
from peluche.models.encoder import Encoder, EncoderConfig


class PretrainedEncoderConfig(Config):
    """A trained encoder to go on from (Devlin et al. 2019, §3.2), with its tokenizer.

    Attributes:
        model: a run, a folder of transformers, or a name out of `peluche models list`.
        rate: at which share of the learning rate it learns; 0 leaves it as it is.
        dropout: in its layers.
        architecture, vocabulary: of the model. A run fills them in when it begins, and needs the
            model no more.
    """

    kind: Literal["pretrained"] = "pretrained"
    model: str
    rate: float = Field(1.0, ge=0, le=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    architecture: EncoderConfig | None = None
    vocabulary: int | None = Field(None, gt=0)

    @property
    def longest(self) -> int | None:
        """The most tokens that it reads, None for any number."""
        found = self.architecture
        assert found is not None, "a run fills in the architecture"
        return found.max_length if found.positions == "learned" else None

    def build(self, vocabulary: int, features: int = 0) -> PretrainedEncoder:
        """The model with fresh weights. It has its own vocabulary, and reads no other features."""
        found = self.architecture
        assert found is not None, "a run fills in the architecture"
        headless = {"dropout": self.dropout, "masked": False, "next_sentence": False}
        model = found.model_copy(update=headless).build(self.vocabulary or vocabulary)
        return PretrainedEncoder(model, self.rate)


# Parts of an `Encoder` that are not taken on.
HEADS = ("masked.", "pooler.", "relation.")


class PretrainedEncoder(nn.Module):
    """An `Encoder` with the surface of a `TextEncoder`.

    Args:
        model: without heads.
        rate: see `PretrainedEncoderConfig`; at 0 nothing of it learns and nothing is dropped.

    Attributes:
        begins: texts begin with [BOS], as it has learnt it.
    """

    begins = True
    directions = 1

    def __init__(self, model: Encoder, rate: float = 1.0) -> None:
        super().__init__()
        self.model, self.rate_share = model, rate
        self.width = model.config.d_model
        self.model.requires_grad_(rate > 0)

    def train(self, mode: bool = True) -> PretrainedEncoder:
        super().train(mode and self.rate_share > 0)
        return self

    def forward(
        self,
        tokens: Int[Tensor, "batch length"],
        valid: Bool[Tensor, "batch length"],
        segments: Int[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """Vectors of the tokens; `segments` tells the texts of a pair apart (0 and 1)."""
        return self.model.hidden(
            tokens,
            valid=None if bool(valid.all()) else valid,
            segments=segments if self.model.config.segments > 1 else None,
        )
