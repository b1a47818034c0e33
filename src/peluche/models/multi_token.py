"""Heads of a decoder that say tokens further on, for training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from peluche.models.transformer import TransformerConfig, build_stack
from peluche.nn.stack import LayerMasks, Stack

# What the names of their weights begin with in a decoder's state.
AHEAD = "ahead."


def count_heads(names: Iterable[str]) -> int:
    """How many of these heads a decoder has whose weights have these names."""
    return len({name.split(".")[2] for name in names if name.startswith(AHEAD)})


class MultiTokenHeads(nn.Module):
    """Layers beside one another, each for a token one place further on than the one before.

    As in Gloeckle et al. 2024 (arXiv 2404.19737, §2) the output projection is the model's own, and
    each head is one layer. The heads read what the model's own head reads, so that the model is as
    it would be without them.

    Args:
        config: of the model's layers; a head is like one of them, without experts.
        count: the first head is for the token after the next.
    """

    def __init__(self, config: TransformerConfig, count: int) -> None:
        super().__init__()
        plain = config.model_copy(update={"experts": None, "norm_input": False})
        self.stacks = nn.ModuleList(
            build_stack(plain, 1, None, bidirectional=False, cross=False) for _ in range(count)
        )
        for stack in self.stacks:
            assert isinstance(stack, Stack)
            for module in stack.modules():
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
            if config.norm_placement == "pre":
                stack.scale_branches()

    def forward(
        self, hidden: Float[Tensor, "rows length width"], mask: LayerMasks
    ) -> Iterator[Float[Tensor, "rows length width"]]:
        """What the output projection reads, head by head.

        Args:
            hidden: what the model's own head reads.
            mask: of one layer.
        """
        positions = torch.arange(hidden.shape[1], device=hidden.device)
        for stack in self.stacks:
            yield stack(hidden, positions, mask)
