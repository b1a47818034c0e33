"""Small models with random weights, for the tests of `peluche explain`."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from peluche.generation.config import DecodingConfig
from peluche.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from peluche.reporting.explain import explain
from peluche.reporting.explanation import Explanation
from peluche.text.tokenizer import Tokenizer, TokenizerConfig

SENTENCE = "A cute teddy bear is reading."
TEXTS = [SENTENCE, "Un ours en peluche mignon lit.", "L'élève n'a pas lu. It's late!"] * 3
SHORT = DecodingConfig(beams=3, max_length_factor=0, max_length_offset=9)


@cache
def make_tokenizer(kind: str = "bpe", vocab_size: int = 80) -> Tokenizer:
    return TokenizerConfig(kind=kind, vocab_size=vocab_size).build(TEXTS)


def make_model(vocabulary: int, **changes: Any) -> EncoderDecoder:
    """Queries and keys are doubled, so that attention is far from even."""
    sizes: dict[str, Any] = {"d_model": 32, "layers": 2, "heads": 4, "d_ff": 64}
    torch.manual_seed(1)
    model = EncoderDecoderConfig(**{**sizes, **changes}).build(vocabulary)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".query." in name or ".key." in name:
                parameter.mul_(2)
    return model.eval()


@cache
def make_explanation(sentence: str = SENTENCE) -> Explanation:
    tokenizer = make_tokenizer()
    return explain(make_model(len(tokenizer)), tokenizer, sentence, decoding=SHORT)
