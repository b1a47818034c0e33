"""Where Gemma's settings live in the folders of `transformers`; its parameters lie as Llama's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from peluche.models.decoder import DecoderConfig
from peluche.models.layouts import require
from peluche.models.llama_layouts import read_llama, write_llama
from peluche.models.rope_layouts import read_rope, write_rope

Values = dict[str, Any]


def read_gemma2(theirs: Mapping[str, Any]) -> Values:
    return {
        **read_llama(theirs),
        "norm_placement": "sandwich",
        "scale_embeddings": True,
        "attention_scale": theirs["query_pre_attn_scalar"] ** -0.5,
        "attention_softcap": theirs.get("attn_logit_softcapping"),
        "logit_softcap": theirs.get("final_logit_softcapping"),
        "window": _pattern(theirs.get("sliding_window"), theirs.get("layer_types"), every=2),
    }


def write_gemma2(config: DecoderConfig) -> Values:
    window = config.window
    require(
        window is None or window.rope in (None, config.rope), "model.window.rope: layers turn apart"
    )
    return _write_gemma(config)


def _write_gemma(config: DecoderConfig) -> Values:
    values = write_llama(config)
    values["hidden_activation"] = values.pop("hidden_act")
    scale = config.attention_scale or config.width_of_heads**-0.5
    scalar = round(scale**-2)
    require(math.isclose(scalar**-0.5, scale), f"model.attention_scale {scale} is no 1/√integer")
    return {
        **values,
        "query_pre_attn_scalar": scalar,
        "attn_logit_softcapping": config.attention_softcap,
        "final_logit_softcapping": config.logit_softcap,
        "sliding_window": config.window.size if config.window else config.max_length,
        "layer_types": [
            "full_attention" if window is None else "sliding_attention"
            for window in config.windows(config.layers)
        ],
    }


def read_gemma3(theirs: Mapping[str, Any]) -> Values:
    values = read_gemma2(
        {**theirs, "rope_parameters": None, "rope_theta": 10_000.0, "layer_types": None}
    )
    given = theirs.get("rope_parameters") or {}
    if "full_attention" in given:
        everywhere = read_rope(theirs, "full_attention")
        near = read_rope(theirs, "sliding_attention")
    else:
        everywhere = read_rope(theirs)
        near = {"base": theirs.get("rope_local_base_freq", 10_000.0)}
    every = theirs.get("_sliding_window_pattern", theirs.get("sliding_window_pattern", 6))
    window = _pattern(theirs.get("sliding_window"), theirs.get("layer_types"), every=every)
    if window is not None:
        window = {**window, "rope": near}
    return {**values, "qk_norm": True, "rope": everywhere, "window": window}


def write_gemma3(config: DecoderConfig) -> Values:
    window = config.window
    near = config.rope if window is None or window.rope is None else window.rope
    every = None if window is None else window.global_every
    return {
        **_write_gemma(config),
        "rope_parameters": {
            "full_attention": write_rope(config.rope.model_dump()),
            "sliding_attention": write_rope(near.model_dump()),
        },
        "_sliding_window_pattern": every or config.layers + 1,
    }


def _pattern(size: int | None, types: list[str] | None, every: int) -> Values | None:
    """The window of models whose layers take turns."""
    if size is None:
        return None
    if types is None:
        return {"size": size, "global_every": every}
    everywhere = [number for number, kind in enumerate(types, 1) if kind == "full_attention"]
    if len(everywhere) == len(types):
        return None
    first = everywhere[0] if everywhere else None
    regular = first is None or everywhere == list(range(first, len(types) + 1, first))
    require(regular, "layer_types follow no pattern")
    return {"size": size, "global_every": first}
