"""Encoder-decoders from folders that `transformers` wrote. It need not be installed for that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from peluche.config import typed
from peluche.errors import CheckpointError, ConfigError
from peluche.hub.tensors import read_tensors
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.encoder_decoder_layouts import HEAD_BIAS, LAYOUTS, POSITIONS, parameter_names
from peluche.models.layouts import require_held
from peluche.models.setting_types import CONFIG
from peluche.nn.positions import Sinusoidal


def load_huggingface(folder: Path) -> tuple[EncoderDecoderConfig, dict[str, Tensor]]:
    """Read a Marian or Pegasus model folder: the config and state dict of the same model of ours.

    Raises:
        CheckpointError: when a file is absent or damaged, or lacks parameters.
        ConfigError: when the folder holds another kind of model, or one that ours cannot equal.
    """
    theirs = read_config(folder)
    tensors = read_tensors(folder / "model.safetensors")
    try:
        config = _our_config(theirs, tensors, folder)
    except KeyError as error:
        raise CheckpointError(
            f"config.json lacks {error}",
            where=folder / "config.json",
            remedy="get or export the model again",
        ) from None
    layers = {"layers": config.layers, "decoder_layers": config.decoder_layers or config.layers}
    require_held(tensors, folder, **layers)
    state = {}
    for ours, name in parameter_names(config).items():
        if name not in tensors:
            raise CheckpointError(
                f"the weights lack '{name}'",
                where=folder / "model.safetensors",
                remedy="get or export the model again",
            )
        state[ours] = tensors[name]
    return config, state


def _our_config(
    theirs: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path
) -> EncoderDecoderConfig:
    layout = next((one for one in LAYOUTS if one.model_type == theirs.get("model_type")), None)
    if layout is None:
        raise ConfigError(
            f"a model of type '{theirs.get('model_type')}' cannot be read",
            where=folder / "config.json",
            remedy=f"give one of type {' or '.join(one.model_type for one in LAYOUTS)}",
        )
    _require_expressible(theirs, tensors, folder / "config.json")
    values = {
        "d_model": theirs["d_model"],
        "layers": theirs["encoder_layers"],
        "decoder_layers": theirs["decoder_layers"],
        "heads": theirs["encoder_attention_heads"],
        "d_ff": theirs["encoder_ffn_dim"],
        "activation": theirs["activation_function"],
        "norm_placement": layout.can["norm_placement"][0],
        "max_length": theirs["max_position_embeddings"],
        "dropout": theirs["dropout"],
        "attention_dropout": theirs["attention_dropout"],
        "activation_dropout": theirs["activation_dropout"],
        "positions": _kind_of_positions(tensors, theirs["d_model"]),
        "tie_embeddings": _ties(theirs),
    }
    return EncoderDecoderConfig.parse(values, where=str(folder / "config.json"))


def _require_expressible(
    theirs: Mapping[str, Any], tensors: Mapping[str, Tensor], where: Path
) -> None:
    reasons = []
    for key in ("attention_heads", "ffn_dim"):
        if theirs[f"encoder_{key}"] != theirs[f"decoder_{key}"]:
            reasons.append(f"encoder_{key} and decoder_{key} differ")
    if not theirs.get("scale_embedding", False):
        reasons.append("scale_embedding is false")
    if HEAD_BIAS in tensors and bool(tensors[HEAD_BIAS].any()):
        reasons.append(f"{HEAD_BIAS} is not zero")
    if reasons:
        raise ConfigError(
            f"this model has no equal here: {', '.join(reasons)}",
            where=where,
            remedy="give one with equal sizes in both stacks, scaled embeddings and no head bias",
        )


def _kind_of_positions(tensors: Mapping[str, Tensor], d_model: int) -> str:
    table = tensors.get(POSITIONS.format(stack="encoder"))
    if table is None or d_model % 2 or table.shape[1:] != (d_model,):
        return "sinusoidal"
    computed = Sinusoidal(d_model)(torch.arange(len(table)))
    return "sinusoidal" if torch.allclose(table.float(), computed, atol=1e-5) else "learned"


def _ties(theirs: Mapping[str, Any]) -> str:
    if not theirs.get("tie_word_embeddings", True):
        return "none"
    return "all" if theirs.get("share_encoder_decoder_embeddings", True) else "decoder"


def read_config(folder: Path) -> dict[str, Any]:
    """A folder's config.json.

    Raises:
        CheckpointError: it is absent or damaged.
        ConfigError: a value in it is of another type than it ought to be.
    """
    return typed(read_json(folder / "config.json"), CONFIG, folder / "config.json")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object out of a file of a model's folder.

    Raises:
        CheckpointError: the file is absent, damaged, or holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path.name} cannot be read ({error})",
            where=path,
            remedy="get or export the model again",
        ) from None
    if not isinstance(values, dict):
        raise CheckpointError(
            f"{path.name} is not a JSON object", where=path, remedy="get or export the model again"
        )
    return values
