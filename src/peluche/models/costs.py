"""What a forward and backward pass costs, counted from the structure of a model."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.transformer import TransformerConfig
from peluche.nn.attention import MultiHeadAttention
from peluche.nn.experts import Experts
from peluche.nn.feedforward import GATED
from peluche.nn.latent_attention import LatentAttention
from peluche.nn.state_space import StateSpace

# Two operations per multiply-add, and backward costs twice what forward does.
PER_PRODUCT = 3 * 2


def training_flops(
    config: EncoderDecoderConfig, vocabulary: int, lengths: Sequence[tuple[int, int]]
) -> float:
    """Floating-point operations of one training pass over sentences.

    Only matrix products count, two operations per multiply-add, backward twice forward (Kaplan et
    al. 2020, §2.1). The encoder runs on source tokens, the decoder and the output projection on
    target tokens, attention on pairs of tokens; padding counts nothing.

    Args:
        lengths: (source tokens, target tokens) of each sentence.
    """
    width, heads = config.d_model, config.heads
    kv_width = width // heads * (config.kv_heads or heads)
    matrices = 3 if config.activation in GATED else 2
    feed_forward = matrices * width * config.d_ff
    queries, keys = 2 * width * width, 2 * width * kv_width
    decoder_layers = config.decoder_layers or config.layers
    products = 0.0
    for source, target in lengths:
        encoder = source * (queries + keys + feed_forward) + 2 * source * source * width
        # A causal score matrix has half of its entries.
        decoder = target * (2 * queries + keys + feed_forward) + source * keys
        decoder += target * target * width + 2 * target * source * width
        head = target * width * vocabulary
        products += config.layers * encoder + decoder_layers * decoder + head
    return PER_PRODUCT * products


def token_flops(model: nn.Module, length: int, *, causal: bool = True) -> float:
    """Floating-point operations of training per token, in rows of `length` tokens.

    The rule of `training_flops`, for models that read one row of tokens: every matrix is multiplied
    with every token, but for embeddings, which are looked up, and experts, of which a token goes
    through `active`. The head counts, also where it is the embedding. Attention is over the keys
    that a query sees, as if a row were one document: (length + 1) / 2 on average where it is
    causal, fewer in a window. Norms, activations, softmax and positions count nothing.
    """
    weights = sum(_matrices(module) for module in model.modules())
    layers = [
        module
        for module in model.modules()
        if isinstance(module, MultiHeadAttention | LatentAttention)
    ]
    config = getattr(model, "config", None)
    plain: tuple[int | None, ...] = (None,) * len(layers)
    windows = config.windows(len(layers)) if isinstance(config, TransformerConfig) else plain
    seen = 0.0
    for layer, window in zip(layers, windows, strict=True):
        seen += _features(layer) * mean_keys(length, window, causal=causal)
    for module in model.modules():
        if isinstance(module, StateSpace):
            sizes = module.config
            inside = mean_keys(min(length, sizes.chunk), None, causal=True)
            seen += sizes.heads * (sizes.state + sizes.width) * inside
            seen += 2 * sizes.heads * sizes.state * sizes.width
    return PER_PRODUCT * (weights + seen)


def mean_keys(length: int, window: int | None, *, causal: bool) -> float:
    """How many keys a query sees, on average over a row.

    A window of w shows a causal query itself and w − 1 before it, and another as many after it.
    """
    near = min(length, window or length)
    before = near - near * (near - 1) / (2 * length)
    if causal:
        return before
    return float(length) if window is None else 2 * before - 1


def _matrices(module: nn.Module) -> float:
    """Numbers of a module's own matrices that each token is multiplied with."""
    if isinstance(module, nn.Embedding):
        return 0.0
    own = [parameter for parameter in module.parameters(recurse=False) if parameter.dim() >= 2]
    share = module.config.active / module.config.count if isinstance(module, Experts) else 1.0
    return share * sum(parameter.numel() for parameter in own)


def _features(layer: MultiHeadAttention | LatentAttention) -> int:
    """Multiply-adds per query and key: of scores and of what they mix."""
    if isinstance(layer, LatentAttention):
        return layer.heads * (2 * layer.head_width + layer.config.rope_width)
    return 2 * layer.heads * layer.head_width
