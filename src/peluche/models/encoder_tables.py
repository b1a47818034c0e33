"""Which settings and parameters BERT and its relatives have in the folders of `transformers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from peluche.errors import ConfigError
from peluche.models.encoder import EncoderConfig
from peluche.models.layouts import Entry, read_entries

EMBEDDING, HEAD = "encoder.embedding.weight", "masked.output.weight"
POSITIONS, SEGMENTS = "encoder.positions.weight", "segments.weight"
ACTIVATIONS = {
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


def settings(theirs: Mapping[str, Any], where: object) -> dict[str, Any]:
    """Our settings from the config.json of BERT or a relative.

    Raises:
        ConfigError: ours cannot equal it.
    """
    kind = theirs.get("position_embedding_type", "absolute")
    if kind != "absolute" or theirs["hidden_act"] not in ACTIVATIONS:
        raise ConfigError(
            f"this {theirs['model_type']} has no equal here: "
            f"positions {kind}, activation {theirs['hidden_act']}",
            where=where,
        )
    return {
        "d_model": theirs["hidden_size"],
        "layers": theirs["num_hidden_layers"],
        "heads": theirs["num_attention_heads"],
        "d_ff": theirs["intermediate_size"],
        "activation": ACTIVATIONS[theirs["hidden_act"]],
        "norm_epsilon": theirs["layer_norm_eps"],
        "max_length": theirs["max_position_embeddings"],
        "segments": theirs["type_vocab_size"],
        "dropout": theirs.get("hidden_dropout_prob", 0.0),
        "attention_dropout": theirs.get("attention_probs_dropout_prob", 0.0),
    }


def read_state(
    config: EncoderConfig,
    tensors: Mapping[str, Tensor],
    prefix: str,
    heads: Mapping[str, str],
    where: object,
) -> dict[str, Tensor]:
    """Our state dict.

    Args:
        prefix: of names in folders with a head.
        heads: what the parts of a head are called that says what stands at a token.

    Raises:
        CheckpointError: a tensor is missing.
    """
    prefix = prefix if any(name.startswith(prefix) for name in tensors) else ""
    state = read_entries(entries(config, prefix, heads), tensors, where)
    return {**state, HEAD: state[EMBEDDING]} if config.masked else state


def entries(config: EncoderConfig, prefix: str, heads: Mapping[str, str]) -> list[Entry]:
    """Which parameters are which; see `read_state`."""
    embeddings = f"{prefix}embeddings"
    single = {
        EMBEDDING: f"{embeddings}.word_embeddings.weight",
        POSITIONS: f"{embeddings}.position_embeddings.weight",
    }
    if config.segments:
        single[SEGMENTS] = f"{embeddings}.token_type_embeddings.weight"
    modules = {"encoder.input_norm": f"{embeddings}.LayerNorm"}
    for layer in range(config.layers):
        ours, theirs = f"encoder.blocks.{layer}", f"{prefix}encoder.layer.{layer}"
        modules |= {f"{ours}.{name}": f"{theirs}.{other}" for name, other in _BLOCK.items()}
    if config.masked:
        modules |= {f"masked.{name}": heads[name] for name in ("transform", "norm")}
        single["masked.output.bias"] = f"{heads['output']}.bias"
    if config.next_sentence:
        modules |= {"pooler": f"{prefix}pooler.dense", "relation": "cls.seq_relationship"}
    return [Entry((ours,), (theirs,)) for ours, theirs in single.items()] + [
        Entry((f"{ours}.{kind}",), (f"{theirs}.{kind}",))
        for ours, theirs in modules.items()
        for kind in ("weight", "bias")
    ]
