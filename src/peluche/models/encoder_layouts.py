"""Where an encoder's settings and parameters live in the folders of `transformers`: BERT's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from peluche.errors import ConfigError
from peluche.models import layouts
from peluche.models.encoder import EncoderConfig
from peluche.models.layouts import TIED, Entry
from peluche.models.transformer import PLAIN

MODEL_TYPE = "bert"
PREFIX = "bert."
EMBEDDING, HEAD = "encoder.embedding.weight", "masked.output.weight"
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
_BLOCK = {
    "self_attention.query": "attention.self.query",
    "self_attention.key": "attention.self.key",
    "self_attention.value": "attention.self.value",
    "self_attention.out": "attention.output.dense",
    "self_residual.norm": "attention.output.LayerNorm",
    "feed_forward.up": "intermediate.dense",
    "feed_forward.down": "output.dense",
    "feed_forward_residual.norm": "output.LayerNorm",
}


class _Bert:
    """What BERT can express."""

    architecture = "BertForPreTraining"
    can: Mapping[str, tuple[object, ...]] = {
        **{key: values for key, values in PLAIN.items() if key != "norm_epsilon"},
        "kv_heads": (None,),
        "norm": ("layernorm",),
        "norm_placement": ("post",),
        "norm_input": (True,),
        "positions": ("learned",),
        "activation": tuple(dict.fromkeys(_ACTIVATIONS.values())),
        "bias": (True,),
    }


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
    kind = theirs.get("position_embedding_type", "absolute")
    if kind != "absolute" or theirs["hidden_act"] not in _ACTIVATIONS:
        raise ConfigError(
            f"this BERT has no equal here: positions {kind}, activation {theirs['hidden_act']}",
            where=where,
        )
    prefix = PREFIX if any(name.startswith(PREFIX) for name in names) else ""
    config = EncoderConfig.parse(
        {
            "d_model": theirs["hidden_size"],
            "layers": theirs["num_hidden_layers"],
            "heads": theirs["num_attention_heads"],
            "d_ff": theirs["intermediate_size"],
            "activation": _ACTIVATIONS[theirs["hidden_act"]],
            "norm_epsilon": theirs["layer_norm_eps"],
            "max_length": theirs["max_position_embeddings"],
            "segments": theirs["type_vocab_size"],
            "dropout": theirs.get("hidden_dropout_prob", 0.0),
            "attention_dropout": theirs.get("attention_probs_dropout_prob", 0.0),
            "masked": "cls.predictions.transform.dense.weight" in names,
            "next_sentence": "cls.seq_relationship.weight" in names,
        },
        where=str(where),
    )
    layouts.require_held(names, where, layers=config.layers)
    return config, _entries(config, prefix)


def write_encoder(
    config: EncoderConfig, state: Mapping[str, Tensor], vocabulary: int
) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """The class of `transformers` that expresses a model, its config.json, and its weights.

    Raises:
        ConfigError: BERT does not express the model.
    """
    layouts.find_layout(config, [_Bert()], hidden=PLAIN)
    architecture = "BertModel"
    if config.masked:
        architecture = "BertForPreTraining" if config.next_sentence else "BertForMaskedLM"
    written = {
        "model_type": MODEL_TYPE,
        "architectures": [architecture],
        "vocab_size": vocabulary,
        "hidden_size": config.d_model,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.d_ff,
        "hidden_act": next(k for k, v in _ACTIVATIONS.items() if v == config.activation),
        "layer_norm_eps": config.norm_epsilon or 1e-5,
        "max_position_embeddings": config.max_length,
        "type_vocab_size": config.segments,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
        "dtype": "float32",
    }
    prefix = PREFIX if config.masked else ""
    return architecture, written, layouts.write_entries(_entries(config, prefix), state)


def _entries(config: EncoderConfig, prefix: str) -> list[Entry]:
    embeddings = f"{prefix}embeddings"
    words = (f"{embeddings}.word_embeddings.weight",)
    tied = Entry((EMBEDDING, HEAD), words, TIED) if config.masked else Entry((EMBEDDING,), words)
    single = {
        "encoder.positions.weight": f"{embeddings}.position_embeddings.weight",
    }
    if config.segments:
        single["segments.weight"] = f"{embeddings}.token_type_embeddings.weight"
    modules = {"encoder.input_norm": f"{embeddings}.LayerNorm"}
    for layer in range(config.layers):
        ours, theirs = f"encoder.blocks.{layer}", f"{prefix}encoder.layer.{layer}"
        modules |= {f"{ours}.{name}": f"{theirs}.{other}" for name, other in _BLOCK.items()}
    if config.masked:
        modules |= {
            "masked.transform": "cls.predictions.transform.dense",
            "masked.norm": "cls.predictions.transform.LayerNorm",
        }
        single["masked.output.bias"] = "cls.predictions.bias"
    if config.next_sentence:
        modules |= {"pooler": f"{prefix}pooler.dense", "relation": "cls.seq_relationship"}
    entries = [Entry((ours,), (theirs,)) for ours, theirs in single.items()]
    return [tied, *entries] + [
        Entry((f"{ours}.{kind}",), (f"{theirs}.{kind}",))
        for ours, theirs in modules.items()
        for kind in ("weight", "bias")
    ]
