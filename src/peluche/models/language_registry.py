"""Every language model family's configuration, told apart by `kind`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from peluche.models.decoder import DecoderConfig
from peluche.models.pretrained_generative import PretrainedLanguageConfig
from peluche.models.recurrent_lm import RecurrentLMConfig
from peluche.models.state_space_lm import StateSpaceLMConfig


def _with_kind(values: Any) -> Any:
    return {"kind": "decoder", **values} if isinstance(values, Mapping) else values


LanguageModelConfig = Annotated[
    DecoderConfig | RecurrentLMConfig | StateSpaceLMConfig | PretrainedLanguageConfig,
    Field(discriminator="kind"),
    BeforeValidator(_with_kind),
]
