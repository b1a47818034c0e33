"""Where a decoder's settings and parameters live in GGUF files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from peluche.config import typed
from peluche.errors import CheckpointError, ConfigError
from peluche.models import layouts
from peluche.models.decoder import DecoderConfig
from peluche.models.decoder_layouts import EMBEDDING, HEAD
from peluche.models.layouts import SAME, TIED, Conversion, Entry
from peluche.models.setting_types import LENGTH, NUMBER, SIZE
from peluche.models.transformer import PLAIN

OURS = {
    "self_residual.norm": "attn_norm",
    "self_attention.query": "attn_q",
    "self_attention.key": "attn_k",
    "self_attention.value": "attn_v",
    "self_attention.out": "attn_output",
    "feed_forward_residual.norm": "ffn_norm",
    "feed_forward.gate": "ffn_gate",
    "feed_forward.up": "ffn_up",
    "feed_forward.down": "ffn_down",
}
HEAD_NORMS = {
    "self_attention.query_norm": "attn_q_norm",
    "self_attention.key_norm": "attn_k_norm",
}


class Architecture(NamedTuple):
    """A kind of model that llama.cpp runs.

    Attributes:
        architecture: what the file calls it.
        can: the values of our settings that it can express; settings not named are free.
        own: settings that it has by its name alone.
        paired: whether features that turn together stand side by side, as in Meta's own weights.
    """

    architecture: str
    can: Mapping[str, tuple[object, ...]]
    own: Mapping[str, Any]
    paired: bool = False


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
ARCHITECTURES = (
    Architecture("llama", _CAN, {}, paired=True),
    Architecture("qwen2", {**_CAN, "qkv_bias": (True,)}, {"qkv_bias": True}),
    Architecture("qwen3", {**_CAN, "qk_norm": (True,)}, {"qk_norm": True}),
)


def read_gguf_decoder(
    metadata: Mapping[str, Any], names: Collection[str], where: object
) -> tuple[DecoderConfig, list[Entry]]:
    """Our config of a model in a GGUF file, and which parameters are which.

    Args:
        names: of all tensors.

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
    extra = sorted(name for name in names if name.startswith("rope_") or "_exps" in name)
    if extra:
        raise ConfigError(f"this model has no equal here: it has '{extra[0]}'", where=where)
    try:
        values = _read_settings(typed(metadata, _kinds(str(kind)), where), str(kind))
    except KeyError as error:
        raise CheckpointError(
            f"its metadata lack {error}", where=where, remedy="get the file again"
        ) from None
    tied = "output.weight" not in names
    config = DecoderConfig.parse({**values, **found.own, "tie_embeddings": tied}, where=str(where))
    layouts.require_held(names, where, layers=config.layers)
    return config, _entries(config, found)


def write_gguf_decoder(
    config: DecoderConfig, state: Mapping[str, Tensor], vocabulary: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metadata and tensors of a GGUF file; those of the tokenizer are left to the caller.

    Raises:
        ConfigError: no architecture expresses the model.
    """
    found = layouts.find_layout(config, ARCHITECTURES, PLAIN, kind="architecture of llama.cpp")
    if config.rope.scaling is not None:
        raise ConfigError(
            "model.rope.scaling is not written to GGUF", remedy="export to huggingface instead"
        )
    name = found.architecture
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
    return metadata, layouts.write_entries(_entries(config, found), state)


def _kinds(kind: str) -> dict[str, Any]:
    """Of what type the settings are; see `peluche.config.typed`."""
    sizes = (
        "block_count embedding_length feed_forward_length attention.head_count "
        "attention.head_count_kv attention.key_length"
    )
    numbers = "attention.layer_norm_rms_epsilon rope.freq_base rope.scaling.factor"
    kinds = {
        **dict.fromkeys(sizes.split(), SIZE),
        **dict.fromkeys(numbers.split(), NUMBER),
        "context_length": LENGTH,
        "rope.scaling.type": str,
    }
    return {f"{kind}.{key}": type_ for key, type_ in kinds.items()}


def _read_settings(metadata: Mapping[str, Any], kind: str) -> dict[str, Any]:
    def setting(key: str) -> Any:
        return metadata[f"{kind}.{key}"]

    scaling = metadata.get(f"{kind}.rope.scaling.type", "none")
    if scaling not in ("none", "linear"):
        raise ConfigError(f"this model has no equal here: its rope scaling is '{scaling}'")
    rope: dict[str, Any] = {"base": metadata.get(f"{kind}.rope.freq_base", 10_000.0)}
    if scaling == "linear":
        rope["scaling"] = {"kind": "linear", "factor": setting("rope.scaling.factor")}
    heads = setting("attention.head_count")
    return {
        "d_model": setting("embedding_length"),
        "layers": setting("block_count"),
        "heads": heads,
        "kv_heads": metadata.get(f"{kind}.attention.head_count_kv", heads),
        "head_width": metadata.get(f"{kind}.attention.key_length"),
        "d_ff": setting("feed_forward_length"),
        "activation": "swiglu",
        "norm": "rmsnorm",
        # A float32 in the file, whose decimals people wrote are these.
        "norm_epsilon": float(f"{setting('attention.layer_norm_rms_epsilon'):.6g}"),
        "positions": "rope",
        "rope": rope,
        "max_length": setting("context_length"),
        "dropout": 0.0,
        "bias": False,
    }


def _entries(config: DecoderConfig, found: Architecture) -> list[Entry]:
    tied, embedding = config.tie_embeddings, ("token_embd.weight",)
    entries = [
        Entry((EMBEDDING, HEAD), embedding, TIED) if tied else Entry((EMBEDDING,), embedding),
        Entry(("decoder.norm.weight",), ("output_norm.weight",)),
    ]
    if not tied:
        entries.append(Entry((HEAD,), ("output.weight",)))
    turned = _side_by_side(config.width_of_heads) if found.paired else SAME
    biased = ("self_attention.query", "self_attention.key", "self_attention.value")
    for layer in range(config.layers):
        for ours, theirs in (OURS | HEAD_NORMS if config.qk_norm else OURS).items():
            conversion = turned if ours in biased[:2] else SAME
            for kind in ("weight", "bias") if config.qkv_bias and ours in biased else ("weight",):
                own, other = f"decoder.blocks.{layer}.{ours}", f"blk.{layer}.{theirs}"
                entries.append(Entry((f"{own}.{kind}",), (f"{other}.{kind}",), conversion))
    return entries


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
