"""Embedding, positions, blocks and a final norm: what encoders and decoders have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from peluche.nn.blocks import Block
from peluche.nn.dropout import Dropout
from peluche.nn.masks import PreparedMask
from peluche.nn.state import KeyValueState
from peluche.nn.trace import record, scope


class Memory(NamedTuple):
    """What cross-attention looks at, e.g. an encoder's output, and which of it is real.

    Attributes:
        hidden: (B, S, d_model).
        valid: (B, S), True for tokens, False for padding.
        mask: `valid`, prepared for attention.
        keys_and_values: one (key, value) pair per decoder layer, each (B, kv_heads, S, width);
            projected once, so that decoding steps do not repeat it.
    """

    hidden: Tensor
    valid: Tensor
    mask: PreparedMask | None
    keys_and_values: tuple[tuple[Tensor, Tensor], ...] | None = None

    def select(self, rows: Tensor) -> Memory:
        """These rows only."""
        pairs = self.keys_and_values
        return Memory(
            self.hidden[rows],
            self.valid[rows],
            None if self.mask is None else self.mask.select(rows),
            pairs and tuple((key[rows], value[rows]) for key, value in pairs),
        )


LayerMasks = PreparedMask | Sequence[PreparedMask | None] | None


class Stack(nn.Module):
    """Tokens to hidden states.

    Args:
        embedding: of tokens; may be shared with other stacks; None if embeddings are given.
        scale: what embeddings are multiplied by (√d_model in Vaswani et al. 2017, §3.4).
        positions: gives vectors that are added to embeddings, or None.
        bias: gives biases that are added to self-attention scores, or None.
        blocks: the layers.
        norm: of the last layer's output.
        dropout: on the sum of embedding and position.
        input_norm: of that sum, before the dropout.
    """

    def __init__(
        self,
        *,
        embedding: nn.Embedding | None,
        scale: float,
        positions: nn.Module | None,
        bias: nn.Module | None,
        blocks: Sequence[Block],
        norm: nn.Module,
        dropout: float,
        input_norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.scale = scale
        self.positions = positions
        self.bias = bias
        self.input_norm = input_norm
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm

    def forward(
        self,
        tokens: Int[Tensor, "batch length"] | Float[Tensor, "batch length d_model"],
        positions: Int[Tensor, "length"],
        mask: LayerMasks,
        memory: Memory | None = None,
        state: KeyValueState | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Reads tokens, or embeddings of the caller's own, which are taken as they are.

        `mask` is one for all layers, or a sequence with one for each.
        """
        hidden = tokens if tokens.is_floating_point() else self.embed(tokens)
        record("embedding", hidden)
        if self.positions is not None:
            places = self.positions(positions)
            record("positions", places)
            hidden = hidden + places
        if self.input_norm is not None:
            hidden = self.input_norm(hidden)
        hidden = self.dropout(hidden)
        record("input", hidden)
        bias = None
        if self.bias is not None:
            past = positions if state is None else state.slots(int(positions[-1]) + 1)
            bias = self.bias(positions, past)
        for layer, block in enumerate(self.blocks):
            remembered = None
            if memory is not None:
                pairs = memory.keys_and_values
                remembered = memory.hidden if pairs is None else pairs[layer]
            with scope(str(layer)):
                hidden = block(
                    hidden,
                    positions=positions,
                    mask=mask[layer] if isinstance(mask, Sequence) else mask,
                    bias=bias,
                    memory=remembered,
                    memory_mask=None if memory is None else memory.mask,
                    state=state,
                    layer=layer,
                )
        hidden = self.norm(hidden)
        record("output", hidden)
        return hidden

    def embed(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length d_model"]:
        """What the first layer reads of tokens, without positions."""
        assert self.embedding is not None, "this stack is given embeddings"
        return self.embedding(tokens) * self.scale

    @torch.no_grad()
    def scale_branches(self) -> None:
        """Divide the last matrix of each residual branch by √(2·layers).

        The sum of all branches then starts at the size of one (Radford et al. 2019, §2.3).
        """
        for name, parameter in self.blocks.named_parameters():
            if name.endswith(("out.weight", "down.weight", "feed_forward.down")):
                parameter.div_((2 * len(self.blocks)) ** 0.5)
