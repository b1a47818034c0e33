"""Where StarCoder2's settings and parameters live in the folders of `transformers`.

A decoder with rotary positions as Llama, and LayerNorm, biases and a plain feed-forward layer as
GPT-2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peluche.models.decoder import DecoderConfig
from peluche.models.layouts import Entry, known, named, require
from peluche.models.llama_layouts import read_window, write_window
from peluche.models.rope_layouts import read_rope, write_rope

Values = dict[str, Any]

ACTIVATIONS = {
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
    "relu2": "relu2",
}
_BLOCK = {
    "self_residual.norm": "input_layernorm",
    "self_attention.query": "self_attn.q_proj",
    "self_attention.key": "self_attn.k_proj",
    "self_attention.value": "self_attn.v_proj",
    "self_attention.out": "self_attn.o_proj",
    "feed_forward_residual.norm": "post_attention_layernorm",
    "feed_forward.up": "mlp.c_fc",
    "feed_forward.down": "mlp.c_proj",
}


def read_starcoder2(theirs: Mapping[str, Any]) -> Values:
    """Our settings from its config.json; raises ConfigError where there is no equal."""
    require(theirs.get("use_bias", True), "use_bias is false")
    return {
        "d_model": theirs["hidden_size"],
        "layers": theirs["num_hidden_layers"],
        "heads": theirs["num_attention_heads"],
        "kv_heads": theirs["num_key_value_heads"],
        "head_width": theirs.get("head_dim"),
        "d_ff": theirs["intermediate_size"],
        "activation": known(ACTIVATIONS, theirs, "hidden_act"),
        "norm_epsilon": theirs["norm_epsilon"],
        "positions": "rope",
        "max_length": theirs["max_position_embeddings"],
        "rope": read_rope(theirs),
        "window": read_window(theirs.get("sliding_window")),
        "dropout": theirs.get("residual_dropout", 0.0),
        "attention_dropout": theirs.get("attention_dropout", 0.0),
    }


def write_starcoder2(config: DecoderConfig) -> Values:
    """Its config.json from our settings."""
    return {
        "hidden_size": config.d_model,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads or config.heads,
        "head_dim": config.width_of_heads,
        "intermediate_size": config.d_ff,
        "hidden_act": named(ACTIVATIONS, config.activation),
        "norm_epsilon": config.norm_epsilon or 1e-5,
        "max_position_embeddings": config.max_length,
        "rope_parameters": write_rope(config.rope.model_dump()),
        "sliding_window": write_window(config),
        "residual_dropout": config.dropout,
        "embedding_dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "use_bias": True,
    }


def starcoder2_entries(config: DecoderConfig) -> list[Entry]:
    """Which parameters are which."""
    modules = {"decoder.norm": "model.norm"}
    for layer in range(config.layers):
        ours, theirs = f"decoder.blocks.{layer}", f"model.layers.{layer}"
        modules |= {f"{ours}.{name}": f"{theirs}.{other}" for name, other in _BLOCK.items()}
    return [
        Entry((f"{ours}.{kind}",), (f"{theirs}.{kind}",))
        for ours, theirs in modules.items()
        for kind in ("weight", "bias")
    ]
