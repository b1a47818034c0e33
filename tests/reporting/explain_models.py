"""Small models with random weights, for the tests of `peluche explain`."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from peluche.config import parse_as
from peluche.generation.config import DecodingConfig
from peluche.models.encoder import EncoderConfig
from peluche.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from peluche.models.language_registry import LanguageModelConfig
from peluche.reporting.explain import explain
from peluche.reporting.explanation import Explanation
from peluche.tasks.complete import Completer
from peluche.tasks.fill import Filler
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


TEXT = "The cute teddy bear is reading a book."
READERS: dict[str, dict[str, Any]] = {
    "decoder": {"kind": "decoder", "kv_heads": 2, "window": {"size": 4, "global_every": 2}},
    "post-norm": {"kind": "decoder", "positions": "learned", "norm_placement": "post"},
    "latent": {"kind": "decoder", "bias": False, "latent": {"kv_rank": 8, "rope_width": 4}},
    "experts": {"kind": "decoder", "experts": {"count": 4, "active": 2, "d_ff": 16}},
    "full-experts": {"kind": "decoder", "experts": {"count": 4, "active": 2, "capacity": 0.8}},
    "encoder": {"kind": "encoder"},
    "recurrent": {
        "kind": "recurrent_lm",
        "cell": "gru",
        "layers": 2,
        "embedding": 24,
        "hidden": 32,
    },
    "space": {"kind": "state_space_lm", "mixer": {"heads": 4, "width": 8, "state": 8}},
}


@cache
def make_reader(name: str) -> Completer | Filler:
    """A task around a model that reads texts, with random weights far from even."""
    tokenizer = TokenizerConfig(vocab_size=80, special=("[MASK]",)).build([*TEXTS, TEXT])
    sizes: dict[str, Any] = {}
    if name not in ("recurrent", "space"):
        sizes = {"heads": 4, "d_ff": 32, "max_length": 64}
    if name != "recurrent":
        sizes |= {"d_model": 32, "layers": 2}
    torch.manual_seed(1)
    model = make_config(sizes | READERS[name]).build(len(tokenizer)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(2)
    return (Filler if name == "encoder" else Completer)(model, tokenizer)


def make_config(values: dict[str, Any]) -> Any:
    if values["kind"] == "encoder":
        return EncoderConfig.parse(values)
    return parse_as(LanguageModelConfig, values)
