"""An encoder-decoder that was trained before, as the beginning of another run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from peluche.config import Config
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.recurrent_seq2seq import RecurrentSeq2seqConfig
from peluche.models.translation import TranslationModel

Architecture = Annotated[EncoderDecoderConfig | RecurrentSeq2seqConfig, Field(discriminator="kind")]


class PretrainedTranslationConfig(Config):
    """A trained model to go on from (Raffel et al. 2020, §2.1), with its tokenizer.

    Attributes:
        model: a run, a folder of transformers, or a name out of `peluche models list`.
        dropout: in its layers; as it was trained with if not given.
        architecture, vocabulary: of the model. A run fills them in when it begins, and needs the
            model no more.
    """

    kind: Literal["pretrained"] = "pretrained"
    model: str
    dropout: float | None = Field(None, ge=0, lt=1)
    architecture: Architecture | None = None
    vocabulary: int | None = Field(None, gt=0)

    @property
    def resolved(self) -> EncoderDecoderConfig | RecurrentSeq2seqConfig:
        """The architecture with this dropout."""
        assert self.architecture is not None, "a run fills in the architecture"
        changes = {} if self.dropout is None else {"dropout": self.dropout}
        return self.architecture.model_copy(update=changes)

    def build(self, vocabulary: int) -> TranslationModel:
        """The model with fresh weights; it has its own vocabulary."""
        return self.resolved.build(self.vocabulary or vocabulary)
