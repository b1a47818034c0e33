"""Where a decoder's settings and parameters live in GGUF files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from peluche.config import typed
from peluche.errors import CheckpointError, ConfigError
from peluche.models import layouts
from peluche.models.decoder import DecoderConfig
from peluche.models.decoder_layouts import EMBEDDING, HEAD
from peluche.models.gguf_settings import (
    ARCHITECTURES,
    KINDS,
    ROPE_FACTORS,
    Settings,
    read_settings,
)
from peluche.models.layouts import SAME, TIED, Conversion, Entry
from peluche.models.transformer import PLAIN
from peluche.nn.feedforward import GATED

NORMS = {
    "self_residual.norm": "attn_norm",
    "feed_forward_residual.norm": "ffn_norm",
}
OUT_NORMS = {
    "self_residual.out_norm": "post_attention_norm",
    "feed_forward_residual.out_norm": "post_ffw_norm",
}
HEAD_NORMS = {
    "self_attention.query_norm": "attn_q_norm",
    "self_attention.key_norm": "attn_k_norm",
}
PARTS = ("query", "key", "value")
# Llama's own, and those of Phi-3 and GPT-2, where they are one.
APART = {"query": "attn_q", "key": "attn_k", "value": "attn_v"}
TOGETHER = "attn_qkv"


OTHERWISE = "give a Hugging Face folder of the model, or another model"


class Form(NamedTuple):
    """What an architecture does with matrices.

    Attributes:
        paired: features that turn together stand side by side, as in Meta's own weights.
        fused: query, key and value are one tensor.
        joined: gate and up are one tensor.
    """

    paired: bool = False
    fused: bool = False
    joined: bool = False


class Written(NamedTuple):
    """An architecture that is written.

    Attributes:
        architecture: what the file calls it.
        can: the values of our settings that it can express; settings not named are free.
    """

    architecture: str
    can: Mapping[str, tuple[object, ...]]


_CAN: dict[str, tuple[object, ...]] = {
    **{key: values for key, values in PLAIN.items() if key not in ("norm_epsilon", "head_width")},
    "norm": ("rmsnorm",),
    "norm_placement": ("pre",),
    "activation": ("swiglu",),
    "positions": ("rope",),
    "scale_embeddings": (None, False),
    "logit_softcap": (None,),
    "mup": (None,),
    "bias": (False,),
}
WRITTEN = (
    Written("llama", _CAN),
    Written("qwen2", {**_CAN, "qkv_bias": (True,)}),
    Written("qwen3", {**_CAN, "qk_norm": (True,)}),
)


def read_gguf_decoder(
    metadata: Mapping[str, Any], tensors: Mapping[str, Tensor], where: object
) -> tuple[DecoderConfig, list[Entry]]:
    """Our config of a model in a GGUF file, and which parameters are which.

    Args:
        tensors: by name. Their names alone are read, and the few that are settings.

    Raises:
        ConfigError: it is of another architecture, or ours cannot equal it.
        CheckpointError: a setting is missing.
    """
    kind = metadata.get("general.architecture")
    found = next((one for one in ARCHITECTURES if one.architecture == kind), None)
    if found is None:
        known = ", ".join(one.architecture for one in ARCHITECTURES)
        raise ConfigError(
            f"a model of architecture '{kind}' cannot be read from GGUF",
            where=where,
            remedy=f"give one of {known}; or a Hugging Face folder of it",
        )
    kinds = {f"{kind}.{key}": type_ for key, type_ in KINDS.items()}
    settings = Settings(typed(metadata, kinds, where), found.architecture)
    try:
        values = read_settings(settings, found, tensors)
    except ConfigError as error:
        raise ConfigError(error.what, where=where, remedy=OTHERWISE) from None
    except KeyError as error:
        raise CheckpointError(
            f"its metadata lack {error}", where=where, remedy="get the file again"
        ) from None
    config = DecoderConfig.parse(values, where=str(where))
    layouts.require_held(tensors, where, layers=config.layers)
    form = Form(found.paired, f"blk.0.{TOGETHER}.weight" in tensors, found.joined)
    entries = gguf_entries(config, form)
    _require_all_read(entries, tensors, where)
    return config, entries


def write_gguf_decoder(
    config: DecoderConfig, state: Mapping[str, Tensor], vocabulary: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metadata and tensors of a GGUF file; those of the tokenizer are left to the caller.

    Raises:
        ConfigError: no architecture expresses the model.
    """
    name = layouts.find_layout(
        config, WRITTEN, PLAIN, kind="architecture of llama.cpp"
    ).architecture
    if config.rope.scaling is not None:
        raise ConfigError(
            "model.rope.scaling is not written to GGUF", remedy="export to huggingface instead"
        )
    metadata = {
        "general.architecture": name,
        f"{name}.block_count": config.layers,
        f"{name}.context_length": config.max_length,
        f"{name}.embedding_length": config.d_model,
        f"{name}.feed_forward_length": config.d_ff,
        f"{name}.attention.head_count": config.heads,
        f"{name}.attention.head_count_kv": config.kv_heads or config.heads,
        f"{name}.attention.key_length": config.width_of_heads,
        f"{name}.attention.value_length": config.width_of_heads,
        f"{name}.attention.layer_norm_rms_epsilon": config.norm_epsilon or 1e-6,
        f"{name}.rope.freq_base": float(config.rope.base),
        f"{name}.rope.dimension_count": config.width_of_heads,
        f"{name}.vocab_size": vocabulary,
    }
    entries = gguf_entries(config, Form(paired=name == "llama"))
    return metadata, layouts.write_entries(entries, state)


