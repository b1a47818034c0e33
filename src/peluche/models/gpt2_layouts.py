"""Where GPT-2's settings and parameters live in the folders of `transformers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peluche.models.decoder import DecoderConfig
from peluche.models.layouts import FUSED, SAME, TRANSPOSED, Conversion, Entry, known, named, require

Values = dict[str, Any]

GPT2_ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}
GPT2_ACTIVATIONS |= {"relu": "relu"}


def read_gpt2(theirs: Mapping[str, Any]) -> Values:
    """Our settings from its config.json; raises ConfigError where there is no equal."""
    for key in ("scale_attn_by_inverse_layer_idx", "add_cross_attention"):
        require(not theirs.get(key), f"{key} is true")
    require(theirs.get("scale_attn_weights", True), "scale_attn_weights is false")
    return {
        "d_model": theirs["n_embd"],
        "layers": theirs["n_layer"],
        "heads": theirs["n_head"],
        "d_ff": theirs.get("n_inner") or 4 * theirs["n_embd"],
        "activation": known(GPT2_ACTIVATIONS, theirs, "activation_function"),
        "norm_epsilon": theirs["layer_norm_epsilon"],
        "positions": "learned",
        "max_length": theirs["n_positions"],
        "dropout": theirs.get("resid_pdrop", 0.0),
        "attention_dropout": theirs.get("attn_pdrop", 0.0),
    }


def write_gpt2(config: DecoderConfig) -> Values:
    """Its config.json from our settings."""
    return {
        "n_embd": config.d_model,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.d_ff,
        "activation_function": named(GPT2_ACTIVATIONS, config.activation),
        "layer_norm_epsilon": config.norm_epsilon or 1e-5,
        "n_positions": config.max_length,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.attention_dropout,
    }


def gpt2_entries(config: DecoderConfig) -> list[Entry]:
    """Which parameters are which."""
    entries = [Entry(("decoder.positions.weight",), ("transformer.wpe.weight",))]
    modules: list[tuple[tuple[str, ...], str, Conversion]] = [
        (("decoder.norm",), "transformer.ln_f", SAME)
    ]
    for layer in range(config.layers):
        ours, theirs = f"decoder.blocks.{layer}", f"transformer.h.{layer}"
        attention = f"{ours}.self_attention"
        qkv = tuple(f"{attention}.{part}" for part in ("query", "key", "value"))
        modules += [
            ((f"{ours}.self_residual.norm",), f"{theirs}.ln_1", SAME),
            (qkv, f"{theirs}.attn.c_attn", FUSED),
            ((f"{attention}.out",), f"{theirs}.attn.c_proj", TRANSPOSED),
            ((f"{ours}.feed_forward_residual.norm",), f"{theirs}.ln_2", SAME),
            ((f"{ours}.feed_forward.up",), f"{theirs}.mlp.c_fc", TRANSPOSED),
            ((f"{ours}.feed_forward.down",), f"{theirs}.mlp.c_proj", TRANSPOSED),
        ]
    for names, module, conversion in modules:
        for kind in ("weight", "bias"):
            own = tuple(f"{name}.{kind}" for name in names)
            entries.append(Entry(own, (f"{module}.{kind}",), conversion))
    return entries
