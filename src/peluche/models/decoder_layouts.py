"""Decoders from and to the folders of `transformers`, by the tables of `decoder_tables`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from peluche.models import layouts
from peluche.models.decoder import DecoderConfig
from peluche.models.decoder_tables import LAYOUTS, DecoderLayout
from peluche.models.layouts import Entry
from peluche.models.transformer import PLAIN

EMBEDDING, HEAD = "decoder.embedding.weight", "head.weight"
Values = dict[str, Any]


def read_decoder(
    theirs: Mapping[str, Any], tensors: Mapping[str, Tensor], where: object
) -> tuple[DecoderConfig, dict[str, Tensor]]:
    """Our config and state dict of a model of `transformers`.

    Args:
        theirs: its config.json.
        tensors: its weights.
        where: it came from, for messages.

    Raises:
        ConfigError: it is of another type, or ours cannot equal it.
        CheckpointError: a setting or a tensor is missing.
    """
    layout = next(one for one in LAYOUTS if one.model_type == theirs.get("model_type"))
    # A head that is there and is no embedding was trained apart, whatever the config says.
    tied = bool(
        theirs.get("tie_word_embeddings", layout.model_type in ("gpt2", "starcoder2", "gemma2"))
    )
    values = {**layout.read(theirs), "tie_embeddings": tied}
    config = DecoderConfig.parse(values, where=str(where))
    state = layouts.read_entries(_all_entries(layout, config), tensors, where)
    if tied:
        state[HEAD] = state[EMBEDDING]
    if config.experts is not None:
        for layer in range(config.layers):
            name = f"decoder.blocks.{layer}.feed_forward.preference"
            state[name] = tensors[layout.names[0]].new_zeros(config.experts.count)
    return config, state


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
    entries = [Entry((EMBEDDING,), (layout.names[0],)), *layout.entries(config)]
    if not config.tie_embeddings:
        entries.append(Entry((HEAD,), (layout.names[1],)))
    return entries
