"""Texts with a piece moved to their end, so that a model learns to write what is missing inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from peluche.config import Config
from peluche.errors import ConfigError
from peluche.text.tokenizer import Tokenizer

PREFIX, SUFFIX, MIDDLE = INFILLING = ("[PREFIX]", "[SUFFIX]", "[MIDDLE]")


class InfillingConfig(Config):
    """Fill in the middle (Bavarian et al. 2022, arXiv 2207.14255, §3).

    Attributes:
        share: of the texts; the others stay as they are.
    """

    share: float = Field(0.5, gt=0, le=1)


class Infilling:
    """Encodes texts, a share of them as [PREFIX] a [SUFFIX] c [MIDDLE] b, for a text abc.

    Where a text is cut follows from its number and the seed: two characters of it, by chance.
    """

    def __init__(self, config: InfillingConfig, tokenizer: Tokenizer, seed: int) -> None:
        self.config, self.tokenizer, self.seed = config, tokenizer, seed
        self.ids = infilling_ids(tokenizer)

    @property
    def name(self) -> str:
        """Tells it from encodings that cut other texts, or elsewhere."""
        return f"infilling {self.config.model_dump_json()} {self.seed}"

    def __call__(self, texts: Sequence[str], first: int = 0) -> list[list[int]]:
        """Ids with [BOS] and [EOS].

        Args:
            first: the number of the first of these texts.
        """
        pieces: list[str] = []
        moved = []
        for number, text in enumerate(texts, first):
            random = np.random.default_rng([self.seed, number, 3])
            moved.append(bool(random.random() < self.config.share))
            low, high = sorted(random.integers(0, len(text) + 1, 2).tolist())
            pieces += [text[:low], text[high:], text[low:high]] if moved[-1] else [text, "", ""]
        encoded = self.tokenizer.encode_batch(pieces)
        rows = []
        for place, is_moved in enumerate(moved):
            parts = encoded[3 * place : 3 * place + 3]
            row = parts[0]
            if is_moved:
                row = [
                    token
                    for marker, part in zip(self.ids, parts, strict=True)
                    for token in (marker, *part)
                ]
            rows.append(self.tokenizer.around(row))
        return rows


def infilling_ids(tokenizer: Tokenizer) -> list[int]:
    """Ids of [PREFIX], [SUFFIX] and [MIDDLE].

    Raises:
        ConfigError: the tokenizer lacks them.
    """
    ids = [tokenizer.id(token) for token in INFILLING]
    if None in ids:
        raise ConfigError(
            f"the tokenizer has no {' '.join(INFILLING)}",
            remedy=f"train with tokenizer.special=[{', '.join(f'[{t}]' for t in INFILLING)}]",
        )
    return [number for number in ids if number is not None]
