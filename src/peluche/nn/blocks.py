"""One block, many models: residual sublayers around built parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from peluche.nn.attention import MultiHeadAttention
from peluche.nn.dropout import Dropout
from peluche.nn.latent_attention import LatentAttention
from peluche.nn.masks import PreparedMask
from peluche.nn.state import KeyValueState
from peluche.nn.trace import record, scope

NormPlacement = Literal["pre", "post", "sandwich"]


class Residual(nn.Module):
    """x + dropout(part(x)), normalised before the part, after the sum, or around the part.

    `post` is the original Transformer (Vaswani et al. 2017), `pre` trains without warm-up
    (Xiong et al. 2020), `sandwich` normalises the part's input and its output (Ding et al. 2021).
    """

    def __init__(
        self,
        make_norm: Callable[[], nn.Module],
        placement: NormPlacement,
        dropout: float,
    ) -> None:
        super().__init__()
        self.placement = placement
        self.norm = make_norm()
        self.out_norm = make_norm() if placement == "sandwich" else None
        self.dropout = Dropout(dropout)

    def forward(
        self, hidden: Float[Tensor, "*batch d_model"], part: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "*batch d_model"]:
        if self.placement == "post":
            return self.norm(self.dropout.add(part(hidden), hidden))
        change = part(self.norm(hidden))
        if self.out_norm is not None:
            change = self.out_norm(change)
        return self.dropout.add(change, hidden)


class Block(nn.Module):
    """A Transformer layer from built parts; with `cross_attention`, a decoder's over a memory."""

    def __init__(
        self,
        *,
        self_attention: MultiHeadAttention | LatentAttention,
        feed_forward: nn.Module,
        cross_attention: MultiHeadAttention | None = None,
        make_residual: Callable[[], Residual],
    ) -> None:
        super().__init__()
        self.self_attention = self_attention
        self.self_residual = make_residual()
        self.cross_attention = cross_attention
        self.cross_residual = make_residual() if cross_attention is not None else None
        self.feed_forward = feed_forward
        self.feed_forward_residual = make_residual()

    def forward(
        self,
        hidden: Float[Tensor, "batch length d_model"],
        *,
        positions: Tensor,
        mask: PreparedMask | None = None,
        bias: Tensor | None = None,
        memory: Tensor | tuple[Tensor, Tensor] | None = None,
        memory_mask: PreparedMask | None = None,
        state: KeyValueState | None = None,
        layer: int = 0,
    ) -> Float[Tensor, "batch length d_model"]:
        """A layer's part.

        Args:
            memory: what cross-attention looks at, or its keys and values (see `keys_and_values`).
        """

        def look_at_self(x: Tensor) -> Tensor:
            with scope("self_attention"):
                return self.self_attention(
                    x, positions=positions, mask=mask, bias=bias, state=state, layer=layer
                )

        hidden = self.self_residual(hidden, look_at_self)
        if self.cross_attention is not None and self.cross_residual is not None:
            cross_attention = self.cross_attention
            assert memory is not None, "a decoder block needs a memory"
            # Here and not before: an engine may put a layer's weights together while it computes.
            if isinstance(memory, Tensor):
                memory = cross_attention.keys_and_values(memory)
            key, value = memory

            def look_at_memory(x: Tensor) -> Tensor:
                with scope("cross_attention"):
                    return cross_attention.cross(x, key, value, memory_mask)

            hidden = self.cross_residual(hidden, look_at_memory)
        hidden = self.feed_forward_residual(hidden, self.feed_forward)
        record("output", hidden)
        return hidden
