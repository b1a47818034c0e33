"""What a forward and backward pass costs, counted from the structure of a model."""

from __future__ import annotations

from collections.abc import Sequence

from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.nn.feedforward import GATED


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
    return 3 * 2 * products
