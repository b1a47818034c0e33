"""Models that start from word vectors, or from a whole encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from peluche.config import Config
from peluche.errors import CheckpointError, ConfigError
from peluche.hub.resolve import open_source
from peluche.hub.run import RunDirectory
from peluche.models.encoder import EncoderConfig
from peluche.models.pretrained_encoder import HEADS, PretrainedEncoder, PretrainedEncoderConfig
from peluche.recipes.base import Recipe, Say
from peluche.recipes.shipped import shipped
from peluche.tasks.load import load_vectors
from peluche.tasks.weights import check_weights, embedding_rows
from peluche.text.pipelines import MARK, SPECIAL
from peluche.text.tokenizer import Tokenizer, TokenizerConfig

EMBEDDING = "encoder.embedding.weight"


class TrainedEncoder(NamedTuple):
    """What is taken of a model: its encoder, weights by the encoder's names, its tokenizer."""

    config: EncoderConfig
    weights: dict[str, Tensor]
    tokenizer: Tokenizer


def open_encoder(model: str) -> TrainedEncoder:
    """The encoder in a model: one that says what is hidden or embeds, or was tuned from such a one.

    Args:
        model: see `peluche.hub.resolve.open_source`.

    Raises:
        ConfigError: the model has no such encoder.
        CheckpointError: it is not there, or damaged, or its tokenizer is not its own.
    """
    source = open_source(model)
    values: Any = source.config.get("model") or {}
    if isinstance(values.get("encoder"), Mapping):
        values = values["encoder"].get("architecture") or {}
    if values.get("kind") != "encoder":
        raise ConfigError(
            "this model has no encoder to start from",
            where=source.path,
            remedy="give a run of masked_language_modelling, one that was tuned from an encoder, "
            "a BERT or RoBERTa of transformers, or all-minilm-l6-v2",
        )
    found = source.load_weights()
    prefix = next(name for name in found if name.endswith(EMBEDDING)).removesuffix(EMBEDDING)
    weights = {
        name.removeprefix(prefix): tensor
        for name, tensor in found.items()
        if name.startswith(prefix)
    }
    tokenizer = source.tokenizer()
    rows = embedding_rows(source, weights[EMBEDDING], tokenizer)
    config = EncoderConfig.parse(values, where=str(source.path))
    headless = config.model_copy(update={"masked": False, "next_sentence": False})
    own = {name: tensor for name, tensor in weights.items() if not name.startswith(HEADS)}
    check_weights(lambda: headless.build(rows), own, source)
    return TrainedEncoder(config, weights, tokenizer)


class EncoderRecipe(Recipe):
    """What recipes share whose model reads by an encoder that may have been trained before."""

    def completed(self) -> Self:
        """The recipe with what the encoder that it starts from is like, if it starts from one.

        Raises:
            ConfigError: texts may be longer than the encoder reads; or as `open_encoder`.
        """
        values: Any = self  # whose fields are those of its task
        encoder = values.model.encoder
        if not isinstance(encoder, PretrainedEncoderConfig) or encoder.architecture is not None:
            return self
        found = open_encoder(encoder.model)
        known = {"architecture": found.config, "vocabulary": len(found.weights[EMBEDDING])}
        encoder = encoder.model_copy(update=known)
        longest, given = encoder.longest, values.batching.max_length
        if longest is not None and given > longest:
            raise ConfigError(
                f"batching.max_length is {given}, and {encoder.model} reads {longest} tokens",
                remedy=f"set batching.max_length={longest}",
            )
        model = values.model.model_copy(update={"encoder": encoder})
        return self.model_copy(update={"model": model})


def own_tokenizer(
    run: RunDirectory, encoder: Config, config: TokenizerConfig, texts: Iterable[str]
) -> Tokenizer:
    """The run's; at first that of the encoder that a model starts from, or one learnt from texts.

    Raises:
        CheckpointError: it is damaged; or as `open_encoder`.
    """
    if (run.path / "tokenizer.json").exists():
        return run.tokenizer()
    if isinstance(encoder, PretrainedEncoderConfig):
        run.save_tokenizer(open_encoder(encoder.model).tokenizer)
    else:
        run.save_tokenizer(config.build(texts))
    return run.tokenizer()


def start_encoder(
    run: RunDirectory, encoder: nn.Module, config: Any, words: Mapping[int, str], say: Say
) -> None:
    """Give an encoder the weights, or its embedding the vectors, that it starts from, if any.

    A run that is gone on with needs no source: everything is in its state.

    Raises:
        CheckpointError: the weights are not those of the architecture; or as `open_encoder` and
            `start_from_vectors`.
    """
    if run.states():
        return
    if not isinstance(encoder, PretrainedEncoder):
        start_from_vectors(encoder.embedding, words, config.pretrained, say)  # type: ignore[arg-type]
        return
    own = encoder.model.state_dict()
    weights = open_encoder(config.model).weights
    unlike = [
        name for name, to in own.items() if getattr(weights.get(name), "shape", 0) != to.shape
    ]
    if unlike:
        raise CheckpointError(
            f"'{unlike[0]}' is not the one that the run's config speaks of",
            where=config.model,
            remedy="start a new run from it",
        )
    encoder.model.load_state_dict({name: weights[name] for name in own})
    say(f"the encoder starts from {config.model}")


def words_of(tokenizer: Tokenizer) -> dict[int, str]:
    """The words among a tokenizer's tokens, by number."""
    tokens = [token.removeprefix(MARK) for token in tokenizer.tokens()]
    return {number: token for number, token in enumerate(tokens) if number >= len(SPECIAL)}


def start_from_vectors(
    embedding: nn.Embedding, words: Mapping[int, str], path: Path | None, say: Say
) -> None:
    """Fill the rows of words with their vectors; rows of words without one stay as they are.

    Args:
        words: the word of each row that is one's.
        path: a run of word vectors or a file of them; None for nothing to do.

    Raises:
        ConfigError: the vectors are not as wide as the embedding.
        DataError: the file is missing or damaged.
        CheckpointError: the run is.
    """
    if path is None:
        return
    if not path.exists() and path.name in shipped():
        raise CheckpointError(
            "the word vectors to start from are not there yet",
            where=path,
            remedy=f"train them first: peluche train {path.name} --run {path}",
        )
    vectors = load_vectors(path)
    width = vectors.vectors.shape[1]
    if width != embedding.embedding_dim:
        raise ConfigError(
            f"the vectors have {width} numbers, the embedding has {embedding.embedding_dim}",
            where=path,
            remedy=f"set the width of the embedding to {width}",
        )
    found = {
        number: row
        for number, word in words.items()
        if (row := vectors.vocabulary.find(word)) is not None
    }
    with torch.no_grad():
        rows = vectors.vectors[list(found.values())].to(embedding.weight)
        embedding.weight[list(found)] = rows
    say(f"{len(found):,} of {len(words):,} words start from vectors of {path}")
