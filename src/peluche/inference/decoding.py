"""Fast decoding: packed weights, and a memory of the past that beams share."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from peluche.generation.best import GROUP
from peluche.generation.decoder import Decoder, ModelDecoder, Sources, Valid
from peluche.inference.memory import BeamMemory
from peluche.inference.packed import PackedBlock, PackedEncoderDecoder, can_pack, hiding
from peluche.models.encoder_decoder import EncoderDecoder
from peluche.models.translation import TranslationModel
from peluche.text.tokenizer import OWN, SpecialIds


def fastest_decoder(model: TranslationModel, special: SpecialIds = OWN) -> Decoder:
    """The fastest way there is to run a model; its weights are copied."""
    if isinstance(model, EncoderDecoder) and can_pack(model.config):
        return PackedDecoder(model, special)
    return ModelDecoder(model, special)


class PackedDecoder:
    """Decodes with packed copies of a model's weights; see `peluche.generation.decoder.Decoder`.

    Changes of the model show after `refresh`.
    """

    def __init__(self, model: EncoderDecoder, special: SpecialIds = OWN) -> None:
        self.special = special
        self.refresh(model)

    def refresh(self, model: EncoderDecoder) -> None:
        """Copy the weights of the moment."""
        with torch.inference_mode():
            self.weights = PackedEncoderDecoder(model, GROUP)
        self.parallel = self.weights.head.device.type == "cpu"

    def start(self, source: Sources, valid: Valid, beams: int, capacity: int) -> PackedDecoding:
        device = self.weights.head.device
        sources, padding = self.weights.encode(source.to(device), valid.to(device))
        return PackedDecoding(self.weights, sources, padding, beams)


class PackedDecoding:
    """See `peluche.generation.decoder.Decoding`.

    Args:
        sources: per layer, key and value of the source, (slots, sentences, kv_heads, width).
        padding: (sentences, 1, 1, slots), −∞ at padding; None if there is none.
    """

    def __init__(
        self,
        weights: PackedEncoderDecoder,
        sources: list[tuple[Tensor, Tensor]],
        padding: Tensor | None,
        beams: int,
    ) -> None:
        self.weights, self.sources, self.padding, self.beams = weights, sources, padding, beams
        self.memory = BeamMemory(len(sources), beams, like=sources[0][0])
        self.position = 0

    def step(self, tokens: Int[Tensor, "rows"]) -> Float[Tensor, "rows columns"]:
        stack, memory = self.weights.decoder, self.memory
        memory.open(self.position)
        beams = self.beams if self.position else 1
        rows = tokens.to(memory.past.device).view(-1, self.beams)[:, :beams]
        positions = torch.full((beams,), self.position, device=rows.device)
        bias = self._bias(beams)
        hidden = stack.embed(rows, positions)
        for layer, block in enumerate(stack.blocks):
            hidden = self._block(hidden, layer, block, positions, bias)
        logits = torch.mm(stack.norm(hidden), self.weights.head)
        logits[:, self.weights.vocabulary :] = -torch.inf
        self.position += 1
        if beams < self.beams:
            logits = logits.repeat_interleave(self.beams, 0)
        return logits.float().cpu()

    def select(self, parents: Int[Tensor, "sentences beams"]) -> None:
        self.memory.select(parents.to(self.memory.past.device))

    def keep(self, sentences: Int[Tensor, "kept"]) -> None:
        sentences = sentences.to(self.memory.past.device)
        self.memory.keep(sentences)
        self.sources = [(key[:, sentences], value[:, sentences]) for key, value in self.sources]
        self.padding = None if self.padding is None else self.padding[sentences]

    def _block(
        self, rows: Tensor, layer: int, block: PackedBlock, positions: Tensor, bias: Tensor | None
    ) -> Tensor:
        source = self.sources[layer]
        sentences = source[0].shape[1]

        def look_at_past(rows: Tensor) -> Tensor:
            attention = block.self_attention
            query, key, value = attention.split(attention.project(rows), sentences, positions)
            past = self.memory.write(layer, key, value)
            return attention.out(attention.attend(query, *past, bias))

        def look_at_source(rows: Tensor) -> Tensor:
            attention = block.cross_attention
            query = attention.split_heads(attention.query(rows), sentences)
            return attention.out(attention.attend(query, *source, self.padding))

        rows = block.self_residual(rows, look_at_past)
        rows = block.cross_residual(rows, look_at_source)
        return block.feed_forward_residual(rows, block.feed_forward)

    def _bias(self, beams: int) -> Tensor | None:
        """What is added to self-attention's scores: the model's bias, −∞ for other beams' pasts."""
        memory, model_bias = self.memory, self.weights.decoder.bias
        past = None
        if self.beams > 1 or memory.used < memory.shown:
            past = hiding(memory.past[:, None, :beams, : memory.shown])
        if model_bias is None:
            return past
        steps = torch.arange(self.position + 1, device=memory.past.device)
        by_position = model_bias(steps[-1:], steps)[0, :, 0]
        bias = by_position[:, memory.positions[:, : memory.shown]].transpose(0, 1)[:, :, None]
        return bias if past is None else bias + past
