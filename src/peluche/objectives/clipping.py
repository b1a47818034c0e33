"""Attention scores that do not grow without bound: MuonClip's QK-clip."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from peluche.nn.watching import Watched
from peluche.objectives.base import Losses, Metric
from peluche.processes import joined


class ScoreClip:
    """After a step, heads whose largest score was over a limit get smaller queries and keys.

    QK-clip (Kimi K2, 2025, arXiv 2507.20534, §2.1): γ = min(1, limit / S_max) for each head, over
    all batches of the step; see `rescale_heads` for what is multiplied. Metric `largest_score`, a
    mean over batches, is that of the whole model. It costs the scores' product once more.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._largest: dict[int, tuple[Watched, Tensor]] = {}

    def added(self, losses: Losses, scores: Sequence[tuple[Watched, Tensor]]) -> Losses:
        """`losses` with the metric of a forward pass, which is kept until `stepped`.

        Args:
            scores: attention layers and the largest score of each of their heads, (heads,).
        """
        # What is scored in an evaluation is not of the step.
        for layer, largest in scores if torch.is_grad_enabled() else ():
            _, before = self._largest.get(id(layer), (layer, largest))
            self._largest[id(layer)] = layer, torch.maximum(before, largest)
        most = max(float(largest.max()) for _, largest in scores)
        return Losses(losses.terms, {**losses.metrics, "largest_score": Metric(most, 1.0)})

    def begin(self) -> None:
        """Before every try of a step."""
        self._largest = {}

    def stepped(self) -> None:
        """After a step: bound the heads that were over the limit in it, in any process."""
        for layer, own in self._largest.values():
            everywhere = joined().everyone(own.tolist())
            largest = torch.tensor(everywhere, dtype=own.dtype, device=own.device).amax(0)
            if bool((largest > self.limit).any()):
                # A head whose largest score is negative is far from the limit, too.
                layer.rescale_heads(torch.where(largest > self.limit, self.limit / largest, 1.0))
        self._largest = {}
