"""Where the parameters of a state space model live in the folders of `transformers`: Mamba-2's."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from peluche.errors import ConfigError
from peluche.models.layouts import TIED, Conversion, Entry, require_held, write_entries
from peluche.models.state_space_lm import StateSpaceLMConfig

MODEL_TYPE, ARCHITECTURE = "mamba2", "Mamba2ForCausalLM"
EMBEDDING, HEAD = "embedding.weight", "head.weight"
_MIXER = {
    "decay_log": "A_log",
    "skip": "D",
    "step_bias": "dt_bias",
    "norm": "norm.weight",
    "kernel_bias": "conv1d.bias",
    "out.weight": "out_proj.weight",
}
_KERNEL = Conversion(lambda tensors: [tensors[0][:, 0]], lambda tensors: [tensors[0][:, None]])


def read_state_space(
    theirs: Mapping[str, Any], names: Collection[str], where: object
) -> tuple[StateSpaceLMConfig, list[Entry]]:
    """Our config of a Mamba-2 of `transformers`, and which parameters are which.

    Raises:
        ConfigError: ours cannot equal it.
        KeyError: a setting is missing.
    """
    limits = [_number(limit) for limit in theirs.get("time_step_limit", (0.0, math.inf))]
    fits = theirs.get("hidden_act", "silu") in ("silu", "swish") and not theirs.get(
        "use_bias", False
    )
    if not fits or not theirs.get("use_conv_bias", True) or limits != [0.0, math.inf]:
        raise ConfigError("this Mamba-2 has no equal here", where=where)
    tied = bool(theirs.get("tie_word_embeddings", False))
    config = StateSpaceLMConfig.parse(
        {
            "d_model": theirs["hidden_size"],
            "layers": theirs["num_hidden_layers"],
            "mixer": {
                "heads": theirs["num_heads"],
                "width": theirs["head_dim"],
                "state": theirs["state_size"],
                "groups": theirs["n_groups"],
                "kernel": theirs["conv_kernel"],
                "chunk": theirs.get("chunk_size", 64),
            },
            "norm_epsilon": theirs["layer_norm_epsilon"],
            "dropout": 0.0,
            "tie_embeddings": tied,
        },
        where=str(where),
    )
    require_held(names, where, layers=config.layers)
    return config, _entries(config)


def write_state_space(
    config: StateSpaceLMConfig, state: Mapping[str, Tensor], vocabulary: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """config.json and weights for `transformers`.

    Raises:
        ConfigError: all heads together are not some times as wide as the model.
    """
    mixer = config.mixer
    if mixer.heads * mixer.width % config.d_model:
        raise ConfigError(
            f"{ARCHITECTURE} wants heads · width to be a multiple of d_model {config.d_model}, "
            f"which {mixer.heads * mixer.width} is not",
            where="the run's config",
        )
    written = {
        "model_type": MODEL_TYPE,
        "architectures": [ARCHITECTURE],
        "vocab_size": vocabulary,
        "hidden_size": config.d_model,
        "num_hidden_layers": config.layers,
        "num_heads": mixer.heads,
        "head_dim": mixer.width,
        "expand": mixer.heads * mixer.width // config.d_model,
        "state_size": mixer.state,
        "n_groups": mixer.groups,
        "conv_kernel": mixer.kernel,
        "chunk_size": mixer.chunk,
        "layer_norm_epsilon": config.norm_epsilon,
        "tie_word_embeddings": config.tie_embeddings,
        "dtype": "float32",
    }
    return written, write_entries(_entries(config), state)


def _number(value: Any) -> Any:
    """A number of config.json, where infinity may be an object."""
    return math.inf if value == {"__float__": "Infinity"} else value


def _entries(config: StateSpaceLMConfig) -> list[Entry]:
    mixer = config.mixer
    inner, shared = mixer.heads * mixer.width, mixer.groups * mixer.state
    sizes = {"gate": inner, "value": inner, "key": shared, "query": shared, "step": mixer.heads}
    split = Conversion(
        lambda tensors: list(tensors[0].split(list(sizes.values()))),
        lambda tensors: [torch.cat(list(tensors))],
    )
    tied, embedding = config.tie_embeddings, ("backbone.embeddings.weight",)
    entries = [
        Entry((EMBEDDING, HEAD), embedding, TIED) if tied else Entry((EMBEDDING,), embedding),
        Entry(("norm.weight",), ("backbone.norm_f.weight",)),
    ]
    if not tied:
        entries.append(Entry((HEAD,), ("lm_head.weight",)))
    for layer in range(config.layers):
        ours, theirs = f"blocks.{layer}", f"backbone.layers.{layer}"
        entries += [
            Entry((f"{ours}.norm.weight",), (f"{theirs}.norm.weight",)),
            Entry(
                tuple(f"{ours}.mixer.{name}.weight" for name in sizes),
                (f"{theirs}.mixer.in_proj.weight",),
                split,
            ),
            Entry((f"{ours}.mixer.kernel",), (f"{theirs}.mixer.conv1d.weight",), _KERNEL),
            *(
                Entry((f"{ours}.mixer.{name}",), (f"{theirs}.mixer.{other}",))
                for name, other in _MIXER.items()
            ),
        ]
    return entries
