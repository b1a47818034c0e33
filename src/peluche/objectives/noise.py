"""What word2vec draws at random: which frequent words to skip, and noise words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class AliasTable(NamedTuple):
    """Draws from a distribution in constant time (Walker 1977; built as in Vose 1991).

    Column j is drawn uniformly; it stands for j with `probability[j]`, otherwise for `alias[j]`.
    """

    probability: NDArray[np.float32]
    alias: NDArray[np.int32]


def alias_table(weights: NDArray[np.float64]) -> AliasTable:
    """The table of the distribution proportional to `weights` (V,)."""
    size = len(weights)
    share = weights * (size / weights.sum())
    probability, alias = np.ones(size), np.arange(size)
    small = np.flatnonzero(share < 1).tolist()
    large = np.flatnonzero(share >= 1).tolist()
    while small and large:
        poor, rich = small.pop(), large[-1]
        probability[poor], alias[poor] = share[poor], rich
        share[rich] -= 1 - share[poor]
        if share[rich] < 1:
            small.append(large.pop())
    return AliasTable(probability.astype(np.float32), alias.astype(np.int32))


def keep_probabilities(counts: NDArray[np.int64], threshold: float) -> NDArray[np.float32]:
    """(V,) how likely an occurrence of each word is read; a threshold of 0 keeps all.

    √(t/f) + t/f for a word with share f of the text, as the authors' word2vec computes it; the
    paper (Mikolov et al. 2013, arXiv 1310.4546, eq. 5) has √(t/f).
    """
    if threshold == 0:
        return np.ones(len(counts), dtype=np.float32)
    ratio = threshold * counts.sum() / np.maximum(counts, 1)
    return np.minimum(1.0, np.sqrt(ratio) + ratio).astype(np.float32)
