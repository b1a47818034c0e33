"""Attention whose keys and values are remembered as one small vector a token."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from peluche.config import Config
from peluche.nn.attention import HeadPositions, attention
from peluche.nn.masks import PreparedMask
from peluche.nn.state import KeyValueState
from peluche.nn.trace import record
from peluche.nn.watching import watch


class LatentConfig(Config):
    """Multi-head latent attention (DeepSeek-V2, 2024, arXiv 2405.04434, §2.1).

    Attributes:
        kv_rank: width of the vector that keys and values of all heads are made from.
        query_rank: the same for queries, to save parameters; None: queries are made directly.
        rope_width: features of a head that turn with position; one key for all heads.
    """

    kv_rank: int = Field(gt=0)
    query_rank: int | None = Field(None, gt=0)
    rope_width: int = Field(16, gt=0, multiple_of=2)

    @property
    def remembered(self) -> int:
        """Numbers that are remembered of a token in a layer."""
        return self.kv_rank + self.rope_width


class LatentAttention(nn.Module):
    """See `LatentConfig`. A drop-in for `MultiHeadAttention` as self-attention.

    Without a state keys and values of all heads are written out. With one, the matrices that would
    make them are taken over to the queries and the output (§2.1.2, "absorbed"), so that all heads
    look at the remembered vectors themselves, as in multi-query attention. Both are the same
    function.

    Args:
        head_width: features of a head that do not turn, and of its values.
        make_norm: of the small vectors, for a width.
    """

    def __init__(
        self,
        config: LatentConfig,
        d_model: int,
        heads: int,
        head_width: int,
        *,
        make_norm: Callable[[int], nn.Module],
        head_positions: HeadPositions | None = None,
        dropout: float = 0.0,
        scale: float | None = None,
        softcap: float | None = None,
    ) -> None:
        super().__init__()
        self.config, self.heads, self.head_width = config, heads, head_width
        self.head_positions, self.dropout, self.softcap = head_positions, dropout, softcap
        self.scale = (head_width + config.rope_width) ** -0.5 if scale is None else scale
        width = heads * (head_width + config.rope_width)
        rank = config.query_rank
        self.small_query = None
        if rank is not None:
            small = nn.Linear(d_model, rank, bias=False)
            self.small_query = nn.Sequential(small, make_norm(rank))
        self.query = nn.Linear(rank or d_model, width, bias=False)
        self.latent = nn.Linear(d_model, config.kv_rank, bias=False)
        self.latent_norm = make_norm(config.kv_rank)
        self.turned_key = nn.Linear(d_model, config.rope_width, bias=False)
        self.key = nn.Linear(config.kv_rank, heads * head_width, bias=False)
        self.value = nn.Linear(config.kv_rank, heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, d_model, bias=False)

    def forward(
        self,
        hidden: Float[Tensor, "batch query d_model"],
        *,
        positions: Tensor,
        mask: PreparedMask | None = None,
        bias: Tensor | None = None,
        state: KeyValueState | None = None,
        layer: int = 0,
    ) -> Float[Tensor, "batch query d_model"]:
        """Self-attention; with a `state`, over everything it remembers of this layer."""
        small = hidden if self.small_query is None else self.small_query(hidden)
        query = self.query(small).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        still, turned = query.split([self.head_width, self.config.rope_width], -1)
        latent = self.latent_norm(self.latent(hidden))[:, None]
        key = self.turned_key(hidden)[:, None]
        if self.head_positions is not None:
            turned, key = (self.head_positions(part, positions) for part in (turned, key))
        if state is None:
            mixed = self._written_out(still, turned, latent, key, mask, bias)
        else:
            both = torch.cat([latent, key], -1)
            state.write(layer, positions, key=both, value=both[..., :0])
            view = state.view(layer)
            mixed = self._absorbed(still, turned, view.key, view.mask, bias)
        return self.out(mixed.transpose(1, 2).flatten(2))

    @torch.no_grad()
    def rescale_heads(self, factors: Float[Tensor, "heads"]) -> None:
        """See `Watched`: √factor on what a head has of its own, factor on queries that meet the
        key that all heads share (Kimi K2, §2.1)."""
        root = factors.sqrt()[:, None, None]
        query = self.query.weight.unflatten(0, (self.heads, -1))
        query[:, : self.head_width] *= root
        query[:, self.head_width :] *= factors[:, None, None]
        self.key.weight.unflatten(0, (self.heads, -1)).mul_(root)

    def _written_out(
        self,
        still: Tensor,
        turned: Tensor,
        latent: Tensor,
        key: Tensor,
        mask: PreparedMask | None,
        bias: Tensor | None,
    ) -> Tensor:
        keys, values = (
            part(latent[:, 0]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.key, self.value)
        )
        keys = torch.cat([keys, key.expand(-1, self.heads, -1, -1)], -1)
        return self._attend(torch.cat([still, turned], -1), keys, values, mask, bias)

    def _absorbed(
        self,
        still: Tensor,
        turned: Tensor,
        remembered: Tensor,
        mask: PreparedMask | None,
        bias: Tensor | None,
    ) -> Tensor:
        to_key, to_value = (
            part.weight.unflatten(0, (self.heads, self.head_width))
            for part in (self.key, self.value)
        )
        query = torch.cat([still @ to_key, turned], -1)
        values = remembered[..., : self.config.kv_rank]
        return self._attend(query, remembered, values, mask, bias) @ to_value.transpose(1, 2)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: PreparedMask | None,
        bias: Tensor | None,
    ) -> Tensor:
        record("query", query)
        record("key", key)
        record("value", value)
        watch(self, query, key, mask, self.scale)
        return attention(
            query,
            key,
            value,
            mask,
            bias,
            scale=self.scale,
            softcap=self.softcap,
            dropout=self.dropout if self.training else 0.0,
        )