def gguf_entries(config: DecoderConfig, form: Form = Form()) -> list[Entry]:
    """Which parameters are which."""
    tied, embedding = config.tie_embeddings, ("token_embd.weight",)
    entries = [
        Entry((EMBEDDING, HEAD), embedding, TIED) if tied else Entry((EMBEDDING,), embedding)
    ]
    if not tied:
        entries.append(Entry((HEAD,), ("output.weight",)))
    if config.positions == "learned":
        entries.append(Entry(("decoder.positions.weight",), ("position_embd.weight",)))
    norm_bias = config.bias and config.norm == "layernorm"
    entries += _entry("decoder.norm", "output_norm", norm_bias)
    norms = dict(NORMS)
    if config.norm_placement == "sandwich":
        norms |= OUT_NORMS
    if config.qk_norm:
        norms |= HEAD_NORMS
    for layer in range(config.layers):
        ours, theirs = f"decoder.blocks.{layer}.", f"blk.{layer}."
        for own, other in norms.items():
            entries += _entry(ours + own, theirs + other, norm_bias)
        entries += _attention_entries(config, f"{ours}self_attention.", theirs, form)
        entries += _feed_forward_entries(config, f"{ours}feed_forward.", theirs, form)
    return entries


def _attention_entries(config: DecoderConfig, ours: str, theirs: str, form: Form) -> list[Entry]:
    biased = config.bias if config.qkv_bias is None else config.qkv_bias
    entries = _entry(f"{ours}out", f"{theirs}attn_output", config.bias)
    width = config.width_of_heads
    turned = _side_by_side(width) if form.paired else SAME
    if not form.fused:
        for own, other in APART.items():
            conversion = SAME if own == "value" else turned
            entries += _entry(ours + own, theirs + other, biased, conversion)
        return entries
    heads = (config.heads, *[config.kv_heads or config.heads] * 2)
    conversion = _one_below_the_other([width * count for count in heads], turned)
    for kind in ("weight", "bias") if biased else ("weight",):
        own_names = tuple(f"{ours}{part}.{kind}" for part in PARTS)
        entries.append(Entry(own_names, (f"{theirs}{TOGETHER}.{kind}",), conversion))
    return entries


def _feed_forward_entries(config: DecoderConfig, ours: str, theirs: str, form: Form) -> list[Entry]:
    gated = config.activation in GATED
    names = ("gate", "up", "down") if gated else ("up", "down")
    if config.experts is not None:
        router = (f"{ours}router.weight", f"{ours}preference")
        return [Entry(router, (f"{theirs}ffn_gate_inp.weight",), _NO_PREFERENCE)] + [
            Entry((f"{ours}{name}",), (f"{theirs}ffn_{name}_exps.weight",)) for name in names
        ]
    if form.joined:
        both = (f"{ours}gate.weight", f"{ours}up.weight")
        halves = _one_below_the_other([config.d_ff] * 2)
        down = Entry((f"{ours}down.weight",), (f"{theirs}ffn_down.weight",))
        return [Entry(both, (f"{theirs}ffn_up.weight",), halves), down]
    return [
        entry for name in names for entry in _entry(ours + name, f"{theirs}ffn_{name}", config.bias)
    ]


def _entry(
    ours: str, theirs: str, bias: bool = False, conversion: Conversion = SAME
) -> list[Entry]:
    kinds = ("weight", "bias") if bias else ("weight",)
    return [Entry((f"{ours}.{kind}",), (f"{theirs}.{kind}",), conversion) for kind in kinds]


def _require_all_read(entries: list[Entry], names: Collection[str], where: object) -> None:
    read = {name for entry in entries for name in entry.theirs} | {ROPE_FACTORS}
    for name in names:
        if name not in read:
            raise ConfigError(
                f"this model has no equal here: it has '{name}'",
                where=where,
                remedy=OTHERWISE,
            )


def _side_by_side(width: int) -> Conversion:
    """Features i and i + width/2 of a head here are 2i and 2i + 1 there."""
    half = width // 2

    def read(tensors: Any) -> list[Tensor]:
        heads = tensors[0].unflatten(0, (-1, half, 2))
        return [heads.transpose(1, 2).flatten(0, 2)]

    def write(tensors: Any) -> list[Tensor]:
        heads = tensors[0].unflatten(0, (-1, 2, half))
        return [heads.transpose(1, 2).flatten(0, 2)]

    return Conversion(read, write)


def _one_below_the_other(rows: list[int], turned: Conversion = SAME) -> Conversion:
    """Matrices of so many rows are one there; all but the third are turned besides."""

    def read(tensors: Any) -> list[Tensor]:
        parts = tensors[0].split(rows)
        return [*(turned.read([part])[0] for part in parts[:2]), *parts[2:]]

    def write(tensors: Any) -> list[Tensor]:
        return [torch.cat([*(turned.write([one])[0] for one in tensors[:2]), *tensors[2:]])]

    return Conversion(read, write)


# Models of elsewhere have no bias for the choice of experts.
_NO_PREFERENCE = Conversion(
    lambda tensors: [tensors[0], torch.zeros(len(tensors[0]))], lambda tensors: [tensors[0]]
)
