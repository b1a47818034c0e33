"""Fast decoding: packed weights, and a memory of the past that beams share."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from peluche.generation.beam import GROUP
from peluche.inference.memory import BeamMemory
from peluche.inference.packed import PackedAttention, PackedBlock, PackedEncoderDecoder
from peluche.models.encoder_decoder import EncoderDecoder


class PackedDecoder:
    """Decodes with packed copies of a model's weights; see `peluche.generation.decoder.Decoder`.

    Changes of the model show after `refresh`.
    """

    def __init__(self, model: EncoderDecoder) -> None:
        self.refresh(model)

    def refresh(self, model: EncoderDecoder) -> None:
        """Copy the weights of the moment."""
        with torch.inference_mode():
            self.weights = PackedEncoderDecoder(model, GROUP)

    def start(
        self,
        source: Int[Tensor, "sentences source"],
        valid: Bool[Tensor, "sentences source"],
        beams: int,
        capacity: int,
    ) -> PackedDecoding:
        device = self.weights.head.device
        sources, padding = self.weights.encode(source.to(device), valid.to(device))
        return PackedDecoding(self.weights, sources, padding, beams)


class PackedDecoding:
    """See `peluche.generation.decoder.Decoding`.

    Args:
        sources: per layer, keys and values of the source, (sentences, source, kv).
        padding: (sentences, 1, 1, source), False for padding; None if there is none.
    """

    def __init__(
        self,
        weights: PackedEncoderDecoder,
        sources: list[Tensor],
        padding: Tensor | None,
        beams: int,
    ) -> None:
        self.weights, self.sources, self.padding, self.beams = weights, sources, padding, beams
        like = sources[0]
        self.memory = BeamMemory(len(sources), len(like), beams, like.shape[-1], like.device)
        self.position = 0

    def step(self, tokens: Int[Tensor, "rows"]) -> Float[Tensor, "rows columns"]:
        stack, memory = self.weights.decoder, self.memory
        memory.open(self.position)
        beams = self.beams if self.position else 1
        sentences = len(self.sources[0])
        rows = tokens.to(memory.past.device).view(sentences, -1)[:, :beams]
        positions = torch.full((beams,), self.position, device=rows.device)
        mask = self._mask(beams)
        hidden = stack.embed(rows, positions)
        for layer, block in enumerate(stack.blocks):
            hidden = self._block(hidden, layer, block, positions, mask)
        logits = torch.mm(stack.norm(hidden), self.weights.head)
        logits[:, self.weights.vocabulary :] = -torch.inf
        self.position += 1
        return logits.repeat_interleave(self.beams // beams, 0).cpu()

    def select(self, parents: Int[Tensor, "sentences beams"]) -> None:
        self.memory.select(parents.to(self.memory.past.device))

    def keep(self, sentences: Int[Tensor, "kept"]) -> None:
        sentences = sentences.to(self.memory.past.device)
        self.memory.keep(sentences)
        self.sources = [pairs[sentences] for pairs in self.sources]
        self.padding = None if self.padding is None else self.padding[sentences]

    def _block(
        self, rows: Tensor, layer: int, block: PackedBlock, positions: Tensor, mask: Tensor | None
    ) -> Tensor:
        memory, source = self.memory, self.sources[layer]

        def look_at_past(rows: Tensor) -> Tensor:
            attention = block.self_attention
            projected = attention.project(rows)
            query, pair = attention.split(projected, len(source), positions)
            past = memory.pairs[layer, :, : memory.used]
            past[:, memory.slots] = pair
            return attention.out(attention.attend(query, past, mask))

        def look_at_source(rows: Tensor) -> Tensor:
            attention: PackedAttention = block.cross_attention
            query = attention.query(rows).view(len(source), len(positions), -1)
            return attention.out(attention.attend(query, source, self.padding))

        rows = block.self_residual(rows, look_at_past)
        rows = block.cross_residual(rows, look_at_source)
        return block.feed_forward_residual(rows, block.feed_forward)

    def _mask(self, beams: int) -> Tensor | None:
        """What the fused kernel takes for self-attention: who descends from whom, and biases."""
        memory = self.memory
        past = memory.past[:, None, :beams, : memory.used] if self.beams > 1 else None
        stack = self.weights.decoder
        if stack.bias is None:
            return past
        steps = torch.arange(self.position + 1, device=memory.past.device)
        by_position = stack.bias(steps[-1:], steps)[0, :, 0]
        bias = by_position[:, memory.positions[:, : memory.used]].transpose(0, 1)[:, :, None]
        return bias if past is None else bias.masked_fill(~past, -torch.inf)
