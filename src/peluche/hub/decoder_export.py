"""Decoders in the forms that other tools read: folders of `transformers`, and GGUF files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from peluche import files
from peluche.errors import ConfigError
from peluche.hub.exported import new_folder, write_json
from peluche.hub.exported_tokenizer import ENDLESS, write_tokenizer
from peluche.hub.failure import explain_failure
from peluche.hub.gguf import write_gguf
from peluche.hub.tensors import bytes_needed, write_tensors
from peluche.models.decoder import DecoderConfig
from peluche.models.decoder_gguf import write_gguf_decoder
from peluche.models.decoder_layouts import write_decoder
from peluche.models.state_space_layouts import write_state_space
from peluche.models.state_space_lm import StateSpaceLMConfig
from peluche.text.chat import of_tokenizer
from peluche.text.pretrained import to_gguf
from peluche.text.tokenizer import Tokenizer


def export_huggingface_decoder(
    config: DecoderConfig | StateSpaceLMConfig,
    state: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    folder: Path,
) -> str:
    """Write a model so that `transformers` loads it: logits equal.

    Args:
        config, state: the model's config and state dict.
        folder: a folder that does not exist yet.

    Returns:
        The name of the class of `transformers` that reads it.

    Raises:
        ConfigError: when no class of `transformers` expresses the model; or `folder` is in use.
        CheckpointError: when it cannot be written.
    """
    vocabulary = len(state["head.weight"])
    if isinstance(config, StateSpaceLMConfig):
        written, tensors = write_state_space(config, state, vocabulary)
        length = ENDLESS
    else:
        _, written, tensors = write_decoder(config, state, vocabulary)
        length = config.max_length
    tensors = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    names = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "pad": tokenizer.pad_id}
    ids = {f"{name}_token_id": number for name, number in names.items() if number >= 0}
    never = [number for number in tokenizer.special.never if number < vocabulary]
    generation = {**ids, "do_sample": False, **({"suppress_tokens": never} if never else {})}
    chat = of_tokenizer(tokenizer)
    with new_folder(folder, bytes_needed(tensors)) as made:
        write_json(made / "config.json", written | ids)
        write_json(made / "generation_config.json", generation)
        write_tokenizer(tokenizer, made, length, ends=False)
        if chat is not None:
            files.write_text(made / "chat_template.jinja", chat.template)
        write_tensors(made / "model.safetensors", tensors)
    return str(written["architectures"][0])


def export_gguf(
    config: DecoderConfig,
    state: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    path: Path,
    format: str = "F16",
) -> str:
    """Write a model as a GGUF file, which llama.cpp reads.

    Args:
        config, state: the model's config and state dict.
        path: a file that does not exist yet.
        format: of matrices, see `peluche.hub.gguf.write_gguf`.

    Returns:
        What llama.cpp calls the architecture.

    Raises:
        ConfigError: when GGUF does not express the model or its tokenizer; or there is a file.
        CheckpointError: when it cannot be written.
    """
    if path.exists():
        raise ConfigError(
            "the output is there already", where=path, remedy="give another --output, or delete it"
        )
    metadata, tensors = write_gguf_decoder(config, state, len(state["head.weight"]))
    metadata = {"general.name": path.stem, **metadata, **to_gguf(tokenizer)}
    if (chat := of_tokenizer(tokenizer)) is not None:
        metadata["tokenizer.chat_template"] = chat.template
    arrays = {name: tensor.detach().float().numpy() for name, tensor in tensors.items()}
    needed = 4 * sum(array.size for array in arrays.values())
    with explain_failure("the exported model", path, needed, lambda: "nothing was made"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as temporary:
            write_gguf(temporary, metadata, arrays, format)
    return str(metadata["general.architecture"])
