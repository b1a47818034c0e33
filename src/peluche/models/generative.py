"""What all families share whose output is a token of a vocabulary."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from peluche.nn.losses import TokenLoss, fused_cross_entropy


class GenerativeModel(nn.Module):
    """A model with a head: hidden states in, scores of every token of the vocabulary out.

    Attributes:
        config: what it was built from; has a `kind`.
        vocabulary: number of tokens.
        head: the output projection, without bias.
    """

    config: Any
    vocabulary: int
    head: nn.Linear

    @property
    def longest(self) -> int | None:
        """The most tokens that a sequence may have, [EOS] included; None for any number."""
        return None

    def logits(self, hidden: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch vocabulary"]:
        """Scores of every token of the vocabulary."""
        return self.head(hidden)

    def token_loss(
        self,
        hidden: Float[Tensor, "rows width"],
        labels: Int[Tensor, "rows"],
        smoothing: float = 0.0,
    ) -> TokenLoss:
        """Projection and label-smoothed cross-entropy in one, without keeping logits."""
        return fused_cross_entropy(hidden, self.head.weight, labels, smoothing)

    def start_weights(self, std: float, *, tied: bool) -> None:
        """Glorot-uniform matrices; embeddings N(0, std²).

        Args:
            tied: whether the head is an embedding too; if not, it starts like one.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear) and module is not self.head:
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=std)
        if not tied:
            nn.init.normal_(self.head.weight, std=std)
