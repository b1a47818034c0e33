"""Encoder-decoders as folders that `transformers` reads. It need not be installed for that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from peluche.hub.exported import new_folder, write_json
from peluche.hub.exported_tokenizer import ENDLESS, write_tokenizer
from peluche.hub.tensors import bytes_needed, write_tensors
from peluche.models import layouts
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.encoder_decoder_layouts import (
    HEAD_BIAS,
    LAYOUTS,
    POSITIONS,
    Layout,
    parameter_names,
    written_out,
)
from peluche.models.t5_layouts import T5, write_t5
from peluche.models.transformer import PLAIN
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
    layout = layouts.find_layout(config, (*LAYOUTS, T5), PLAIN)
    vocabulary = len(state["head.weight"])
    if layout is T5:
        written, tensors = write_t5(config, state, vocabulary)
    else:
        written, tensors = _marian_or_pegasus(config, layout, state, vocabulary)
    tensors = {name: tensor.float() for name, tensor in tensors.items()}
    ids = _special_ids(tokenizer)
    with new_folder(folder, bytes_needed(tensors)) as made:
        write_json(made / "config.json", written | ids)
        search = search._replace(max_length=min(search.max_length, _length(config)))
        generation = _generation_config(tokenizer, search) | ids
        if layout is T5 and (config.decoder_layers or 0) > config.layers:
            # Its memory of what was generated is made for as many layers as the encoder has.
            generation["use_cache"] = False
        write_json(made / "generation_config.json", generation)
        write_tokenizer(tokenizer, made, _length(config), begins=False)
        write_tensors(made / "model.safetensors", tensors)
    return layout.architecture


def _marian_or_pegasus(
    config: EncoderDecoderConfig, layout: Layout, state: Mapping[str, Tensor], vocabulary: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """config.json and weights."""
    state, config = written_out(state, config)
    tensors = {theirs: state[ours] for ours, theirs in parameter_names(config).items()}
    tensors[HEAD_BIAS] = torch.zeros(1, vocabulary)
    if config.positions == "sinusoidal":
        table = Sinusoidal(config.d_model)(torch.arange(SINUSOIDAL_LENGTH))
        tensors |= {POSITIONS.format(stack=s): table.clone() for s in ("encoder", "decoder")}
    return _model_config(config, layout, vocabulary), tensors


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
    lengths = {"learned": config.max_length, "sinusoidal": SINUSOIDAL_LENGTH}
    return lengths.get(config.positions, ENDLESS)


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
