"""Where settings and parameters of Llama and its relatives live in the folders of `transformers`.

Each relative is Llama but for a few settings: `read_` and `write_` of its name add those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from peluche.models.decoder import DecoderConfig
from peluche.models.layouts import (
    FROM_ONE,
    SAME,
    STACKED,
    TWICE,
    Conversion,
    Entry,
    known,
    named,
    require,
)
from peluche.models.rope_layouts import read_rope, write_rope

Values = dict[str, Any]

LLAMA_ACTIVATIONS = {
    "silu": "swiglu",
    "gelu_pytorch_tanh": "geglu_tanh",
    "gelu": "geglu",
    "relu": "relu2",  # of which a gate is made, see TWICE
}


def read_llama(theirs: Mapping[str, Any]) -> Values:
    """Our settings from its config.json; raises ConfigError where there is no equal."""
    bias = bool(theirs.get("mlp_bias", False))
    attention_bias = bool(theirs.get("attention_bias", False))
    require(attention_bias == bias, "attention_bias and mlp_bias differ")
    activation = "hidden_activation" if "hidden_activation" in theirs else "hidden_act"
    return {
        "d_model": theirs["hidden_size"],
        "layers": theirs["num_hidden_layers"],
        "heads": theirs["num_attention_heads"],
        "kv_heads": theirs.get("num_key_value_heads"),
        "head_width": theirs.get("head_dim"),
        "d_ff": theirs["intermediate_size"],
        "activation": known(LLAMA_ACTIVATIONS, theirs, activation),
        "norm": "rmsnorm",
        "norm_epsilon": theirs["rms_norm_eps"],
        "positions": "rope",
        "max_length": theirs["max_position_embeddings"],
        "rope": read_rope(theirs),
        "dropout": 0.0,
        "attention_dropout": theirs.get("attention_dropout", 0.0),
        "bias": bias,
    }


def write_llama(config: DecoderConfig) -> Values:
    """Its config.json from our settings."""
    return {
        "hidden_size": config.d_model,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads or config.heads,
        "head_dim": config.width_of_heads,
        "intermediate_size": config.d_ff,
        "hidden_act": named(LLAMA_ACTIVATIONS, config.activation),
        "rms_norm_eps": config.norm_epsilon or 1e-6,
        "max_position_embeddings": config.max_length,
        "rope_parameters": write_rope(config.rope.model_dump()),
        "attention_dropout": config.attention_dropout,
        "attention_bias": config.bias,
        "mlp_bias": config.bias,
    }


def llama_entries(config: DecoderConfig) -> list[Entry]:
    """Which parameters are which, for all of its relatives."""
    gemma = config.norm_placement == "sandwich"
    norm = FROM_ONE if gemma else SAME
    entries = [Entry(("decoder.norm.weight",), ("model.norm.weight",), norm)]
    linears = dict(zip(("query", "key", "value", "out"), ("q", "k", "v", "o"), strict=True))
    for layer in range(config.layers):
        ours, theirs = f"decoder.blocks.{layer}", f"model.layers.{layer}"
        biased = config.bias if config.qkv_bias is None else config.qkv_bias
        for name, short in linears.items():
            own, other = f"{ours}.self_attention.{name}", f"{theirs}.self_attn.{short}_proj"
            entries.append(Entry((f"{own}.weight",), (f"{other}.weight",)))
            if config.bias if name == "out" else biased:
                entries.append(Entry((f"{own}.bias",), (f"{other}.bias",)))
        norms = {
            "self_residual.norm": "input_layernorm",
            "feed_forward_residual.norm": "post_attention_layernorm",
        }
        if gemma:
            norms = {
                "self_residual.norm": "input_layernorm",
                "self_residual.out_norm": "post_attention_layernorm",
                "feed_forward_residual.norm": "pre_feedforward_layernorm",
                "feed_forward_residual.out_norm": "post_feedforward_layernorm",
            }
        if config.qk_norm:
            norms |= {
                "self_attention.query_norm": "self_attn.q_norm",
                "self_attention.key_norm": "self_attn.k_norm",
            }
        for name, other in norms.items():
            entries.append(Entry((f"{ours}.{name}.weight",), (f"{theirs}.{other}.weight",), norm))
        entries += _feed_forward_entries(config, f"{ours}.feed_forward", theirs)
    return entries


def _feed_forward_entries(config: DecoderConfig, ours: str, theirs: str) -> list[Entry]:
    if config.experts is not None:
        module = f"{theirs}.block_sparse_moe"
        stacks = {"gate": "w1", "down": "w2", "up": "w3"}
        count = config.experts.count
        numbers, absent = range(count), Conversion(lambda _: [torch.zeros(count)], lambda _: [])
        return [
            Entry((f"{ours}.router.weight",), (f"{module}.gate.weight",)),
            Entry((f"{ours}.preference",), (), absent),
        ] + [
            Entry(
                (f"{ours}.{name}",),
                tuple(f"{module}.experts.{number}.{short}.weight" for number in numbers),
                STACKED,
            )
            for name, short in stacks.items()
        ]
    squared = config.activation == "relu2"
    names = {"up": ("gate", "up")} if squared else {"gate": ("gate",), "up": ("up",)}
    return [
        Entry(
            (f"{ours}.{name}.{kind}",),
            tuple(f"{theirs}.mlp.{other}_proj.{kind}" for other in others),
            TWICE if len(others) == 2 else SAME,
        )
        for name, others in {**names, "down": ("down",)}.items()
        for kind in (("weight", "bias") if config.bias else ("weight",))
    ]


def read_mistral(theirs: Mapping[str, Any]) -> Values:
    return {**read_llama(theirs), "window": read_window(theirs.get("sliding_window"))}


def write_mistral(config: DecoderConfig) -> Values:
    return {**write_llama(config), "sliding_window": write_window(config)}


def read_qwen2(theirs: Mapping[str, Any]) -> Values:
    return {**_read_qwen(theirs), "qkv_bias": True}


def read_qwen3(theirs: Mapping[str, Any]) -> Values:
    return {**_read_qwen(theirs), "qk_norm": True}


def _read_qwen(theirs: Mapping[str, Any]) -> Values:
    require(not theirs.get("use_sliding_window"), "use_sliding_window is true")
    return read_llama(theirs)


def write_qwen(config: DecoderConfig) -> Values:
    return {**write_llama(config), "use_sliding_window": False}


def read_mixtral(theirs: Mapping[str, Any]) -> Values:
    experts = {
        "count": theirs["num_local_experts"],
        "active": theirs["num_experts_per_tok"],
        "balance_weight": theirs.get("router_aux_loss_coef", 0.001),
    }
    return {**read_mistral(theirs), "experts": experts}


def write_mixtral(config: DecoderConfig) -> Values:
    experts = config.experts
    assert experts is not None
    for key, value in (("shared", 0), ("score", "softmax"), ("capacity", None)):
        found = getattr(experts, key)
        require(found == value, f"model.experts.{key} is {found}, not {value}")
    require(experts.balance != "bias", "model.experts.balance is bias")
    return {
        **write_mistral(config),
        "intermediate_size": experts.d_ff or config.d_ff,
        "num_local_experts": experts.count,
        "num_experts_per_tok": experts.active,
        "router_aux_loss_coef": experts.balance_weight,
    }


def read_window(size: int | None) -> Values | None:
    """The window that all layers have."""
    return None if size is None else {"size": size}


def write_window(config: DecoderConfig) -> int | None:
    """Its size.

    Raises:
        ConfigError: not all layers have it.
    """
    window = config.window
    if window is None:
        return None
    require(window.global_every is None, "model.window.global_every: some layers see everything")
    require(window.rope is None, "model.window.rope: layers turn apart")
    return window.size
