"""What the engine needs of a model: tokens of many sequences in, logits out, memory in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from jaxtyping import Float
from torch import Tensor

from peluche.errors import ConfigError
from peluche.models.decoder import Decoder
from peluche.models.language_model import LanguageModel
from peluche.models.transformer import TransformerConfig

Weights = Literal["auto", "float32", "float16", "int8", "int4"]
KVCache = Literal["float32", "float16", "int8"]


class Chunk(NamedTuple):
    """Some tokens of one sequence, to be read now.

    Attributes:
        tokens: at least one.
        start: the position of the first; all before it have been read.
        blocks: where the sequence's keys and values are, in order; enough for the last token. In
            the place of those behind the runner's window (`blocks_behind`) may be any number.
        wanted: logits are given after each of the last so many tokens.
    """

    tokens: Sequence[int]
    start: int
    blocks: Sequence[int]
    wanted: int


class Read(NamedTuple):
    """What comes of reading chunks, at the tokens where logits are wanted.

    Attributes:
        hidden: what the logits are made of, after the last norm.
    """

    logits: Float[Tensor, "wanted vocabulary"]
    hidden: Float[Tensor, "wanted width"]


class Runner(Protocol):
    """Runs a model over a memory of keys and values that is cut into blocks.

    Attributes:
        block_size: positions of a block.
        blocks: how many there are.
        vocabulary: number of tokens, and width of logits.
        longest: the most tokens of a sequence; None for any number.
        window: how many positions the layer that looks farthest looks at, a token's own included;
            None if one sees everything.
    """

    block_size: int
    blocks: int
    vocabulary: int
    longest: int | None
    window: int | None

    def run(self, chunks: Sequence[Chunk]) -> Float[Tensor, "wanted vocabulary"]:
        """Read the chunks, each of another sequence; float32 logits, in order, on the CPU.

        What a chunk gives does not depend on the others, but for rounding. A run that was
        interrupted can be repeated.
        """

    def read(self, chunks: Sequence[Chunk]) -> Read:
        """`run`, with hidden states; both float32, on the CPU."""

    def copy(self, source: int, target: int) -> None:
        """Copy a block's keys and values to another block."""

    def refresh(self, model: Decoder) -> None:
        """Copy the weights of the moment. What is in the blocks was read with others."""


def widest_window(config: TransformerConfig) -> int | None:
    """See `Runner.window`."""
    windows = config.windows(config.layers)
    sizes = [window for window in windows if window is not None]
    return max(sizes) if len(sizes) == len(windows) else None


# Parameters below which nothing is gained: such a model is in the processor's cache as it is.
LEAST_PARAMETERS = 20_000_000


def fastest_runner(
    model: LanguageModel,
    blocks: int,
    block_size: int = 16,
    weights: Weights = "auto",
    kv_cache: KVCache = "float32",
) -> Runner:
    """The fastest way there is to run a model; its weights are copied.

    Args:
        weights: how they are stored. "auto" is float32 for small models; for large ones on a CPU,
            what `NativeRunner` calls so, or float16 where there is no compiler. Of the others,
            int8 and int4 become float16 where there is no compiler.
        kv_cache: how keys and values are stored. "float32" is as the model computes them; "int8" is
            whole numbers with a float32 scale for each token and head of keys and values.

    Raises:
        ConfigError: the model remembers no keys and values, or nothing here stores weights so.
    """
    from peluche.inference.half import HalfRunner, runs_halved
    from peluche.inference.native.build import native_library
    from peluche.inference.native.runner import NativeRunner, runs_natively
    from peluche.inference.torch_runner import TorchRunner

    if not isinstance(model, Decoder):
        raise ConfigError(
            f"the engine runs decoders, not models of kind '{model.config.kind}', which remember "
            "no keys and values",
            where="model.kind",
            remedy="use Completer (peluche complete), which runs every language model",
        )
    native = runs_natively(model, block_size)
    large = sum(each.numel() for each in model.parameters()) >= LEAST_PARAMETERS
    small_and_free = not large and weights in ("auto", "float32")
    if native and not small_and_free and native_library() is not None:
        return NativeRunner(model, blocks, block_size, weights, kv_cache)
    halved = weights == "float16" or (native and weights != "float32" and not small_and_free)
    if halved and runs_halved(model):
        return HalfRunner(model, blocks, block_size, kv_cache)
    if weights not in ("auto", "float32"):
        raise ConfigError(
            f"there is no runner with {weights} weights for this model",
            where="precision",
            remedy="use auto or float32",
        )
    return TorchRunner(model, blocks, block_size, kv_cache)
