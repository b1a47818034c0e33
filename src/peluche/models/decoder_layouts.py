"""Decoders from and to the folders of `transformers`, by the tables of `decoder_tables`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from peluche.models import layouts
from peluche.models.decoder import DecoderConfig
from peluche.models.decoder_tables import LAYOUTS, DecoderLayout
from peluche.models.layouts import TIED, Entry
from peluche.models.transformer import PLAIN

EMBEDDING, HEAD = "decoder.embedding.weight", "head.weight"
Values = dict[str, Any]


def read_decoder(
    theirs: Mapping[str, Any], names: Collection[str], where: object
) -> tuple[DecoderConfig, list[Entry]]:
    """Our config of a model of `transformers`, and which parameters are which.

    Args:
        theirs: its config.json.
        names: of its weights.
        where: it came from, for messages.

    Raises:
        ConfigError: it is of another type, or ours cannot equal it.
        KeyError: a setting is missing.
    """
    layout = next(one for one in LAYOUTS if one.model_type == theirs.get("model_type"))
    # A head that is there and is no embedding was trained apart, whatever the config says.
    tied = bool(
        theirs.get("tie_word_embeddings", layout.model_type in ("gpt2", "starcoder2", "gemma2"))
    )
    values = {**layout.read(theirs), "tie_embeddings": tied}
    config = DecoderConfig.parse(values, where=str(where))
    experts = config.experts.count if config.experts else 0
    layouts.require_held(names, where, layers=config.layers, experts=experts)
    return config, _all_entries(layout, config)


def write_decoder(
    config: DecoderConfig, state: Mapping[str, Tensor], vocabulary: int
) -> tuple[DecoderLayout, Values, dict[str, Tensor]]:
    """The layout that expresses a model, its config.json, and its weights.

    Raises:
        ConfigError: no layout expresses the model.
    """
    layout = layouts.find_layout(config, LAYOUTS, PLAIN)
    written = {
        "model_type": layout.model_type,
        "architectures": [layout.architecture],
        "vocab_size": vocabulary,
        "tie_word_embeddings": config.tie_embeddings,
        **layout.write(config),
        "dtype": "float32",
    }
    return layout, written, layouts.write_entries(_all_entries(layout, config), state)


def _all_entries(layout: DecoderLayout, config: DecoderConfig) -> list[Entry]:
    embedding, head = layout.names
    if config.tie_embeddings:
        return [Entry((EMBEDDING, HEAD), (embedding,), TIED), *layout.entries(config)]
    ends = Entry((EMBEDDING,), (embedding,)), Entry((HEAD,), (head,))
    return [ends[0], *layout.entries(config), ends[1]]
