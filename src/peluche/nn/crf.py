"""A linear-chain conditional random field over tags (Lafferty et al. 2001)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class LinearChain(nn.Module):
    """Scores whole sequences of tags: emissions of each token plus transitions between neighbours.

    With score s(y) = start[y₁] + Σ emission[t, y_t] + Σ transition[y_t, y_{t+1}] + end[y_T], the
    probability of y is exp(s(y)) / Σ over all sequences (Lample et al. 2016, eq. 1).

    Args:
        tags: how many tags there are.
        forbidden: (tags + 2, tags + 2), True where row may not be followed by column; the last
            two are start and end. None forbids nothing.
    """

    forbidden: Tensor | None

    def __init__(
        self, tags: int, forbidden: Bool[Tensor, "tags_and_2 tags_and_2"] | None = None
    ) -> None:
        super().__init__()
        self.start, self.end = tags, tags + 1
        self.transitions = nn.Parameter(torch.zeros(tags + 2, tags + 2))
        self.register_buffer("forbidden", forbidden, persistent=False)

    def loss(
        self,
        emissions: Float[Tensor, "batch length tags"],
        tags: Int[Tensor, "batch length"],
        valid: Bool[Tensor, "batch length"],
    ) -> Float[Tensor, "batch"]:
        """−log p(tags) in nats, per sentence; each has at least one token, padding is last."""
        return self.log_partition(emissions, valid) - self.score(emissions, tags, valid)

    def score(
        self,
        emissions: Float[Tensor, "batch length tags"],
        tags: Int[Tensor, "batch length"],
        valid: Bool[Tensor, "batch length"],
    ) -> Float[Tensor, "batch"]:
        """s(tags), per sentence."""
        tags = tags.masked_fill(~valid, 0)
        moves = self._moves()
        picked = emissions.gather(2, tags[:, :, None])[:, :, 0]
        between = moves[tags[:, :-1], tags[:, 1:]]
        last = tags.gather(1, valid.sum(1, keepdim=True) - 1)[:, 0]
        # Filled, not multiplied: padding may meet a transition of −∞.
        return (
            moves[self.start, tags[:, 0]]
            + picked.masked_fill(~valid, 0.0).sum(1)
            + between.masked_fill(~valid[:, 1:], 0.0).sum(1)
            + moves[last, self.end]
        )

    def log_partition(
        self, emissions: Float[Tensor, "batch length tags"], valid: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch"]:
        """log Σ exp s(y) over all sequences of tags, by the forward algorithm."""
        moves = self._moves()
        inner = moves[: self.start, : self.start]
        alpha = moves[self.start, : self.start] + emissions[:, 0]
        for place in range(1, emissions.shape[1]):
            reached = (alpha[:, :, None] + inner).logsumexp(1) + emissions[:, place]
            alpha = torch.where(valid[:, place, None], reached, alpha)
        return (alpha + moves[: self.start, self.end]).logsumexp(1)

    @torch.no_grad()
    def decode(
        self, emissions: Float[Tensor, "batch length tags"], valid: Bool[Tensor, "batch length"]
    ) -> Int[Tensor, "batch length"]:
        """The likeliest tags (Viterbi 1967); 0 at padding."""
        moves = self._moves()
        inner = moves[: self.start, : self.start]
        best = moves[self.start, : self.start] + emissions[:, 0]
        stay = torch.arange(self.start, device=emissions.device).expand_as(best)
        pointers = []
        for place in range(1, emissions.shape[1]):
            reached, came_from = (best[:, :, None] + inner).max(1)
            now = valid[:, place, None]
            best = torch.where(now, reached + emissions[:, place], best)
            pointers.append(torch.where(now, came_from, stay))
        tag = (best + moves[: self.start, self.end]).argmax(1, keepdim=True)
        path = [tag]
        for pointer in reversed(pointers):
            tag = pointer.gather(1, tag)
            path.append(tag)
        return torch.cat(path[::-1], 1).masked_fill(~valid, 0)

    def _moves(self) -> Tensor:
        if self.forbidden is None:
            return self.transitions
        return self.transitions.masked_fill(self.forbidden, -torch.inf)
