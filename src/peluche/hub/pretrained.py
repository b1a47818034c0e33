"""Models that were trained elsewhere, with the surface of a run directory that tasks use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from peluche.config import Config, typed
from peluche.errors import CheckpointError, ConfigError
from peluche.hub.from_huggingface import read_config, read_json
from peluche.hub.gguf import MAGIC, GGUFFile
from peluche.hub.sentence_folders import read_sentence_settings
from peluche.hub.tensors import read_tensor, tensor_names
from peluche.models.decoder_gguf import read_gguf_decoder
from peluche.models.decoder_layouts import read_decoder
from peluche.models.decoder_tables import LAYOUTS
from peluche.models.encoder_layouts import MODEL_TYPE as BERT
from peluche.models.encoder_layouts import read_encoder
from peluche.models.layouts import Entry, read_entries
from peluche.models.roberta_layouts import MODEL_TYPES as ROBERTAS
from peluche.models.roberta_layouts import read_roberta
from peluche.models.state_space_layouts import MODEL_TYPE as MAMBA2
from peluche.models.state_space_layouts import read_state_space
from peluche.models.t5_layouts import MODEL_TYPE as T5
from peluche.models.t5_layouts import read_t5
from peluche.text import chat, pretrained
from peluche.text.chat import ChatSource
from peluche.text.tokenizer import Tokenizer

READERS: dict[str, Callable[[Mapping[str, Any], Collection[str], object], tuple[Any, Any]]] = {
    **{layout.model_type: read_decoder for layout in LAYOUTS},
    MAMBA2: read_state_space,
    BERT: read_encoder,
    **dict.fromkeys(ROBERTAS, read_roberta),
    T5: read_t5,
}
TASKS = {**dict.fromkeys((BERT, *ROBERTAS), "embedding"), T5: "translation"}
INDEX = "model.safetensors.index.json"
Weights = dict[str, Tensor]


class ModelSource(Protocol):
    """Where a model, its tokenizer and its settings come from: a run, or a pretrained model."""

    @property
    def path(self) -> Path:
        """The folder or file."""

    @property
    def config(self) -> dict[str, Any]:
        """At least `task` and `model`."""

    def tokenizer(self) -> Tokenizer:
        """What the model reads."""

    def chat(self) -> ChatSource | None:
        """How the model talks; None if it was not trained to."""

    def load_weights(self, name: str = "model") -> Weights:
        """A state dict on the CPU."""

    def part(self, name: str) -> Path:
        """Another file that the model needs."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""


class _OnDemand(Mapping[str, Tensor]):
    """Tensors by name, each read when it is asked for: all together may be most of the memory."""

    def __init__(self, names: Collection[str], read: Callable[[str], Tensor]) -> None:
        self._names, self._read = names, read

    def __getitem__(self, name: str) -> Tensor:
        return self._read(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class PretrainedModel:
    """See `ModelSource`. There are no other weights than `model`, and no other parts.

    Args:
        model: the config, and which of the model's parameters are which of `tensors`.
    """

    def __init__(
        self,
        path: Path,
        task: str,
        model: tuple[Config, Sequence[Entry]],
        tensors: Mapping[str, Tensor],
        tokenizer: Callable[[], Tokenizer],
        chat: Callable[[], ChatSource | None],
        settings: Mapping[str, Any] = {},
    ) -> None:
        config, self._entries = model
        self.path, self._tensors, self._tokenizer, self._chat = path, tensors, tokenizer, chat
        self._config = {"task": task, "model": config.model_dump(mode="json"), **settings}

    @property
    def config(self) -> dict[str, Any]:
        return dict(self._config)

    def tokenizer(self) -> Tokenizer:
        return self._tokenizer()

    def chat(self) -> ChatSource | None:
        return self._chat()

    def load_weights(self, name: str = "model") -> Weights:
        if name != "model":
            raise CheckpointError(
                f"a pretrained model has no weights '{name}'",
                where=self.path,
                remedy="leave --weights out",
            )
        return read_entries(self._entries, self._tensors, self.path)

    def part(self, name: str) -> Path:
        raise CheckpointError(
            f"a pretrained model has no {name}", where=self.path, remedy="give a run directory"
        )

    def has(self, name: str) -> bool:
        return False


def open_gguf(path: Path) -> PretrainedModel:
    """A decoder in a GGUF file.

    Raises:
        CheckpointError: the file is damaged.
        ConfigError: it holds something that has no equal here.
    """
    file = GGUFFile(path)
    tensors = _OnDemand(file.tensors, file.tensor)
    return PretrainedModel(
        path,
        "language_modelling",
        read_gguf_decoder(file.metadata, tensors, path),
        tensors,
        lambda: pretrained.from_gguf(file.metadata, path),
        lambda: chat.from_gguf(file.metadata),
    )


def is_gguf(path: Path) -> bool:
    """Whether this is a GGUF file, by its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def open_folder(folder: Path) -> PretrainedModel:
    """A decoder in a folder that `transformers` wrote.

    Raises:
        CheckpointError: a file is missing or damaged.
        ConfigError: it holds something that has no equal here.
    """
    theirs = read_config(folder)
    kind = theirs.get("model_type")
    if kind not in READERS:
        known = ", ".join(READERS)
        raise ConfigError(
            f"a model of type '{kind}' cannot be read",
            where=folder / "config.json",
            remedy=f"give one of type {known}",
        )

    tensors = _folder_tensors(folder)
    try:
        model = READERS[str(kind)](theirs, tensors, folder)
    except KeyError as error:
        raise CheckpointError(
            f"config.json lacks {error}",
            where=folder / "config.json",
            remedy="get the model again",
        ) from None
    task = TASKS.get(str(kind), "language_modelling")
    settings = {"embedding": read_sentence_settings(folder)} if task == "embedding" else {}
    return PretrainedModel(
        folder,
        task,
        model,
        tensors,
        lambda: pretrained.from_folder(folder),
        lambda: chat.from_folder(folder),
        settings,
    )


def is_folder(path: Path) -> bool:
    """Whether a folder holds a model of `transformers`."""
    return (path / "config.json").is_file()


def _folder_tensors(folder: Path) -> Mapping[str, Tensor]:
    """As float32."""
    places = {
        name: (path, own)
        for path in _weight_files(folder)
        for name, own in tensor_names(path).items()
    }
    return _OnDemand(places, lambda name: read_tensor(*places[name], torch.float32))


def _weight_files(folder: Path) -> list[Path]:
    if not (folder / INDEX).is_file():
        return [folder / "model.safetensors"]
    index = typed(read_json(folder / INDEX), {"weight_map": dict[str, str]}, folder / INDEX)
    files = set(index.get("weight_map", {}).values())
    if not files or any(Path(name).name != name for name in files):
        raise CheckpointError(
            f"{INDEX} does not say where weights are",
            where=folder / INDEX,
            remedy="get the model again",
        )
    return [folder / name for name in sorted(files)]
