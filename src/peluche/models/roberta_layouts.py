"""Where an encoder's settings and parameters live in RoBERTa's folders of `transformers`.

Its layers are BERT's. Positions count from the number of [PAD] plus one, so that the first rows of
their table are of no use, and the head has other names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from peluche.config import typed
from peluche.errors import ConfigError
from peluche.models import layouts
from peluche.models.encoder import EncoderConfig
from peluche.models.encoder_tables import entries, prefixed, settings
from peluche.models.layouts import Conversion, Entry
from peluche.models.setting_types import INDEX

MODEL_TYPES = ("roberta", "xlm-roberta")
PREFIX = "roberta."
HEADS = {"transform": "lm_head.dense", "norm": "lm_head.layer_norm", "output": "lm_head"}


def read_roberta(
    theirs: Mapping[str, Any], names: Collection[str], where: object
) -> tuple[EncoderConfig, list[Entry]]:
    """Our config of a RoBERTa of `transformers`, with its head if it has one, and which parameters
    are which.

    Args:
        theirs: its config.json.
        names: of its weights.
        where: it came from, for messages.

    Raises:
        ConfigError: ours cannot equal it.
        KeyError: a setting is missing.
    """
    first = typed(theirs, {"pad_token_id": INDEX}, where).get("pad_token_id", 1) + 1
    values = settings(theirs, where)
    masked = "lm_head.dense.weight" in names
    if masked and values["activation"] != "gelu":
        raise ConfigError(
            f"this {theirs['model_type']} has no equal here: activation {theirs['hidden_act']} in "
            "its layers, gelu in its head",
            where=where,
        )
    values = {**values, "max_length": values["max_length"] - first, "masked": masked}
    config = EncoderConfig.parse(values, where=str(where))
    layouts.require_held(names, where, layers=config.layers)
    used = Conversion(lambda tensors: [tensors[0][first:]], lambda tensors: tensors)
    return config, entries(config, prefixed(PREFIX, names), HEADS, used)
