"""What tasks share that are measured on plain texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from peluche.config import parse_as
from peluche.data.text_parts import Texts
from peluche.data.text_sources import PlainTextSource
from peluche.data.texts import PlainText, text_file
from peluche.errors import ConfigError, DataError
from peluche.tasks.evaluation import Evaluable
from peluche.text.tokenizer import Tokenizer


def between_marks(
    tokenizer: Tokenizer, texts: Sequence[PlainText]
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Texts as numbers one after the other, each between [BOS] and [EOS], and their lengths."""
    encoded = tokenizer.encode_batch([one.text for one in texts], bos=True, eos=True)
    tokens = np.concatenate([np.asarray(one, dtype=np.uint32) for one in encoded])
    return tokens, np.array([len(one) for one in encoded])


def row_likelihoods(
    model: Any, hidden: Tensor, labels: Tensor, counted: Tensor
) -> list[tuple[float, float]]:
    """Of each row: the negative log-likelihood of labels that count, and how many they are.

    Args:
        hidden: (B, T, D), of a model with `token_loss`.
        labels: (B, T).
        counted: (B, T).
    """
    found = []
    for states, said, kept in zip(hidden, labels, counted, strict=True):
        nll = model.token_loss(states[kept], said[kept]).nll
        found.append((float(nll), float(kept.sum())))
    return found


class TextTask(Evaluable):
    """Takes a file of texts, read as the run's own are unless it says else."""

    def source(self, names: Sequence[str], **options: Any) -> Texts:
        """See `Evaluable.source`. A file that is not of the run's kind is one text."""
        if len(names) > 1:
            raise DataError(f"{len(names)} names given", remedy="give one file")
        options = {key: value for key, value in options.items() if value is not None}
        if set(options) - {"encoding", "limit"}:
            raise ConfigError(
                f"a text has no {', '.join(sorted(set(options) - {'encoding', 'limit'}))}",
                remedy="leave it out",
            )
        values = text_file(names[0], self.like(names)) if names else self.like(names)
        found: Texts = parse_as(PlainTextSource, {**values, **options}, where=" ".join(names))
        return found
