"""Encoder-decoders to and from folders that `transformers` reads. It need not be installed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from peluche.errors import CheckpointError, ConfigError
from peluche.files import write_text
from peluche.hub.exported import new_folder
from peluche.hub.tensors import bytes_needed, read_tensors, write_tensors
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.encoder_decoder_layouts import (
    HEAD_BIAS,
    LAYOUTS,
    POSITIONS,
    Layout,
    find_layout,
    parameter_names,
    written_out,
)
from peluche.nn.positions import Sinusoidal
from peluche.text.tokenizer import Tokenizer

# Sinusoidal positions have no end here; transformers wants a table of some length.
SINUSOIDAL_LENGTH = 1024


class SearchDefaults(NamedTuple):
    """What `generate` does unless it is told otherwise.

    Attributes:
        beams: one is greedy search.
        length_penalty: α of score = log-probability / length^α, [EOS] counted.
        max_length: the most tokens, [BOS] and [EOS] counted.
    """

    beams: int = 1
    length_penalty: float = 1.0
    max_length: int = 256


# What ours does not have and theirs must not do.
_FIXED = {
    "is_encoder_decoder": True,
    "scale_embedding": True,
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
    "forced_eos_token_id": None,
}


def export_huggingface(
    config: EncoderDecoderConfig,
    state: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    folder: Path,
    search: SearchDefaults = SearchDefaults(),
) -> str:
    """Write a model so that `transformers` loads it: logits equal, `generate` says the same.

    Args:
        config, state: the model's config and state dict.
        folder: a folder that does not exist yet.
        search: the settings of `generate`.

    Returns:
        The name of the class of `transformers` that reads it.

    Raises:
        ConfigError: when no class of `transformers` expresses the model; or `folder` is in use.
        CheckpointError: when it cannot be written.
    """
    layout = find_layout(config)
    state, config = written_out(state, config)
    tensors = {theirs: state[ours] for ours, theirs in parameter_names(config).items()}
    tensors[HEAD_BIAS] = torch.zeros(1, len(tokenizer))
    if config.positions == "sinusoidal":
        table = Sinusoidal(config.d_model)(torch.arange(SINUSOIDAL_LENGTH))
        tensors |= {POSITIONS.format(stack=s): table.clone() for s in ("encoder", "decoder")}
    ids = _special_ids(tokenizer)
    with new_folder(folder, bytes_needed(tensors)) as made:
        _write_json(made / "config.json", _model_config(config, layout, len(tokenizer)) | ids)
        _write_json(made / "generation_config.json", _generation_config(tokenizer, search) | ids)
        _write_tokenizer(tokenizer, made, _length(config))
        write_tensors(made / "model.safetensors", tensors)
    return layout.architecture


def load_huggingface(folder: Path) -> tuple[EncoderDecoderConfig, dict[str, Tensor]]:
    """Read a Marian or Pegasus model folder: the config and state dict of the same model of ours.

    Raises:
        CheckpointError: when a file is absent or damaged, or lacks parameters.
        ConfigError: when the folder holds another kind of model, or one that ours cannot equal.
    """
    theirs = _read_json(folder / "config.json")
    tensors = read_tensors(folder / "model.safetensors")
    config = _our_config(theirs, tensors, folder)
    state = {}
    for ours, name in parameter_names(config).items():
        if name not in tensors:
            raise CheckpointError(
                f"the weights lack '{name}'",
                where=folder / "model.safetensors",
                remedy="export the model again",
            )
        state[ours] = tensors[name]
    return config, state


def _model_config(config: EncoderDecoderConfig, layout: Layout, vocabulary: int) -> dict[str, Any]:
    sizes = {"encoder": config.layers, "decoder": config.decoder_layers or config.layers}
    per_stack = {
        f"{stack}_{key}": value
        for stack, layers in sizes.items()
        for key, value in (
            ("layers", layers),
            ("attention_heads", config.heads),
            ("ffn_dim", config.d_ff),
        )
    }
    return {
        "model_type": layout.model_type,
        "architectures": [layout.architecture],
        "vocab_size": vocabulary,
        "decoder_vocab_size": vocabulary,
        "d_model": config.d_model,
        **per_stack,
        "activation_function": config.activation,
        "max_position_embeddings": _length(config),
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "share_encoder_decoder_embeddings": config.tie_embeddings == "all",
        "tie_word_embeddings": config.tie_embeddings != "none",
        **_FIXED,
        "dtype": "float32",
    }


def _length(config: EncoderDecoderConfig) -> int:
    return config.max_length if config.positions == "learned" else SINUSOIDAL_LENGTH


def _special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    return {
        "pad_token_id": tokenizer.pad_id,
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "decoder_start_token_id": tokenizer.bos_id,
    }


def _generation_config(tokenizer: Tokenizer, search: SearchDefaults) -> dict[str, Any]:
    return {
        "max_length": search.max_length,
        "num_beams": search.beams,
        "length_penalty": search.length_penalty,
        # Not before no beam can win any more, which is how ours stops.
        "early_stopping": "never" if search.beams > 1 else False,
        "do_sample": False,
        "forced_eos_token_id": None,
        "suppress_tokens": [tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id],
    }


def _write_tokenizer(tokenizer: Tokenizer, folder: Path, length: int) -> None:
    """The tokenizer, made to end each sentence with [EOS] as the encoder expects."""
    tokenizer.save(folder / "tokenizer.json")
    specification = _read_json(folder / "tokenizer.json")
    end, number = tokenizer.token(tokenizer.eos_id), tokenizer.eos_id
    specification["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": end, "type_id": 0}},
        ],
        "pair": [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 0}},
            {"SpecialToken": {"id": end, "type_id": 0}},
        ],
        "special_tokens": {end: {"id": end, "ids": [number], "tokens": [end]}},
    }
    _write_json(folder / "tokenizer.json", specification)
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": tokenizer.token(tokenizer.pad_id),
            "bos_token": tokenizer.token(tokenizer.bos_id),
            "eos_token": end,
            "model_max_length": length,
            "clean_up_tokenization_spaces": False,
            # A text that spells "[EOS]" does not end there.
            "split_special_tokens": True,
        },
    )


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
    if table is None or d_model % 2:
        return "sinusoidal"
    computed = Sinusoidal(d_model)(torch.arange(len(table)))
    return "sinusoidal" if torch.allclose(table.float(), computed, atol=1e-5) else "learned"


def _ties(theirs: Mapping[str, Any]) -> str:
    if not theirs.get("tie_word_embeddings", True):
        return "none"
    return "all" if theirs.get("share_encoder_decoder_embeddings", True) else "decoder"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path.name} cannot be read ({error})", where=path, remedy="export the model again"
        ) from None
    if not isinstance(values, dict):
        raise CheckpointError(
            f"{path.name} is not a JSON object", where=path, remedy="export the model again"
        )
    return values


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
