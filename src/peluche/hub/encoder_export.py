"""Encoders as folders that `transformers` and sentence-transformers read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from peluche.hub.exported import new_folder, write_json
from peluche.hub.exported_tokenizer import write_tokenizer
from peluche.hub.sentence_folders import SentenceSettings, write_sentence_settings
from peluche.hub.tensors import bytes_needed, write_tensors
from peluche.models.encoder import EncoderConfig
from peluche.models.encoder_layouts import write_encoder
from peluche.models.encoder_tables import EMBEDDING
from peluche.text.tokenizer import Tokenizer

PAIRED, ALONE = ["input_ids", "token_type_ids", "attention_mask"], ["input_ids", "attention_mask"]


def export_huggingface_encoder(
    config: EncoderConfig,
    state: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    folder: Path,
    *,
    section: str = "model",
    begins: bool = True,
    answers: bool = False,
    sentences: SentenceSettings | None = None,
) -> str:
    """Write an encoder so that `transformers` loads it: vectors and logits equal.

    Args:
        config, state: the model's config and state dict.
        folder: a folder that does not exist yet.
        section: where the config stands in a recipe, for messages.
        begins: whether the model knows texts with [BOS] before them.
        answers: see `write_encoder`.
        sentences: how a vector is made of a text's, for sentence-transformers; None for none.

    Returns:
        The name of the class of `transformers` that reads it.

    Raises:
        ConfigError: when BERT does not express the model, or sentence-transformers the pooling; or
            `folder` is in use.
        CheckpointError: when it cannot be written.
    """
    architecture, written, tensors = write_encoder(
        config, state, len(state[EMBEDDING]), section, answers=answers
    )
    tensors = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    roles = {
        "cls": tokenizer.bos_id,
        "sep": tokenizer.eos_id,
        "mask": tokenizer.mask_id,
        "unk": tokenizer.unk_id,
    }
    settings: dict[str, Any] = {
        **{f"{role}_token": tokenizer.token(id) for role, id in roles.items() if id >= 0},
        "model_input_names": PAIRED if config.segments > 1 else ALONE,
    }
    if sentences is not None:  # no [MASK] has to be spelt
        settings["split_special_tokens"] = True
    with new_folder(folder, bytes_needed(tensors)) as made:
        write_json(made / "config.json", {**written, "pad_token_id": max(0, tokenizer.pad_id)})
        length = config.max_length if sentences is None else sentences.max_length
        write_tokenizer(tokenizer, made, length, begins=begins, settings=settings)
        if sentences is not None:
            write_sentence_settings(made, config.d_model, sentences)
        write_tensors(made / "model.safetensors", tensors)
    return architecture
