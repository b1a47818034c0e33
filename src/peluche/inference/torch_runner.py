"""Any decoder over a paged memory, with PyTorch's own kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from peluche.inference.paged import PagedState, Pages, PlainPages, QuantisedPages
from peluche.inference.runner import Chunk, KeptAs
from peluche.models.decoder import Decoder

PAGES = {"plain": PlainPages, "int8": QuantisedPages}


class TorchRunner:
    """See `peluche.inference.runner.Runner`.

    Args:
        model: in evaluation mode.
        kept_as: how keys and values are stored.
    """

    def __init__(
        self, model: Decoder, blocks: int, block_size: int, kept_as: KeptAs = "plain"
    ) -> None:
        config = model.config
        self.model, self.blocks, self.block_size = model, blocks, block_size
        self.vocabulary, self.longest = model.vocabulary, model.longest
        self.windows = config.windows(config.layers)
        heads, width, value_width = config.kv_heads or config.heads, config.width_of_heads, None
        if config.latent is not None:
            heads, width, value_width = 1, config.latent.remembered, 0
        value_width = width if value_width is None else value_width
        shape = (config.layers, blocks, block_size, heads)
        like = model.head.weight.detach()
        self.keys: Pages = PAGES[kept_as]([*shape, width], like)
        self.values: Pages = PAGES[kept_as]([*shape, value_width], like)

    @torch.inference_mode()
    def run(self, chunks: Sequence[Chunk]) -> Float[Tensor, "wanted vocabulary"]:
        return torch.cat([self._run_one(chunk) for chunk in chunks]).float().cpu()

    def copy(self, source: int, target: int) -> None:
        self.keys.copy(source, target)
        self.values.copy(source, target)

    def _run_one(self, chunk: Chunk) -> Tensor:
        device = self.model.head.weight.device
        tokens = torch.tensor(chunk.tokens, device=device)
        end = chunk.start + len(tokens)
        blocks = torch.tensor(chunk.blocks[: -(-end // self.block_size)], device=device)
        state = PagedState(self.keys, self.values, blocks, self.block_size, self.windows)
        positions = torch.arange(chunk.start, end, device=device)
        hidden = self.model.hidden(tokens[None], positions=positions, state=state)[0]
        return self.model.logits(hidden[len(tokens) - chunk.wanted :])
