"""Any decoder over a paged memory, with PyTorch's own kernels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import accumulate, chain, groupby
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from peluche.inference.packed import Matrix, Pack, PackedSelfAttention, PackedStack, can_pack
from peluche.inference.paged import Blocks, PagedMemory, PagedState, find_blocks
from peluche.inference.runner import Chunk, KVCache, Read
from peluche.models.decoder import Decoder
from peluche.nn.attention import attention
from peluche.nn.masks import PreparedMask, causal

# What `PackedReader` knows beyond the packed layers of other families.
KNOWN = ("norm_input", "qkv_bias", "qk_norm", "window", "attention_scale", "attention_softcap")


class Reader(Protocol):
    """Reads chunks through a model's layers."""

    def read(self, chunks: Sequence[Chunk], memory: PagedMemory) -> Read: ...


class TorchRunner:
    """See `peluche.inference.runner.Runner`.

    Args:
        model: in evaluation mode; its weights are copied, unless a part is not known to
            `PackedReader`: then it runs as it is, a sequence at a time.
        kv_cache: how keys and values are stored; see `fastest_runner`.
    """

    pack: Pack = staticmethod(Matrix.of)

    def __init__(
        self, model: Decoder, blocks: int, block_size: int, kv_cache: KVCache = "float32"
    ) -> None:
        self.blocks, self.block_size = blocks, block_size
        self.vocabulary, self.longest = model.vocabulary, model.longest
        self.memory = PagedMemory(model.config, blocks, block_size, model.head.weight, kv_cache)
        self.window = self.memory.window
        self.refresh(model)

    @torch.inference_mode()
    def refresh(self, model: Decoder) -> None:
        packs = can_pack(model.config, *KNOWN)
        self.reader: Reader = PackedReader(model, self.pack) if packs else PlainReader(model)

    @torch.inference_mode()
    def read(self, chunks: Sequence[Chunk]) -> Read:
        self.memory.clear(chunks)
        return Read(*(each.float().cpu() for each in self.reader.read(chunks, self.memory)))

    def run(self, chunks: Sequence[Chunk]) -> Float[Tensor, "wanted vocabulary"]:
        return self.read(chunks).logits

    @torch.inference_mode()
    def copy(self, source: int, target: int) -> None:
        self.memory.copy(source, target)


class PlainReader:
    """A model as it is, for one sequence after the other."""

    def __init__(self, model: Decoder) -> None:
        self.model = model

    def read(self, chunks: Sequence[Chunk], memory: PagedMemory) -> Read:
        device = self.model.head.weight.device
        wanted = []
        for chunk in chunks:
            tokens = torch.tensor([chunk.tokens], device=device)
            positions = torch.arange(*memory.span(chunk), device=device)
            state = PagedState(memory, chunk)
            hidden = self.model.hidden(tokens, positions=positions, state=state)[0]
            wanted.append(hidden[len(chunk.tokens) - chunk.wanted :])
        found = torch.cat(wanted)
        return Read(self.model.logits(found), found)


class Group(NamedTuple):
    """Chunks of as many tokens each, which attend together.

    Attributes:
        rows: theirs among all.
        members: how many chunks.
        blocks: of all that they see, in order.
        masks: for each window, what is seen of that, (chunks, 1, tokens, slots).
        bias: what is added to scores, (chunks, heads, tokens, slots).
    """

    rows: slice
    members: int
    blocks: Blocks
    masks: dict[int | None, PreparedMask]
    bias: Tensor | None


