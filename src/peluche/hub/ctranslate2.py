"""Encoder-decoders as folders that CTranslate2 reads, for fast translation on CPU and GPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from peluche.errors import ConfigError, MissingExtraError
from peluche.hub.exported import new_folder
from peluche.hub.tensors import bytes_needed
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.transformer import PLAIN
from peluche.nn.positions import Sinusoidal
from peluche.nn.rotary import RopeConfig
from peluche.text.tokenizer import Tokenizer

# CTranslate2 computes what lies beyond the table differently: interleaved.
SINUSOIDAL_LENGTH = 4096

_EPSILON = {"layernorm": 1e-5, "rmsnorm": 1e-6}

# Added to the logit of [PAD], [UNK] and [BOS], which are never said. Other tokens share their
# probability, which a trained model makes negligible.
_NEVER = -1e4

# (activation, gated) of the feed-forward layer; relu(x)² is relu(x)·x, a gate with equal matrices.
_ACTIVATIONS = {
    "relu": ("RELU", False),
    "gelu": ("GELU", False),
    "gelu_tanh": ("GELUTanh", False),
    "relu2": ("RELU", True),
    "swiglu": ("SWISH", True),
    "geglu": ("GELU", True),
    "geglu_tanh": ("GELUTanh", True),
}


def export_ctranslate2(
    config: EncoderDecoderConfig, state: Mapping[str, Tensor], tokenizer: Tokenizer, folder: Path
) -> str:
    """Write a model for `ctranslate2.Translator`: the same log-probabilities.

    Args:
        config, state: the model's config and state dict.
        folder: a folder that does not exist yet.

    Returns:
        The name of the class of CTranslate2 that reads it.

    Raises:
        MissingExtraError: when CTranslate2 is not installed.
        ConfigError: when CTranslate2 cannot express the model; or `folder` is in use.
        CheckpointError: when it cannot be written.
    """
    spec = _make_spec(config)
    _fill(spec, config, {name: tensor.float() for name, tensor in state.items()})
    silent = torch.zeros(len(tokenizer))
    silent[[tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id]] = _NEVER
    spec.decoder.projection.bias = silent
    spec.config.bos_token = spec.config.decoder_start_token = tokenizer.token(tokenizer.bos_id)
    spec.config.eos_token = tokenizer.token(tokenizer.eos_id)
    spec.config.unk_token = tokenizer.token(tokenizer.unk_id)
    spec.config.add_source_eos = True
    spec.config.layer_norm_epsilon = _EPSILON[config.norm]
    spec.register_source_vocabulary(tokenizer.tokens())
    spec.register_target_vocabulary(tokenizer.tokens())
    spec.validate()
    spec.optimize()
    with new_folder(folder, bytes_needed(state)) as made:
        spec.save(str(made))
        tokenizer.save(made / "tokenizer.json")
    return "Translator"


def _make_spec(config: EncoderDecoderConfig) -> Any:
    try:
        from ctranslate2.specs import transformer_spec
        from ctranslate2.specs.common_spec import Activation
    except ImportError:
        raise MissingExtraError(
            "exporting to CTranslate2 needs the package ctranslate2",
            remedy="pip install 'peluche[export]'",
        ) from None
    _require_expressible(config)
    activation, gated = _ACTIVATIONS[config.activation]
    settings: dict[str, Any] = {
        "pre_norm": config.norm_placement != "post",
        "activation": Activation[activation],
        "ffn_glu": gated,
        "rms_norm": config.norm == "rmsnorm",
        "relative_attention_bias": config.positions == "relative",
        "pre_post_layer_norm": config.norm_placement == "sandwich",
        "num_heads_kv": config.kv_heads,
    }
    if config.positions == "rope":
        settings |= {"rotary_dim": 0, "rotary_interleave": False}
    encoder = transformer_spec.TransformerEncoderSpec(config.layers, config.heads, **settings)
    if config.norm_placement == "sandwich":
        settings["external_pre_post_encoder_layers"] = True
    decoder = transformer_spec.TransformerDecoderSpec(
        config.decoder_layers or config.layers, config.heads, **settings
    )
    return transformer_spec.TransformerSpec(encoder, decoder)


def _require_expressible(config: EncoderDecoderConfig) -> None:
    if config.positions == "alibi":
        raise ConfigError(
            "CTranslate2 cannot express model.positions=alibi in an encoder",
            where="the run's config",
            remedy="train with sinusoidal, learned, rope, relative or no positions",
        )
    can = {**PLAIN, "rope": (RopeConfig(),), "norm": ("layernorm", "rmsnorm")}
    obstacles = [key for key, values in can.items() if getattr(config, key) not in values]
    if obstacles:
        settings = ", ".join(f"model.{key}={getattr(config, key)}" for key in obstacles)
        raise ConfigError(
            f"the export to CTranslate2 does not know {settings}",
            where="the run's config",
            remedy="train without, or export to another format",
        )


def _fill(spec: Any, config: EncoderDecoderConfig, state: Mapping[str, Tensor]) -> None:
    for name, stack in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        embeddings = stack.embeddings[0] if name == "encoder" else stack.embeddings
        embeddings.weight = state[f"{name}.embedding.weight"]
        stack.scale_embeddings = config.d_model**0.5
        if hasattr(stack, "position_encodings"):
            stack.position_encodings.encodings = _positions(config, state, name)
        if config.norm_placement != "post":
            _norm(stack.layer_norm, state, f"{name}.norm")
        for number, layer in enumerate(stack.layer):
            block = f"{name}.blocks.{number}"
            _fill_layer(layer, state, block)
            _fill_norms(layer, config, state, block)
            if config.positions == "relative":
                layer.self_attention.relative_attention_bias = state[f"{name}.bias.weight"]
                layer.self_attention.relative_attention_max_distance = np.int32(128)
    spec.decoder.projection.weight = state["head.weight"]


def _fill_layer(layer: Any, state: Mapping[str, Tensor], block: str) -> None:
    first, last = layer.self_attention.linear
    _linear(first, state, *(f"{block}.self_attention.{part}" for part in ("query", "key", "value")))
    _linear(last, state, f"{block}.self_attention.out")
    if hasattr(layer, "attention"):
        first, second, last = layer.attention.linear
        _linear(first, state, f"{block}.cross_attention.query")
        _linear(second, state, *(f"{block}.cross_attention.{part}" for part in ("key", "value")))
        _linear(last, state, f"{block}.cross_attention.out")
    gated = f"{block}.feed_forward.gate.weight" in state
    _linear(layer.ffn.linear_0, state, f"{block}.feed_forward.{'gate' if gated else 'up'}")
    if hasattr(layer.ffn, "linear_0_noact"):
        _linear(layer.ffn.linear_0_noact, state, f"{block}.feed_forward.up")
    _linear(layer.ffn.linear_1, state, f"{block}.feed_forward.down")


def _fill_norms(
    layer: Any, config: EncoderDecoderConfig, state: Mapping[str, Tensor], block: str
) -> None:
    if config.norm_placement == "sandwich":
        norms = {
            "self_residual.norm": layer.input_layer_norm,
            "self_residual.out_norm": layer.post_attention_layer_norm,
            "feed_forward_residual.norm": layer.pre_feedforward_layer_norm,
            "feed_forward_residual.out_norm": layer.post_feedforward_layer_norm,
        }
        if hasattr(layer, "attention"):
            norms |= {
                "cross_residual.norm": layer.external_pre_encoder_attention_layer_norm,
                "cross_residual.out_norm": layer.external_post_encoder_attention_layer_norm,
            }
    else:
        norms = {
            "self_residual.norm": layer.self_attention.layer_norm,
            "feed_forward_residual.norm": layer.ffn.layer_norm,
        }
        if hasattr(layer, "attention"):
            norms["cross_residual.norm"] = layer.attention.layer_norm
    for name, spec in norms.items():
        _norm(spec, state, f"{block}.{name}")


def _linear(spec: Any, state: Mapping[str, Tensor], *names: str) -> None:
    """One matrix from one or several below each other."""
    spec.weight = torch.cat([state[f"{name}.weight"] for name in names])
    if f"{names[0]}.bias" in state:
        spec.bias = torch.cat([state[f"{name}.bias"] for name in names])


def _norm(spec: Any, state: Mapping[str, Tensor], name: str) -> None:
    spec.gamma = state[f"{name}.weight"]
    if hasattr(spec, "beta"):
        spec.beta = state.get(f"{name}.bias", torch.zeros_like(spec.gamma))


def _positions(config: EncoderDecoderConfig, state: Mapping[str, Tensor], stack: str) -> Tensor:
    if config.positions == "learned":
        return state[f"{stack}.positions.weight"]
    table = Sinusoidal(config.d_model)(torch.arange(SINUSOIDAL_LENGTH))
    return table if config.positions == "sinusoidal" else torch.zeros_like(table)
