"""Every model family's configuration, told apart by `kind`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peluche.config import parse_as
from peluche.models.encoder_decoder import EncoderDecoderConfig

ModelConfig = EncoderDecoderConfig


def parse_model(values: Mapping[str, Any], *, where: str | None = None) -> ModelConfig:
    """The model configuration that plain values describe.

    Raises:
        ConfigError: if they describe none.
    """
    return parse_as(ModelConfig, values, where=where)
