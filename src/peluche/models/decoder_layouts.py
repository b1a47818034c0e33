"""Where a decoder's settings and parameters live in the folders of `transformers`.

GPT-2 has names of its own. All others are variations of Llama's, so that one table serves them, and
a layout says in what it differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from peluche.errors import ConfigError
from peluche.models import layouts
from peluche.models.decoder import DecoderConfig
from peluche.models.layouts import FROM_ONE, FUSED, SAME, STACKED, TRANSPOSED, Entry
from peluche.models.transformer import PLAIN

EMBEDDING, HEAD = "decoder.embedding.weight", "head.weight"
Values = dict[str, Any]


class DecoderLayout(NamedTuple):
    """A model class of `transformers` whose arithmetic ours can equal.

    Attributes:
        model_type, architecture: what config.json calls it.
        can: the values of our settings that it can express; settings not named are free.
        read: our settings from its config.json.
        write: config.json from our settings.
        entries: the table of parameters, without those of the embedding and the head.
        names: of the embedding and the head.
    """

    model_type: str
    architecture: str
    can: Mapping[str, tuple[object, ...]]
    read: Callable[[Mapping[str, Any]], Values]
    write: Callable[[DecoderConfig], Values]
    entries: Callable[[DecoderConfig], list[Entry]]
    names: tuple[str, str] = ("model.embed_tokens.weight", "lm_head.weight")


# --- GPT-2 ------------------------------------------------------------------------------------

_GPT2_ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}
_GPT2_ACTIVATIONS |= {"relu": "relu"}


def _read_gpt2(theirs: Mapping[str, Any]) -> Values:
    for key in ("scale_attn_by_inverse_layer_idx", "add_cross_attention"):
        _require(not theirs.get(key), f"{key} is true")
    _require(theirs.get("scale_attn_weights", True), "scale_attn_weights is false")
    return {
        "d_model": theirs["n_embd"],
        "layers": theirs["n_layer"],
        "heads": theirs["n_head"],
        "d_ff": theirs.get("n_inner") or 4 * theirs["n_embd"],
        "activation": _known(_GPT2_ACTIVATIONS, theirs, "activation_function"),
        "norm_epsilon": theirs["layer_norm_epsilon"],
        "positions": "learned",
        "max_length": theirs["n_positions"],
        "dropout": theirs.get("resid_pdrop", 0.0),
        "attention_dropout": theirs.get("attn_pdrop", 0.0),
    }


def _write_gpt2(config: DecoderConfig) -> Values:
    return {
        "n_embd": config.d_model,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.d_ff,
        "activation_function": _named(_GPT2_ACTIVATIONS, config.activation),
        "layer_norm_epsilon": config.norm_epsilon or 1e-5,
        "n_positions": config.max_length,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.attention_dropout,
    }


def _gpt2_entries(config: DecoderConfig) -> list[Entry]:
    entries = [Entry(("decoder.positions.weight",), ("transformer.wpe.weight",))]
    modules: list[tuple[tuple[str, ...], str, layouts.Conversion]] = [
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


# --- Llama and its relatives --------------------------------------------------------------------

_LLAMA_ACTIVATIONS = {"silu": "swiglu", "gelu_pytorch_tanh": "geglu_tanh", "gelu": "geglu"}


def _read_llama(theirs: Mapping[str, Any]) -> Values:
    bias = bool(theirs.get("mlp_bias", False))
    attention_bias = bool(theirs.get("attention_bias", False))
    _require(attention_bias == bias, "attention_bias and mlp_bias differ")
    activation = "hidden_activation" if "hidden_activation" in theirs else "hidden_act"
    return {
        "d_model": theirs["hidden_size"],
        "layers": theirs["num_hidden_layers"],
        "heads": theirs["num_attention_heads"],
        "kv_heads": theirs.get("num_key_value_heads"),
        "head_width": theirs.get("head_dim"),
        "d_ff": theirs["intermediate_size"],
        "activation": _known(_LLAMA_ACTIVATIONS, theirs, activation),
        "norm": "rmsnorm",
        "norm_epsilon": theirs["rms_norm_eps"],
        "positions": "rope",
        "max_length": theirs["max_position_embeddings"],
        "rope": _read_rope(theirs),
        "dropout": 0.0,
        "attention_dropout": theirs.get("attention_dropout", 0.0),
        "bias": bias,
    }


def _write_llama(config: DecoderConfig) -> Values:
    return {
        "hidden_size": config.d_model,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads or config.heads,
        "head_dim": config.width_of_heads,
        "intermediate_size": config.d_ff,
        "hidden_act": _named(_LLAMA_ACTIVATIONS, config.activation),
        "rms_norm_eps": config.norm_epsilon or 1e-6,
        "max_position_embeddings": config.max_length,
        "rope_parameters": _write_rope(config.rope.model_dump()),
        "attention_dropout": config.attention_dropout,
        "attention_bias": config.bias,
        "mlp_bias": config.bias,
    }


def _llama_entries(config: DecoderConfig) -> list[Entry]:
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
        numbers = range(config.experts.count)
        return [Entry((f"{ours}.router.weight",), (f"{module}.gate.weight",))] + [
            Entry(
                (f"{ours}.{name}",),
                tuple(f"{module}.experts.{number}.{short}.weight" for number in numbers),
                STACKED,
            )
            for name, short in stacks.items()
        ]
    return [
        Entry((f"{ours}.{name}.{kind}",), (f"{theirs}.mlp.{name}_proj.{kind}",))
        for name in ("gate", "up", "down")
        for kind in (("weight", "bias") if config.bias else ("weight",))
    ]


# What their rope_type is called here, and where its settings are.
_SCALINGS = {
    "linear": ("linear", {"factor": "factor"}),
    "yarn": (
        "yarn",
        {
            "factor": "factor",
            "original_max_position_embeddings": "original_length",
            "beta_fast": "fast",
            "beta_slow": "slow",
            "attention_factor": "attention",
        },
    ),
    "llama3": (
        "llama3",
        {
            "factor": "factor",
            "original_max_position_embeddings": "original_length",
            "low_freq_factor": "low",
            "high_freq_factor": "high",
        },
    ),
}


def _read_rope(theirs: Mapping[str, Any], key: str | None = None) -> Values:
    """From `rope_parameters`, or from `rope_theta` and `rope_scaling` as older files have them."""
    given = theirs.get("rope_parameters")
    given = given or {
        "rope_theta": theirs.get("rope_theta", 10_000.0),
        **(theirs.get("rope_scaling") or {}),
    }
    if key is not None:
        given = given[key]
    kind = given.get("rope_type", given.get("type", "default"))
    _require(given.get("partial_rotary_factor", 1.0) == 1.0, "partial_rotary_factor is not 1")
    rope: Values = {"base": given.get("rope_theta", theirs.get("rope_theta", 10_000.0))}
    if kind == "default":
        return rope
    _require(kind in _SCALINGS, f"rope_type is '{kind}'")
    for unknown in ("mscale", "mscale_all_dim", "truncate"):
        _require(unknown not in given, f"rope_parameters has {unknown}")
    name, settings = _SCALINGS[kind]
    values = {own: given[other] for other, own in settings.items() if given.get(other) is not None}
    if "original_max_position_embeddings" in settings:
        values.setdefault("original_length", theirs["max_position_embeddings"])
    return {**rope, "scaling": {"kind": name, **values}}


def _write_rope(rope: Mapping[str, Any]) -> Values:
    written: Values = {"rope_theta": rope["base"], "rope_type": "default"}
    scaling = rope.get("scaling")
    if scaling is None:
        return written
    _require(scaling["kind"] in _SCALINGS, f"model.rope.scaling is '{scaling['kind']}'")
    kind, settings = _SCALINGS[scaling["kind"]]
    values = {other: scaling[own] for other, own in settings.items() if scaling[own] is not None}
    return {**written, "rope_type": kind, **values}


def _read_mistral(theirs: Mapping[str, Any]) -> Values:
    return {**_read_llama(theirs), "window": _window(theirs.get("sliding_window"))}


def _write_mistral(config: DecoderConfig) -> Values:
    return {**_write_llama(config), "sliding_window": config.window and config.window.size}


def _read_qwen2(theirs: Mapping[str, Any]) -> Values:
    return {**_read_qwen(theirs), "qkv_bias": True}


def _read_qwen3(theirs: Mapping[str, Any]) -> Values:
    return {**_read_qwen(theirs), "qk_norm": True}


def _read_qwen(theirs: Mapping[str, Any]) -> Values:
    _require(not theirs.get("use_sliding_window"), "use_sliding_window is true")
    return _read_llama(theirs)


def _write_qwen(config: DecoderConfig) -> Values:
    return {**_write_llama(config), "use_sliding_window": False}


def _read_mixtral(theirs: Mapping[str, Any]) -> Values:
    experts = {
        "count": theirs["num_local_experts"],
        "active": theirs["num_experts_per_tok"],
        "balance_weight": theirs.get("router_aux_loss_coef", 0.001),
    }
    return {**_read_mistral(theirs), "experts": experts}


def _write_mixtral(config: DecoderConfig) -> Values:
    experts = config.experts
    assert experts is not None
    for key, value in (("shared", 0), ("score", "softmax"), ("capacity", None)):
        found = getattr(experts, key)
        _require(found == value, f"model.experts.{key} is {found}, not {value}")
    _require(experts.balance != "bias", "model.experts.balance is bias")
    return {
        **_write_mistral(config),
        "intermediate_size": experts.d_ff or config.d_ff,
        "num_local_experts": experts.count,
        "num_experts_per_tok": experts.active,
        "router_aux_loss_coef": experts.balance_weight,
    }


def _read_gemma2(theirs: Mapping[str, Any]) -> Values:
    return {
        **_read_llama(theirs),
        "norm_placement": "sandwich",
        "scale_embeddings": True,
        "attention_scale": theirs["query_pre_attn_scalar"] ** -0.5,
        "attention_softcap": theirs.get("attn_logit_softcapping"),
        "logit_softcap": theirs.get("final_logit_softcapping"),
        "window": _pattern(theirs.get("sliding_window"), theirs.get("layer_types"), every=2),
    }


def _write_gemma2(config: DecoderConfig) -> Values:
    values = _write_llama(config)
    values["hidden_activation"] = values.pop("hidden_act")
    scale = config.attention_scale or config.width_of_heads**-0.5
    scalar = round(scale**-2)
    _require(math.isclose(scalar**-0.5, scale), f"model.attention_scale {scale} is no 1/√integer")
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


def _read_gemma3(theirs: Mapping[str, Any]) -> Values:
    values = _read_gemma2(
        {**theirs, "rope_parameters": None, "rope_theta": 10_000.0, "layer_types": None}
    )
    given = theirs.get("rope_parameters") or {}
    if "full_attention" in given:
        everywhere = _read_rope(theirs, "full_attention")
        near = _read_rope(theirs, "sliding_attention")
    else:
        everywhere = _read_rope(theirs)
        near = {"base": theirs.get("rope_local_base_freq", 10_000.0)}
    every = theirs.get("_sliding_window_pattern", theirs.get("sliding_window_pattern", 6))
    window = _pattern(theirs.get("sliding_window"), theirs.get("layer_types"), every=every)
    if window is not None:
        window = {**window, "rope": near}
    return {**values, "qk_norm": True, "rope": everywhere, "window": window}


def _write_gemma3(config: DecoderConfig) -> Values:
    window = config.window
    near = config.rope if window is None or window.rope is None else window.rope
    every = None if window is None else window.global_every
    return {
        **_write_gemma2(config),
        "rope_parameters": {
            "full_attention": _write_rope(config.rope.model_dump()),
            "sliding_attention": _write_rope(near.model_dump()),
        },
        "_sliding_window_pattern": every or config.layers + 1,
    }


def _window(size: int | None) -> Values | None:
    return None if size is None else {"size": size}


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
    _require(regular, "layer_types follow no pattern")
    return {"size": size, "global_every": first}


def _known(table: Mapping[str, str], theirs: Mapping[str, Any], key: str) -> str:
    _require(theirs[key] in table, f"{key} is '{theirs[key]}'")
    return table[theirs[key]]


def _named(table: Mapping[str, str], ours: str) -> str:
    return next(theirs for theirs, own in table.items() if own == ours)


def _require(fits: object, reason: str) -> None:
    if not fits:
        raise ConfigError(f"this model has no equal on the other side: {reason}")


_RMS = {
    **PLAIN,
    "head_width": (),
    "norm_epsilon": (),
    "norm": ("rmsnorm",),
    "norm_placement": ("pre",),
    "activation": ("swiglu", "geglu", "geglu_tanh"),
    "positions": ("rope",),
    "scale_embeddings": (None, False),
    "logit_softcap": (None,),
    "mup": (None,),
}
"""What Llama can express; an empty tuple stands for any value."""
_NO_BIAS = {"bias": (False,)}
_WINDOWS = {"window": ()}
_GEMMA = {
    **_NO_BIAS,
    **_WINDOWS,
    "norm_placement": ("sandwich",),
    "scale_embeddings": (True,),
    "attention_scale": (),
    "attention_softcap": (),
    "logit_softcap": (),
}


def _free(can: Mapping[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    return {key: values for key, values in can.items() if values}


LAYOUTS = (
    DecoderLayout(
        "gpt2",
        "GPT2LMHeadModel",
        _free(
            {
                **PLAIN,
                "norm_epsilon": (),
                "kv_heads": (None,),
                "norm": ("layernorm",),
                "norm_placement": ("pre",),
                "activation": tuple(_GPT2_ACTIVATIONS.values()),
                "positions": ("learned",),
                "scale_embeddings": (None, False),
                "logit_softcap": (None,),
                "mup": (None,),
                "bias": (True,),
            }
        ),
        _read_gpt2,
        _write_gpt2,
        _gpt2_entries,
        ("transformer.wte.weight", "lm_head.weight"),
    ),
    DecoderLayout(
        "llama", "LlamaForCausalLM", _free(_RMS), _read_llama, _write_llama, _llama_entries
    ),
    DecoderLayout(
        "mistral",
        "MistralForCausalLM",
        _free({**_RMS, **_NO_BIAS, **_WINDOWS}),
        _read_mistral,
        _write_mistral,
        _llama_entries,
    ),
    DecoderLayout(
        "qwen2",
        "Qwen2ForCausalLM",
        _free({**_RMS, **_NO_BIAS, "qkv_bias": (True,)}),
        _read_qwen2,
        _write_qwen,
        _llama_entries,
    ),
    DecoderLayout(
        "qwen3",
        "Qwen3ForCausalLM",
        _free({**_RMS, **_NO_BIAS, "qk_norm": (True,)}),
        _read_qwen3,
        _write_qwen,
        _llama_entries,
    ),
    DecoderLayout(
        "mixtral",
        "MixtralForCausalLM",
        _free({**_RMS, **_NO_BIAS, **_WINDOWS, "experts": ()}),
        _read_mixtral,
        _write_mixtral,
        _llama_entries,
    ),
    DecoderLayout(
        "gemma2",
        "Gemma2ForCausalLM",
        _free({**_RMS, **_GEMMA}),
        _read_gemma2,
        _write_gemma2,
        _llama_entries,
    ),
    DecoderLayout(
        "gemma3_text",
        "Gemma3ForCausalLM",
        _free({**_RMS, **_GEMMA, "qk_norm": (True,)}),
        _read_gemma3,
        _write_gemma3,
        _llama_entries,
    ),
)


def read_decoder(
    theirs: Mapping[str, Any], tensors: Mapping[str, Tensor], where: object
) -> tuple[DecoderConfig, dict[str, Tensor]]:
    """Our config and state dict of a model of `transformers`.

    Args:
        theirs: its config.json.
        tensors: its weights.
        where: it came from, for messages.

    Raises:
        ConfigError: it is of another type, or ours cannot equal it.
        CheckpointError: a setting or a tensor is missing.
    """
    layout = next(one for one in LAYOUTS if one.model_type == theirs.get("model_type"))
    # A head that is there and is no embedding was trained apart, whatever the config says.
    tied = bool(theirs.get("tie_word_embeddings", layout.model_type in ("gpt2", "gemma2")))
    values = {**layout.read(theirs), "tie_embeddings": tied}
    config = DecoderConfig.parse(values, where=str(where))
    state = layouts.read_entries(_all_entries(layout, config), tensors, where)
    if tied:
        state[HEAD] = state[EMBEDDING]
    if config.experts is not None:
        for layer in range(config.layers):
            name = f"decoder.blocks.{layer}.feed_forward.preference"
            state[name] = tensors[layout.names[0]].new_zeros(config.experts.count)
    return config, state


def write_decoder(
    config: DecoderConfig, state: Mapping[str, Tensor], vocabulary: int
) -> tuple[DecoderLayout, Values, dict[str, Tensor]]:
    """The layout that expresses a model, its config.json, and its weights.

    Raises:
        ConfigError: no layout expresses the model.
    """
    layout = layouts.find_layout(config, LAYOUTS, hidden=PLAIN)
    written = {
        "model_type": layout.model_type,
        "architectures": [layout.architecture],
        "vocab_size": vocabulary,
        "tie_word_embeddings": config.tie_embeddings,
        **layout.write(config),
        "dtype": "float32",
    }
    return layout, written, layouts.write_entries(_all_entries(layout, config), state)


def _all_entries(layout: DecoderLayout, config: DecoderConfig) -> list[Entry]:
    entries = [Entry((EMBEDDING,), (layout.names[0],)), *layout.entries(config)]
    if not config.tie_embeddings:
        entries.append(Entry((HEAD,), (layout.names[1],)))
    return entries
