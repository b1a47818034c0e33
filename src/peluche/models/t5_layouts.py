"""Where an encoder-decoder's settings and parameters live in T5's folders of `transformers`.

T5 divides the hidden states by √d_model before a tied head and never scales embeddings. Here
embeddings are scaled by √d_model where they are read, so that theirs divided by it are ours. It
does not scale scores either: a scale of ours is written into the matrices of queries.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from peluche.errors import ConfigError
from peluche.models import layouts
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.encoder_decoder_layouts import Layout
from peluche.models.layouts import Conversion, Entry
from peluche.models.transformer import PLAIN
from peluche.nn.feedforward import GATED
from peluche.nn.positions import RelativeBias

MODEL_TYPE, ARCHITECTURE = "t5", "T5ForConditionalGeneration"
EMBEDDINGS, HEAD = ("encoder.embedding.weight", "decoder.embedding.weight"), "head.weight"
_ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "relu2": "relu2",
    "gated-gelu": "geglu_tanh",
    "gated-silu": "swiglu",
}
_PROJECTIONS = {"query": "q", "key": "k", "value": "v", "out": "o"}


T5 = Layout(
    MODEL_TYPE,
    ARCHITECTURE,
    {
        **{
            key: values
            for key, values in PLAIN.items()
            if key not in ("norm_epsilon", "head_width", "attention_scale")
        },
        "kv_heads": (None,),
        "norm": ("rmsnorm",),
        "norm_placement": ("pre",),
        "positions": ("relative",),
        "activation": tuple(_ACTIVATIONS.values()),
        "bias": (False,),
        # Its configuration in transformers 5 takes a head of its own no more.
        "tie_embeddings": ("all",),
    },
)


def read_t5(
    theirs: Mapping[str, Any], names: Collection[str], where: object
) -> tuple[EncoderDecoderConfig, list[Entry]]:
    """Our config of a T5 of `transformers`, and which parameters are which.

    Raises:
        ConfigError: ours cannot equal it.
        KeyError: a setting is missing.
    """
    plain = RelativeBias(1, bidirectional=True)
    buckets = theirs.get("relative_attention_num_buckets", plain.buckets)
    distance = theirs.get("relative_attention_max_distance", plain.max_distance)
    kind = theirs.get("feed_forward_proj", "relu")
    if (buckets, distance) != (plain.buckets, plain.max_distance) or kind not in _ACTIVATIONS:
        raise ConfigError(
            f"this T5 has no equal here: {buckets} buckets up to {distance}, {kind}", where=where
        )
    tied = bool(theirs.get("tie_word_embeddings", True))
    config = EncoderDecoderConfig.parse(
        {
            "d_model": theirs["d_model"],
            "layers": theirs["num_layers"],
            "decoder_layers": theirs.get("num_decoder_layers"),
            "heads": theirs["num_heads"],
            "head_width": theirs["d_kv"],
            "d_ff": theirs["d_ff"],
            "activation": _ACTIVATIONS[kind],
            "norm": "rmsnorm",
            "norm_epsilon": theirs["layer_norm_epsilon"],
            "norm_placement": "pre",
            "positions": "relative",
            "attention_scale": 1.0,
            "bias": False,
            "dropout": theirs.get("dropout_rate", 0.0),
            "tie_embeddings": "all" if tied else "inputs",
        },
        where=str(where),
    )
    layers = {"layers": config.layers, "decoder_layers": config.decoder_layers or config.layers}
    layouts.require_held(names, where, **layers)
    return config, _entries(config)


def write_t5(
    config: EncoderDecoderConfig, state: Mapping[str, Tensor], vocabulary: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """config.json and weights for `transformers`.

    Raises:
        ConfigError: T5 does not express the model.
    """
    layouts.find_layout(config, [T5], PLAIN)
    written = {
        "model_type": MODEL_TYPE,
        "architectures": [ARCHITECTURE],
        "vocab_size": vocabulary,
        "d_model": config.d_model,
        "num_layers": config.layers,
        "num_decoder_layers": config.decoder_layers or config.layers,
        "num_heads": config.heads,
        "d_kv": config.width_of_heads,
        "d_ff": config.d_ff,
        "feed_forward_proj": layouts.named(_ACTIVATIONS, config.activation),
        "layer_norm_epsilon": config.norm_epsilon or 1e-6,
        "dropout_rate": config.dropout,
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
        "dtype": "float32",
    }
    scale = config.scale_of_scores or config.width_of_heads**-0.5
    scaled = {
        name: tensor * scale if name.endswith("attention.query.weight") else tensor
        for name, tensor in state.items()
    }
    return written, layouts.write_entries(_entries(config), scaled)


def _entries(config: EncoderDecoderConfig) -> list[Entry]:
    scale, tied = config.d_model**0.5, config.tie_embeddings == "all"
    shared = EMBEDDINGS if not tied else (*EMBEDDINGS, HEAD)
    scaled = Conversion(
        lambda tensors: [tensors[0] / scale] * len(shared),
        lambda tensors: [tensors[0] * scale],
    )
    entries = [Entry(shared, ("shared.weight",), scaled)]
    if not tied:
        entries.append(Entry((HEAD,), ("lm_head.weight",)))
    gated = config.activation in GATED
    feed_forward = {"gate": "wi_0", "up": "wi_1"} if gated else {"up": "wi"}
    for stack, layers in (
        ("encoder", config.layers),
        ("decoder", config.decoder_layers or config.layers),
    ):
        names = {
            "norm": "final_layer_norm",
            "bias": "block.0.layer.0.SelfAttention.relative_attention_bias",
        }
        for number in range(layers):
            parts = [("self", "SelfAttention")]
            if stack == "decoder":
                parts.append(("cross", "EncDecAttention"))
            for place, (ours, theirs) in enumerate(parts):
                layer = f"block.{number}.layer.{place}"
                names[f"blocks.{number}.{ours}_residual.norm"] = f"{layer}.layer_norm"
                names |= {
                    f"blocks.{number}.{ours}_attention.{name}": f"{layer}.{theirs}.{short}"
                    for name, short in _PROJECTIONS.items()
                }
            layer = f"block.{number}.layer.{len(parts)}"
            names[f"blocks.{number}.feed_forward_residual.norm"] = f"{layer}.layer_norm"
            names |= {
                f"blocks.{number}.feed_forward.{name}": f"{layer}.DenseReluDense.{short}"
                for name, short in {**feed_forward, "down": "wo"}.items()
            }
        entries += [
            Entry((f"{stack}.{ours}.weight",), (f"{stack}.{theirs}.weight",))
            for ours, theirs in names.items()
        ]
    return entries
