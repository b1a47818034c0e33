"""Which settings and parameters BERT and its relatives have in the folders of `transformers`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from peluche.errors import ConfigError
from peluche.models.encoder import EncoderConfig
from peluche.models.layouts import SAME, TIED, Conversion, Entry

EMBEDDING, HEAD = "encoder.embedding.weight", "masked.output.weight"
POSITIONS, SEGMENTS = "encoder.positions.weight", "segments.weight"
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
_BLOCK = {
    "self_attention.query": "attention.self.query",
    "self_attention.key": "attention.self.key",
    "self_attention.value": "attention.self.value",
    "self_attention.out": "attention.output.dense",
    "self_residual.norm": "attention.output.LayerNorm",
    "feed_forward.up": "intermediate.dense",
    "feed_forward.down": "output.dense",
    "feed_forward_residual.norm": "output.LayerNorm",
}


def settings(theirs: Mapping[str, Any], where: object) -> dict[str, Any]:
    """Our settings from the config.json of BERT or a relative.

    Raises:
        ConfigError: ours cannot equal it.
    """
    kind = theirs.get("position_embedding_type", "absolute")
    if kind != "absolute" or theirs["hidden_act"] not in ACTIVATIONS:
        raise ConfigError(
            f"this {theirs['model_type']} has no equal here: "
            f"positions {kind}, activation {theirs['hidden_act']}",
            where=where,
        )
    return {
        "d_model": theirs["hidden_size"],
        "layers": theirs["num_hidden_layers"],
        "heads": theirs["num_attention_heads"],
        "d_ff": theirs["intermediate_size"],
        "activation": ACTIVATIONS[theirs["hidden_act"]],
        "norm_epsilon": theirs["layer_norm_eps"],
        "max_length": theirs["max_position_embeddings"],
        "segments": theirs["type_vocab_size"],
        "dropout": theirs.get("hidden_dropout_prob", 0.0),
        "attention_dropout": theirs.get("attention_probs_dropout_prob", 0.0),
    }


def prefixed(prefix: str, names: Collection[str]) -> str:
    """What stands before the names of an encoder's tensors: nothing in folders without a head."""
    return prefix if any(name.startswith(prefix) for name in names) else ""


def entries(
    config: EncoderConfig, prefix: str, heads: Mapping[str, str], positions: Conversion = SAME
) -> list[Entry]:
    """Which parameters are which.

    Args:
        prefix: of names in folders with a head.
        heads: what the parts of a head are called that says what stands at a token.
        positions: how their table becomes ours.
    """
    embeddings = f"{prefix}embeddings"
    words = (f"{embeddings}.word_embeddings.weight",)
    first = [
        Entry((EMBEDDING, HEAD), words, TIED) if config.masked else Entry((EMBEDDING,), words),
        Entry((POSITIONS,), (f"{embeddings}.position_embeddings.weight",), positions),
    ]
    single = {}
    if config.segments:
        single[SEGMENTS] = f"{embeddings}.token_type_embeddings.weight"
    modules = {"encoder.input_norm": f"{embeddings}.LayerNorm"}
    for layer in range(config.layers):
        ours, theirs = f"encoder.blocks.{layer}", f"{prefix}encoder.layer.{layer}"
        modules |= {f"{ours}.{name}": f"{theirs}.{other}" for name, other in _BLOCK.items()}
    if config.masked:
        modules |= {f"masked.{name}": heads[name] for name in ("transform", "norm")}
        single["masked.output.bias"] = f"{heads['output']}.bias"
    if config.next_sentence:
        modules |= {"pooler": f"{prefix}pooler.dense", "relation": "cls.seq_relationship"}
    first += [Entry((ours,), (theirs,)) for ours, theirs in single.items()]
    return first + [
        Entry((f"{ours}.{kind}",), (f"{theirs}.{kind}",))
        for ours, theirs in modules.items()
        for kind in ("weight", "bias")
    ]
