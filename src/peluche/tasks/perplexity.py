"""How likely a text is to a language model, in windows that do not overlap."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from peluche.errors import ConfigError, DataError, NumericsError
from peluche.memory import InPieces
from peluche.metrics import perplexity
from peluche.metrics.perplexity import BitsPerByte
from peluche.models.language_model import LanguageModel
from peluche.tasks.modes import evaluating
from peluche.text.tokenizer import Tokenizer

LESS = "give a smaller --context, or a smaller model; if other programs use memory, stop them"


class TextLikelihood(NamedTuple):
    """How likely a text is.

    Attributes:
        nll: mean negative log-likelihood of the scored tokens, in nats.
        tokens: that were scored.
        perplexity: its exponential.
        bits_per_byte: bits of the scored tokens over all bytes of the text.
    """

    nll: float
    tokens: int
    perplexity: float
    bits_per_byte: float

    def as_json(self) -> dict[str, Any]:
        """By name; a perplexity that is too large for a number is None."""
        finite = math.isfinite(self.perplexity)
        return {**self._asdict(), "perplexity": self.perplexity if finite else None}


@torch.inference_mode()
def window_likelihood(
    model: LanguageModel, tokenizer: Tokenizer, text: str, context: int
) -> TextLikelihood:
    """Cut a text into windows of `context` tokens and score each but a window's first.

    Nothing is put before the text, not even [BOS], and windows know nothing of each other.

    Raises:
        ConfigError: the model cannot read so many tokens at once.
        DataError: the text has fewer than two tokens.
        NumericsError: the model's logits are not finite.
    """
    if context < 2 or (model.longest is not None and context > model.longest):
        most = "" if model.longest is None else f", the model reads {model.longest} at most"
        raise ConfigError(f"a window of {context} tokens is not possible{most}", remedy="--context")
    ids = tokenizer.encode(text)
    if len(ids) < 2:
        raise DataError(f"the text has {len(ids)} tokens", remedy="give a text of two or more")
    total, count = 0.0, 0
    device, in_pieces = model.head.weight.device, InPieces("a token of a window", LESS)
    with evaluating(model):
        for start in range(0, len(ids) - 1, context):
            window = torch.tensor([ids[start : start + context]], device=device)
            if window.shape[1] < 2:
                break
            total += _window_nll(model, window, in_pieces)
            count += window.shape[1] - 1
    if not math.isfinite(total):
        raise NumericsError(
            f"the text's likelihood is not a number: its sum over {count:,} tokens is {total}",
            remedy="check the model's weights",
        )
    return TextLikelihood(
        total / count,
        count,
        perplexity(total, count),
        BitsPerByte.of(total, len(text.encode())),
    )


def _window_nll(model: LanguageModel, window: Tensor, in_pieces: InPieces) -> float:
    """The sum over all tokens but the first of a window (1, T), in nats."""
    found = None
    while found is None:
        largest = -(-(window.shape[1] - 1) // in_pieces.pieces)
        found = in_pieces.tried(lambda: _summed(model, window, in_pieces.pieces), largest)
    return found[0]


def _summed(model: LanguageModel, window: Tensor, pieces: int) -> float:
    """`_window_nll`, the window read in so many pieces one after the other."""
    tokens, labels = window[:, :-1], window[0, 1:]
    if pieces == 1:
        return float(model.token_loss(model.hidden(tokens)[0], labels).nll)
    length = tokens.shape[1]
    state, places = model.start_state(1, length), torch.arange(length, device=tokens.device)
    total = 0.0
    for part in places.split(-(-length // pieces)):
        hidden = model.hidden(tokens[:, part], positions=part, state=state)[0]
        total += float(model.token_loss(hidden, labels[part]).nll)
    return total


def describe(found: TextLikelihood) -> str:
    """A line for people."""
    return (
        f"perplexity {found.perplexity:.3f}, nll {found.nll:.5f} nats, "
        f"{found.bits_per_byte:.4f} bits per byte, {found.tokens:,} tokens"
    )
