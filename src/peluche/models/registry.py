"""Every translation family's configuration, told apart by `kind`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from peluche.config import parse_as
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.pretrained_generative import PRETRAINED, PretrainedTranslationConfig
from peluche.models.recurrent_seq2seq import RecurrentSeq2seqConfig

DEFAULT_KIND = "encoder_decoder"
KINDS = (DEFAULT_KIND, "recurrent_seq2seq", PRETRAINED)


def _with_kind(values: Any) -> Any:
    return {"kind": DEFAULT_KIND, **values} if isinstance(values, Mapping) else values


AnyModelConfig = EncoderDecoderConfig | RecurrentSeq2seqConfig | PretrainedTranslationConfig

ModelConfig = Annotated[
    AnyModelConfig,
    Field(discriminator="kind"),
    BeforeValidator(_with_kind),
]


def parse_model(values: Mapping[str, Any], *, where: str | None = None) -> AnyModelConfig:
    """The model configuration that plain values describe; without a `kind` it is a Transformer.

    Raises:
        ConfigError: if they describe none.
    """
    model: AnyModelConfig = parse_as(ModelConfig, values, where=where)
    return model