class PackedReader:
    """Copies of a decoder's weights; the tokens of all sequences are rows of the same products."""

    def __init__(self, model: Decoder, pack: Pack) -> None:
        config = model.config
        self.stack = PackedStack.of(model.decoder, pack)
        self.input_norm = copy.deepcopy(model.decoder.input_norm)
        self.head = pack(model.head.weight.detach() / config.width_multiplier, None)
        self.softcap = config.logit_softcap
        self.windows = config.windows(config.layers)

    def read(self, chunks: Sequence[Chunk], memory: PagedMemory) -> Read:
        stack, device = self.stack, self.stack.embedding.device
        # Those of one length side by side; `order` says where they stood.
        order = sorted(range(len(chunks)), key=lambda place: len(chunks[place].tokens))
        ordered = [chunks[place] for place in order]
        groups = self._groups(ordered, memory)
        tokens = torch.tensor([list(chain.from_iterable(one.tokens for one in ordered))])
        positions = torch.cat([torch.arange(*memory.span(one)) for one in ordered]).to(device)
        slots = torch.cat([memory.slots(one) for one in ordered])
        rows = stack.embed(tokens.to(device), positions)
        if self.input_norm is not None:
            rows = self.input_norm(rows)
        for layer, block in enumerate(stack.blocks):

            def look(
                rows: Tensor,
                layer: int = layer,
                attention: PackedSelfAttention = block.self_attention,
            ) -> Tensor:
                query, key, value = attention.split(attention.project(rows), 1, positions)
                memory.write(layer, slots, key[0].transpose(0, 1), value[0].transpose(0, 1))
                mixed = [self._attend(attention, query[0], layer, one, memory) for one in groups]
                return attention.out(torch.cat(mixed))

            rows = block.self_residual(rows, look)
            rows = block.feed_forward_residual(rows, block.feed_forward)
        wanted = torch.tensor(_wanted(ordered, order), dtype=torch.int64, device=device)
        hidden = stack.norm(rows[wanted])
        logits = self.head(hidden)
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        return Read(logits, hidden)

    def _attend(
        self,
        layer: PackedSelfAttention,
        query: Float[Tensor, "heads rows width"],
        number: int,
        group: Group,
        memory: PagedMemory,
    ) -> Float[Tensor, "group_rows features"]:
        queries = query[:, group.rows].unflatten(1, (group.members, -1)).transpose(0, 1)
        shape, bias = queries.shape, group.bias
        key, value = memory.read(number, group.blocks)
        if shape[2] == 1:
            # Heads that share a key become queries of it, so that it is read once.
            queries = queries.unflatten(1, (key.shape[1], -1)).squeeze(3)
            bias = bias if bias is None else bias.unflatten(1, (key.shape[1], -1)).squeeze(3)
        mask = group.masks[self.windows[number]]
        mixed = attention(queries, key, value, mask, bias, layer.scale, layer.softcap)
        return mixed.reshape(shape).transpose(1, 2).flatten(2).flatten(0, 1)

    def _groups(self, chunks: Sequence[Chunk], memory: PagedMemory) -> list[Group]:
        """The chunks by their lengths, which rise."""
        groups, row, device = [], 0, self.stack.embedding.device
        for length, same in groupby(chunks, key=lambda chunk: len(chunk.tokens)):
            members = list(same)
            # Shorter sequences are filled up with a block of their own: what is hidden there may
            # not be a number, and would be no other sequence's fault.
            seen = [memory.seen(chunk) for chunk in members]
            tables = [chunk.blocks[one] for chunk, one in zip(members, seen, strict=True)]
            count = max(len(table) for table in tables)
            blocks = [[*table, *[table[0]] * (count - len(table))] for table in tables]
            starts = torch.tensor([[chunk.start] for chunk in members], device=device)
            positions = starts + torch.arange(length, device=device)
            firsts = torch.tensor([[memory.block_size * one.start] for one in seen], device=device)
            slots = firsts + torch.arange(count * memory.block_size, device=device)
            masks = {
                window: PreparedMask(
                    causal(window).visible(starts, positions[..., None], slots[:, None])[:, None]
                )
                for window in set(self.windows)
            }
            bias = None
            if self.stack.bias is not None:
                bias = torch.cat(list(map(self.stack.bias, positions, slots)))
            rows = slice(row, row + length * len(members))
            groups.append(Group(rows, len(members), find_blocks(blocks, device), masks, bias))
            row = rows.stop
        return groups


def _wanted(chunks: Sequence[Chunk], order: Sequence[int]) -> list[int]:
    """The rows that logits are wanted of, in the order in which the chunks were given."""
    ends = accumulate(len(chunk.tokens) for chunk in chunks)
    found = sorted(zip(order, chunks, ends, strict=True), key=lambda one: one[0])
    return [row for _, chunk, end in found for row in range(end - chunk.wanted, end)]
