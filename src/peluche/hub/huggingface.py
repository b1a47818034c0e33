"""Encoder-decoders as folders that `transformers` reads. It need not be installed for that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from peluche.files import write_text
from peluche.hub.exported import new_folder
from peluche.hub.tensors import bytes_needed, write_tensors
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.encoder_decoder_layouts import (
    HEAD_BIAS,
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
    tensors = {theirs: state[ours].float() for ours, theirs in parameter_names(config).items()}
    tensors[HEAD_BIAS] = torch.zeros(1, len(tokenizer))
    if config.positions == "sinusoidal":
        table = Sinusoidal(config.d_model)(torch.arange(SINUSOIDAL_LENGTH))
        tensors |= {POSITIONS.format(stack=s): table.clone() for s in ("encoder", "decoder")}
    ids = _special_ids(tokenizer)
    with new_folder(folder, bytes_needed(tensors)) as made:
        write_json(made / "config.json", _model_config(config, layout, len(tokenizer)) | ids)
        search = search._replace(max_length=min(search.max_length, _length(config)))
        write_json(made / "generation_config.json", _generation_config(tokenizer, search) | ids)
        write_tokenizer(tokenizer, made, _length(config), ends=True)
        write_tensors(made / "model.safetensors", tensors)
    return layout.architecture


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
        "suppress_tokens": [tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id],
    }


def write_tokenizer(tokenizer: Tokenizer, folder: Path, length: int, *, ends: bool) -> None:
    """The tokenizer, made to put [BOS] before each text or, with `ends`, [EOS] after it."""
    tokenizer.save(folder / "tokenizer.json")
    specification = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    number = tokenizer.eos_id if ends else tokenizer.bos_id
    if number >= 0:
        specification["post_processor"] = _template(tokenizer.token(number), number, ends=ends)
    write_json(folder / "tokenizer.json", specification)
    names = {"pad": tokenizer.pad_id, "bos": tokenizer.bos_id, "eos": tokenizer.eos_id}
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **{
                f"{name}_token": tokenizer.token(number)
                for name, number in names.items()
                if number >= 0
            },
            "model_max_length": length,
            "model_input_names": ["input_ids", "attention_mask"],
            "clean_up_tokenization_spaces": False,
            # A text that spells "[EOS]" does not end there.
            "split_special_tokens": True,
        },
    )


def _template(token: str, number: int, *, ends: bool) -> dict[str, Any]:
    special = {"SpecialToken": {"id": token, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [first, special] if ends else [special, first],
        "pair": [first, second, special] if ends else [special, first, second],
        "special_tokens": {token: {"id": token, "ids": [number], "tokens": [token]}},
    }


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """A JSON object, for people to read as well."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
