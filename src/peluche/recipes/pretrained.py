"""Models that start from word vectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from peluche.errors import CheckpointError, ConfigError
from peluche.recipes.base import Say
from peluche.recipes.shipped import shipped
from peluche.tasks.load import load_vectors
from peluche.text.pipelines import MARK, SPECIAL
from peluche.text.tokenizer import Tokenizer


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
