"""Where an encoder's settings and parameters live in RoBERTa's folders of `transformers`.

Its layers are BERT's. Positions count from the number of [PAD] plus one, so that the first rows of
their table are of no use, and the head has other names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from peluche.errors import ConfigError
from peluche.models.encoder import EncoderConfig
from peluche.models.encoder_tables import POSITIONS, read_state, settings

MODEL_TYPES = ("roberta", "xlm-roberta")
PREFIX = "roberta."
HEADS = {"transform": "lm_head.dense", "norm": "lm_head.layer_norm", "output": "lm_head"}


def read_roberta(
    theirs: Mapping[str, Any], tensors: Mapping[str, Tensor], where: object
) -> tuple[EncoderConfig, dict[str, Tensor]]:
    """Our config and state dict of a RoBERTa of `transformers`, with its head if it has one.

    Args:
        theirs: its config.json.
        tensors: its weights.
        where: it came from, for messages.

    Raises:
        ConfigError: ours cannot equal it.
        CheckpointError: a tensor is missing.
    """
    first = theirs.get("pad_token_id", 1) + 1
    values = settings(theirs, where)
    masked = "lm_head.dense.weight" in tensors
    if masked and values["activation"] != "gelu":
        raise ConfigError(
            f"this {theirs['model_type']} has no equal here: activation {theirs['hidden_act']} in "
            "its layers, gelu in its head",
            where=where,
        )
    values = {**values, "max_length": values["max_length"] - first, "masked": masked}
    config = EncoderConfig.parse(values, where=str(where))
    state = read_state(config, tensors, PREFIX, HEADS, where)
    return config, {**state, POSITIONS: state[POSITIONS][first:]}
