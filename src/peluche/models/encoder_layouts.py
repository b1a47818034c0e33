"""Where an encoder's settings and parameters live in the folders of `transformers`: BERT's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from peluche.models import layouts
from peluche.models.encoder import EncoderConfig
from peluche.models.encoder_tables import (
    ACTIVATIONS,
    EMBEDDING,
    SEGMENTS,
    entries,
    prefixed,
    settings,
)
from peluche.models.layouts import Entry
from peluche.models.transformer import PLAIN

MODEL_TYPE = "bert"
PREFIX = "bert."
HEADS = {
    "transform": "cls.predictions.transform.dense",
    "norm": "cls.predictions.transform.LayerNorm",
    "output": "cls.predictions",
}
CAN: Mapping[str, tuple[object, ...]] = {
    **{key: values for key, values in PLAIN.items() if key != "norm_epsilon"},
    "kv_heads": (None,),
    "norm": ("layernorm",),
    "norm_placement": ("post",),
    "norm_input": (True,),
    "positions": ("learned",),
    "activation": tuple(dict.fromkeys(ACTIVATIONS.values())),
    "bias": (True,),
}


class Bert(NamedTuple):
    """What BERT can express."""

    architecture: str
    can: Mapping[str, tuple[object, ...]] = CAN


def read_encoder(
    theirs: Mapping[str, Any], names: Collection[str], where: object
) -> tuple[EncoderConfig, list[Entry]]:
    """Our config of a BERT of `transformers`, with whichever heads it has, and which parameters
    are which.

    Args:
        theirs: its config.json.
        names: of its weights.
        where: it came from, for messages.

    Raises:
        ConfigError: ours cannot equal it.
        KeyError: a setting is missing.
    """
    values = {
        **settings(theirs, where),
        "masked": "cls.predictions.transform.dense.weight" in names,
        "next_sentence": "cls.seq_relationship.weight" in names,
    }
    config = EncoderConfig.parse(values, where=str(where))
    layouts.require_held(names, where, layers=config.layers)
    return config, entries(config, prefixed(PREFIX, names), HEADS)


def write_encoder(
    config: EncoderConfig,
    state: Mapping[str, Tensor],
    vocabulary: int,
    section: str = "model",
    *,
    answers: bool = False,
) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """The class of `transformers` that expresses a model, its config.json, and its weights.

    Args:
        section: where the settings stand in a recipe, for messages.
        answers: whether `state` has a head that scores tokens as the first and last of an answer.

    Raises:
        ConfigError: BERT does not express the model.
    """
    architecture = "BertForQuestionAnswering" if answers else "BertModel"
    if config.masked:
        architecture = "BertForPreTraining" if config.next_sentence else "BertForMaskedLM"
    layouts.find_layout(config, [Bert(architecture)], PLAIN, section=section)
    if not config.segments:  # BERT always adds the embedding of some kind
        config = config.model_copy(update={"segments": 1})
        state = {**state, SEGMENTS: state[EMBEDDING].new_zeros(1, config.d_model)}
    written = {
        "model_type": MODEL_TYPE,
        "architectures": [architecture],
        "vocab_size": vocabulary,
        "hidden_size": config.d_model,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.d_ff,
        "hidden_act": layouts.named(ACTIVATIONS, config.activation),
        "layer_norm_eps": config.norm_epsilon or 1e-5,
        "max_position_embeddings": config.max_length,
        "type_vocab_size": config.segments,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
        "dtype": "float32",
    }
    table = entries(config, PREFIX if config.masked or answers else "", HEADS)
    if answers:
        parts = ("weight", "bias")
        table += [Entry((f"head.{part}",), (f"qa_outputs.{part}",)) for part in parts]
    tensors = layouts.write_entries(table, state)
    if architecture == "BertModel":  # it wants a layer for pairs, which nothing here reads
        width = config.d_model
        zeros = {"weight": torch.zeros(width, width), "bias": torch.zeros(width)}
        tensors |= {f"pooler.dense.{part}": zero for part, zero in zeros.items()}
    return architecture, written, tensors
