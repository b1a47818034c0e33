"""A text encoder that was trained from nothing, in the terms of `Encoder`, which layouts know."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from peluche.models.encoder import EncoderConfig
from peluche.models.text_encoders import TransformerEncoderConfig
from peluche.models.transformer import TransformerConfig

STACK = "reader.stack."


def as_encoder(
    config: TransformerEncoderConfig, state: Mapping[str, Tensor]
) -> tuple[EncoderConfig, dict[str, Tensor]]:
    """The config and state dict of an encoder without heads that gives the same vectors.

    Its embeddings are scaled where they are read (see `Stack`); an `Encoder`'s are not. Embeddings
    of segments, which single texts do not have, are left out.
    """
    values = config.model_dump(include=set(TransformerConfig.model_fields))
    renamed = {
        f"encoder.{name.removeprefix(STACK)}": tensor
        for name, tensor in state.items()
        if name.startswith(STACK)
    }
    renamed["encoder.embedding.weight"] = state["embedding.weight"] * config.d_model**0.5
    return EncoderConfig.parse({**values, "segments": 0, "masked": False}), renamed
