"""A whole model that was trained before, as the beginning of another run."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from peluche.config import Config
from peluche.models.decoder import DecoderConfig
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.recurrent_lm import RecurrentLMConfig
from peluche.models.recurrent_seq2seq import RecurrentSeq2seqConfig
from peluche.models.state_space_lm import StateSpaceLMConfig

PRETRAINED = "pretrained"


class PretrainedGenerativeConfig(Config):
    """A trained model to go on from (Raffel et al. 2020, §2.1), with its tokenizer.

    Attributes:
        model: a run, a folder of transformers, a GGUF file, or a name out of `peluche models list`.
        dropout: in its layers; as it was trained with if not given.
        architecture, vocabulary: of the model. A run fills them in when it begins, and needs the
            model no more.
        families: kinds of models that this one may start from.
        takes: what to give, for messages.
    """

    kind: Literal["pretrained"] = "pretrained"
    model: str
    dropout: float | None = Field(None, ge=0, lt=1)
    architecture: Any = None
    vocabulary: int | None = Field(None, gt=0)

    families: ClassVar[tuple[str, ...]]
    takes: ClassVar[str]

    @property
    def resolved(self) -> Any:
        """The architecture with this dropout."""
        assert self.architecture is not None, "a run fills in the architecture"
        changes = {} if self.dropout is None else {"dropout": self.dropout}
        return self.architecture.model_copy(update=changes)

    def build(self, vocabulary: int) -> Any:
        """The model with fresh weights; it has its own vocabulary."""
        return self.resolved.build(self.vocabulary or vocabulary)


class PretrainedTranslationConfig(PretrainedGenerativeConfig):
    """One that reads a text and writes another."""

    architecture: (
        Annotated[EncoderDecoderConfig | RecurrentSeq2seqConfig, Field(discriminator="kind")] | None
    ) = None

    families = ("encoder_decoder", "recurrent_seq2seq")
    takes = "a run of translation, summarisation or span_corruption, or a T5 of transformers"


class PretrainedLanguageConfig(PretrainedGenerativeConfig):
    """One that goes on with texts."""

    architecture: (
        Annotated[
            DecoderConfig | RecurrentLMConfig | StateSpaceLMConfig, Field(discriminator="kind")
        ]
        | None
    ) = None

    families = ("decoder", "recurrent_lm", "state_space_lm")
    takes = (
        "a run of language_modelling, a folder of transformers or a GGUF file of a decoder, or a "
        "name such as smollm2-135m-instruct"
    )
