"""What sampling parameters do to logits: pure functions of whole batches.

Each takes logits (rows, vocabulary) and a column with a value for each row, and returns new logits;
−∞ rules a token out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from peluche.generation.best import best_tokens

# Bits of a float32 that say where in its bin it is: 64 bins from each power of two to the next.
BIN_BITS = 17
# Columns that are sorted faster than they are put into bins.
FEW = 1024

Column = Float[Tensor, "rows 1"]


def apply_temperature(
    logits: Float[Tensor, "rows vocabulary"], temperature: Column
) -> Float[Tensor, "rows vocabulary"]:
    """Divide by the temperature (Ackley et al. 1985)."""
    return logits / temperature


def keep_top_k(
    logits: Float[Tensor, "rows vocabulary"], top_k: Column
) -> Float[Tensor, "rows vocabulary"]:
    """Rule out all but the k best tokens (Fan et al. 2018, §5.1); ties with the k-th stay."""
    place = top_k.long().clamp(max=logits.shape[-1]) - 1
    best = best_tokens(logits, int(place.max()) + 1)[0]
    return logits.masked_fill(logits < best.gather(-1, place), -torch.inf)


def keep_top_p(
    logits: Float[Tensor, "rows vocabulary"], top_p: Column
) -> Float[Tensor, "rows vocabulary"]:
    """Rule out all but the smallest set of best tokens with probability p (Holtzman et al. 2020).

    The token that crosses p stays, and so do its ties.
    """
    unlikeliness = logits.amax(-1, keepdim=True) - logits
    worst = _last_within(-logits, unlikeliness, logits.softmax(-1), top_p).neg_()
    return logits.masked_fill(logits < worst, -torch.inf)


def keep_min_p(
    logits: Float[Tensor, "rows vocabulary"], min_p: Column
) -> Float[Tensor, "rows vocabulary"]:
    """Rule out tokens under a share of the best probability (Nguyen et al. 2024, §3)."""
    floor = logits.amax(-1, keepdim=True) + min_p.log()
    return logits.masked_fill(logits < floor, -torch.inf)


def keep_typical(
    logits: Float[Tensor, "rows vocabulary"], typical_p: Column
) -> Float[Tensor, "rows vocabulary"]:
    """Rule out all but the smallest set with probability p of tokens whose surprisal is nearest to
    the entropy (Meister et al. 2022, eq. 10). The token that crosses p stays.
    """
    surprisal = -logits.log_softmax(-1)
    probabilities = (-surprisal).exp()
    entropy = (probabilities * surprisal).nansum(-1, keepdim=True)
    strangeness = (surprisal - entropy).abs_()
    strangest = _last_within(strangeness, strangeness, probabilities, typical_p)
    return logits.masked_fill(strangeness > strangest, -torch.inf)


def _last_within(
    scores: Float[Tensor, "rows vocabulary"],
    distances: Float[Tensor, "rows vocabulary"],
    probabilities: Float[Tensor, "rows vocabulary"],
    mass: Column,
) -> Column:
    """The last score of the lowest ones whose tokens hold a probability, without sorting all.

    Distances are put into bins, which hold probabilities that are added up; what is sorted is the
    one bin in which the mass is reached.

    Args:
        distances: ≥ 0, in the order of the scores, of which several may have one distance.
    """
    if scores.shape[-1] <= FEW:
        order = torch.from_numpy(scores.numpy().argsort(-1))
        held = probabilities.gather(-1, order).cumsum(-1, dtype=torch.float64)
        last = (held < mass).sum(-1, keepdim=True).clamp(max=scores.shape[-1] - 1)
        return scores.gather(-1, order.gather(-1, last))
    found = torch.empty_like(mass)
    # The bits of numbers ≥ 0 are in the order of the numbers.
    bits = distances.numpy().view(np.uint32) >> BIN_BITS
    rows = zip(scores.numpy(), bits, probabilities.numpy(), mass[:, 0].tolist(), strict=True)
    for row, (score, bins, probability, wanted) in enumerate(rows):
        below = np.bincount(bins, weights=probability).cumsum()
        crossed = min(int(below.searchsorted(wanted)), len(below) - 1)
        within = np.flatnonzero(bins == crossed)
        within = within[score[within].argsort(kind="stable")]
        upto = (below[crossed - 1] if crossed else 0.0) + probability[within].cumsum(dtype=float)
        place = min(int(upto.searchsorted(wanted)), len(within) - 1)
        found[row, 0] = float(score[within[place]])
    return found


Processor = Callable[[Tensor, Tensor], Tensor]
# In the order in which they are applied: parameter, the value that changes nothing, and how.
PROCESSORS: tuple[tuple[str, float | None, Processor], ...] = (
    ("temperature", 1.0, apply_temperature),
    ("top_k", None, keep_top_k),
    ("top_p", 1.0, keep_top_p),
    ("min_p", 0.0, keep_min_p),
    ("typical_p", 1.0, keep_typical),
)
