"""What the settings of a GGUF file mean here, for each architecture.

Keys, their defaults and what an architecture has by its name alone are those of llama.cpp
(`llama_model::load_hparams`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from peluche.errors import ConfigError
from peluche.models.layouts import require
from peluche.models.setting_types import LENGTH, NUMBER, POSITIVE, SIZE
from peluche.nn.rotary import Llama3Scaling

Values = dict[str, Any]
# Frequencies of RoPE are divided by these, one for each pair of features.
ROPE_FACTORS = "rope_freqs.weight"
# Of Llama 3.1 and 3.2; files have the factors alone (Grattafiori et al. 2024).
LLAMA3_LENGTH = 8192


@dataclass(frozen=True)
class Settings:
    """The metadata of an architecture, without its name before each key."""

    values: Mapping[str, Any]
    architecture: str

    def __getitem__(self, key: str) -> Any:
        return self.values[f"{self.architecture}.{key}"]

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(f"{self.architecture}.{key}", default)


class Architecture(NamedTuple):
    """A kind of model that llama.cpp runs.

    Attributes:
        architecture: what the file calls it.
        own: our settings that it has by its name alone.
        paired, joined: see `peluche.models.decoder_gguf.Form`.
        more: further settings of ours.
    """

    architecture: str
    own: Mapping[str, Any]
    paired: bool = False
    joined: bool = False
    more: Callable[[Settings], Values] = lambda settings: {}


def _window(settings: Settings) -> Values:
    size = settings.get("attention.sliding_window")
    return {"window": {"size": size}} if size else {}


def _gemma2(settings: Settings) -> Values:
    return {
        "window": _pattern(settings, settings.get("attention.sliding_window", 4096), 2),
        "attention_softcap": settings.get("attn_logit_softcapping", 50.0),
        "logit_softcap": settings.get("final_logit_softcapping", 30.0),
        **_scale_of_27b(settings, layers=46),
    }


def _gemma3(settings: Settings) -> Values:
    window = _pattern(settings, settings["attention.sliding_window"], 6)
    window["rope"] = {"base": settings.get("rope.freq_base_swa", 10_000.0)}
    return {"window": window, **_scale_of_27b(settings, layers=62)}


def _pattern(settings: Settings, size: int, every: int) -> Values:
    return {"size": size, "global_every": settings.get("attention.sliding_window_pattern", every)}


def _scale_of_27b(settings: Settings, layers: int) -> Values:
    """Gemma's largest models, known by their layers, divide scores by another width."""
    if settings["block_count"] != layers:
        return {}
    width = settings["embedding_length"] // settings["attention.head_count"]
    return {"attention_scale": width**-0.5}


_RMS = {"norm": "rmsnorm", "activation": "swiglu", "positions": "rope", "bias": False}
_GEMMA = {**_RMS, "activation": "geglu_tanh", "scale_embeddings": True}
_SANDWICH = {**_GEMMA, "norm_placement": "sandwich"}
_LAYERNORM = {"norm": "layernorm", "activation": "gelu_tanh", "positions": "rope", "bias": True}
ARCHITECTURES = (
    Architecture("llama", _RMS, paired=True, more=_window),
    Architecture("qwen2", {**_RMS, "qkv_bias": True}),
    Architecture("qwen3", {**_RMS, "qk_norm": True}),
    Architecture("qwen3moe", {**_RMS, "qk_norm": True}),
    Architecture("phi3", _RMS, joined=True, more=_window),
    Architecture("gemma", _GEMMA),
    Architecture("gemma2", _SANDWICH, more=_gemma2),
    Architecture("gemma3", {**_SANDWICH, "qk_norm": True}, more=_gemma3),
    Architecture("gpt2", {**_LAYERNORM, "positions": "learned"}),
    Architecture("starcoder2", _LAYERNORM),
)
_SIZES = (
    "block_count embedding_length feed_forward_length attention.head_count "
    "attention.head_count_kv attention.key_length attention.value_length rope.dimension_count "
    "attention.sliding_window attention.sliding_window_pattern expert_count expert_used_count "
    "expert_feed_forward_length"
)
_NUMBERS = (
    "attention.layer_norm_rms_epsilon attention.layer_norm_epsilon rope.freq_base "
    "rope.freq_base_swa rope.scaling.factor rope.scale_linear rope.scaling.attn_factor "
    "rope.scaling.yarn_beta_fast rope.scaling.yarn_beta_slow attn_logit_softcapping "
    "final_logit_softcapping"
)
_LENGTHS = "context_length rope.scaling.original_context_length"
KINDS: dict[str, Any] = {
    **dict.fromkeys(_SIZES.split(), SIZE),
    **dict.fromkeys(_NUMBERS.split(), NUMBER),
    **dict.fromkeys(_LENGTHS.split(), LENGTH),
    "rope.scaling.factor": POSITIVE,
    "rope.scaling.type": str,
}
"""Of what type settings are; see `peluche.config.typed`."""


