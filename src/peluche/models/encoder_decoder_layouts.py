"""Where the parameters of an encoder-decoder live in the weight files of other libraries.

One table of names for each layout, used in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.transformer import PLAIN

_ATTENTION = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"}
_SELF = {
    **{f"self_attention.{ours}": f"self_attn.{theirs}" for ours, theirs in _ATTENTION.items()},
    "self_residual.norm": "self_attn_layer_norm",
}
_CROSS = {
    **{f"cross_attention.{ours}": f"encoder_attn.{theirs}" for ours, theirs in _ATTENTION.items()},
    "cross_residual.norm": "encoder_attn_layer_norm",
}
_FEED_FORWARD = {
    "feed_forward.up": "fc1",
    "feed_forward.down": "fc2",
    "feed_forward_residual.norm": "final_layer_norm",
}
BLOCKS = {
    "encoder": {**_SELF, **_FEED_FORWARD},
    "decoder": {**_SELF, **_CROSS, **_FEED_FORWARD},
}
EMBEDDINGS = {
    "all": {
        "encoder.embedding": "model.shared",
        "decoder.embedding": "model.shared",
        "head": "model.shared",
    },
    "decoder": {
        "encoder.embedding": "model.encoder.embed_tokens",
        "decoder.embedding": "model.decoder.embed_tokens",
        "head": "model.decoder.embed_tokens",
    },
    "none": {
        "encoder.embedding": "model.encoder.embed_tokens",
        "decoder.embedding": "model.decoder.embed_tokens",
        "head": "lm_head",
    },
}
POSITIONS = "model.{stack}.embed_positions.weight"
HEAD_BIAS = "final_logits_bias"


class Layout(NamedTuple):
    """A model class of `transformers` whose arithmetic ours can equal.

    Attributes:
        model_type, architecture: what config.json calls it.
        can: the values of our settings that it can express; settings not named are free.
    """

    model_type: str
    architecture: str
    can: Mapping[str, tuple[object, ...]]


_ACTIVATIONS = ("relu", "gelu", "relu2")
LAYOUTS = (
    Layout(
        "marian",
        "MarianMTModel",
        {
            **PLAIN,
            "norm_placement": ("post",),
            "norm": ("layernorm",),
            # Its position table is computed, never saved, so a learned one would be lost.
            "positions": ("sinusoidal",),
            "activation": _ACTIVATIONS,
            "tie_embeddings": ("all", "decoder", "none"),
        },
    ),
    Layout(
        "pegasus",
        "PegasusForConditionalGeneration",
        {
            **PLAIN,
            "norm_placement": ("pre",),
            "norm": ("layernorm",),
            "positions": ("sinusoidal", "learned"),
            "activation": _ACTIVATIONS,
            # Encoder and decoder share one embedding by construction.
            "tie_embeddings": ("all",),
        },
    ),
)


def parameter_names(config: EncoderDecoderConfig) -> dict[str, str]:
    """Name in our state dict → name in the weight file; tied weights share one name there."""
    names = {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in _embeddings(config)}
    for stack, layers in _stacks(config).items():
        modules = {
            f"{stack}.blocks.{layer}.{ours}": f"model.{stack}.layers.{layer}.{theirs}"
            for layer in range(layers)
            for ours, theirs in BLOCKS[stack].items()
        }
        if config.norm_placement == "pre":
            modules[f"{stack}.norm"] = f"model.{stack}.layer_norm"
        names |= {
            f"{ours}.{kind}": f"{theirs}.{kind}"
            for ours, theirs in modules.items()
            for kind in ("weight", "bias")
        }
        if config.positions == "learned":
            names[f"{stack}.positions.weight"] = POSITIONS.format(stack=stack)
    return names


def _embeddings(config: EncoderDecoderConfig) -> list[tuple[str, str]]:
    return list(EMBEDDINGS[config.tie_embeddings].items())


def _stacks(config: EncoderDecoderConfig) -> dict[str, int]:
    return {"encoder": config.layers, "decoder": config.decoder_layers or config.layers}


def written_out(
    state: Mapping[str, Tensor], config: EncoderDecoderConfig
) -> tuple[dict[str, Tensor], EncoderDecoderConfig]:
    """The same function with key and value heads for every query head and a bias everywhere.

    Shared heads are repeated and absent biases are zeros, for layouts that know neither.
    """
    plain = config.model_copy(update={"kv_heads": None, "bias": True})
    groups = config.heads // (config.kv_heads or config.heads)
    result = dict(state)
    for name in parameter_names(plain):
        module, _, _ = name.rpartition(".")
        if name not in state:
            weight = result[f"{module}.weight"]
            result[name] = weight.new_zeros(weight.shape[0])
        elif module.endswith(("attention.key", "attention.value")):
            heads = state[name].unflatten(0, (-1, config.d_model // config.heads))
            result[name] = heads.repeat_interleave(groups, dim=0).flatten(0, 1)
    return result, plain