def read_settings(settings: Settings, found: Architecture, tensors: Mapping[str, Tensor]) -> Values:
    """Our settings from a file's.

    Args:
        tensors: by name; some settings are told by which there are.

    Raises:
        KeyError: a setting is missing.
        ConfigError: it has no equal here.
    """
    heads, width = settings["attention.head_count"], settings.get("attention.key_length")
    require(heads > 0, f"attention.head_count is {heads}")
    default = settings["embedding_length"] // heads
    for key in ("attention.value_length", "rope.dimension_count"):
        other, own = settings.get(key), width or default
        require(other in (None, own), f"{key} is {other}, and heads have {own} features")
    norm = "rms_epsilon" if found.own["norm"] == "rmsnorm" else "epsilon"
    values = {
        "d_model": settings["embedding_length"],
        "layers": settings["block_count"],
        "heads": heads,
        "kv_heads": settings.get("attention.head_count_kv", heads),
        "head_width": width,
        "d_ff": settings["feed_forward_length"],
        # A float32 in the file, whose decimals people wrote are these.
        "norm_epsilon": float(f"{settings[f'attention.layer_norm_{norm}']:.6g}"),
        "max_length": settings["context_length"],
        "dropout": 0.0,
        "tie_embeddings": "output.weight" not in tensors,
        **found.own,
        **found.more(settings),
        **_biases(found, tensors),
    }
    if settings.get("expert_count"):
        values["experts"] = {
            "count": settings["expert_count"],
            "active": settings["expert_used_count"],
            "d_ff": settings.get("expert_feed_forward_length") or None,
        }
    if found.own["positions"] == "rope":
        values["rope"] = {
            "base": settings.get("rope.freq_base", 10_000.0),
            "scaling": _scaling(settings, values, tensors),
        }
    return values


def _biases(found: Architecture, tensors: Mapping[str, Tensor]) -> Values:
    """Those that Llama may have, as its relatives of other names have them."""
    if found.architecture != "llama":
        return {}
    layers = ("attn_output", "ffn_up", "ffn_gate", "ffn_down")
    bias = any(f"blk.0.{name}.bias" in tensors for name in layers)
    own = "blk.0.attn_q.bias" in tensors
    # What says nothing is what folders of `transformers` can express.
    return {"bias": bias, "qkv_bias": None if own == bias else own}


def _scaling(
    settings: Settings, values: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Values | None:
    kind = settings.get("rope.scaling.type", "linear")
    factor = settings.get("rope.scaling.factor", settings.get("rope.scale_linear", 0.0))
    require(kind in ("none", "linear", "yarn"), f"rope.scaling.type is '{kind}'")
    for key in ("attn_factor", "yarn_ext_factor", "yarn_attn_factor", "yarn_log_multiplier"):
        given = settings.get(f"rope.scaling.{key}")
        require(given in (None, 1.0), f"rope.scaling.{key} is {given}")
    if ROPE_FACTORS in tensors:
        require(kind != "yarn" and factor in (0.0, 1.0), f"it has '{ROPE_FACTORS}' and a scaling")
        width = values["head_width"] or values["d_model"] // values["heads"]
        base = settings.get("rope.freq_base", 10_000.0)
        return _llama3_scaling(tensors[ROPE_FACTORS], width, base)
    if kind == "none" or factor in (0.0, 1.0):
        return None
    if kind == "linear":
        return {"kind": "linear", "factor": factor}
    original = settings.get("rope.scaling.original_context_length", settings["context_length"])
    turns = {
        "fast": settings.get("rope.scaling.yarn_beta_fast", 32.0),
        "slow": settings.get("rope.scaling.yarn_beta_slow", 1.0),
    }
    return {"kind": "yarn", "factor": factor, "original_length": original, **turns}


def _llama3_scaling(factors: Tensor, width: int, base: float) -> Values | None:
    """The scaling that gives these factors.

    Raises:
        ConfigError: there is none.
    """
    known = factors.shape == (width // 2,) and bool(factors.isfinite().all()) and len(factors) > 0
    largest = float(factors.max()) if known else 0.0
    if largest == 1.0 == float(factors.min()):
        return None
    if largest > 1:
        scaling = Llama3Scaling(factor=largest, original_length=LLAMA3_LENGTH)
        plain = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        if torch.allclose(plain / scaling.stretch(plain, base), factors.double(), rtol=1e-4):
            return scaling.model_dump()
    raise ConfigError(f"this model has no equal here: '{ROPE_FACTORS}' is none of Llama 3's")
