"""What of a text is read and shown when a model is looked into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from peluche.errors import ConfigError, DataError
from peluche.models.pretrained_encoder import PretrainedEncoder
from peluche.reporting import model_insides as insides
from peluche.reporting.explanation import Token
from peluche.reporting.model_insides import TextModel
from peluche.tasks.complete import Completer
from peluche.tasks.embed import Embedder
from peluche.tasks.fill import Filler

# Attention weights on a page, so that it stays below about 5 MB.
MOST_WEIGHTS = 1_400_000


class View(NamedTuple):
    """What to show of a text's way through a model.

    Attributes:
        layers, heads: numbers from 1; None for as many as a page has room for.
        tokens: the most to read of a text.
        candidates: of the most probable tokens at each place.
        beams: of a search for what is missing; None for as many as usual.
    """

    layers: Sequence[int] | None = None
    heads: Sequence[int] | None = None
    tokens: int = 512
    candidates: int = 8
    beams: int | None = None


def reader_of(task: Completer | Filler | Embedder) -> TextModel:
    """What reads the text.

    Raises:
        ConfigError: an encoder that cannot be looked into.
    """
    if not isinstance(task, Embedder):
        return task.model
    encoder = task.model.encoder
    if not isinstance(encoder, PretrainedEncoder):
        raise ConfigError(
            f"the encoder of these embeddings ({task.model.config.encoder.kind}) is not one that "
            "can be looked into",
            remedy="give an embedder that starts from a trained encoder (kind: pretrained)",
        )
    return encoder.model


def read_text(
    task: Completer | Filler | Embedder, text: str, most: int
) -> tuple[tuple[Token, ...], int, int]:
    """What the model reads of a text, how many tokens it does not, and the characters it reads.

    Args:
        most: tokens to read, those around the text included.

    Raises:
        ConfigError: that leaves no room for a text.
        DataError: the text is empty.
    """
    tokenizer = task.tokenizer
    found = (
        task.pieces(text)
        if isinstance(task, Filler) and tokenizer.mask_id >= 0
        else tokenizer.pieces(text)
    )
    if not text.strip() or not found:
        raise DataError(
            "the text to explain is empty", remedy='give one in quotes, e.g. "The teddy bear"'
        )
    frame = [-1] if isinstance(task, Completer) else tokenizer.around([-1])
    room = most - len(frame) + 1
    if room < 1:
        raise ConfigError(f"{most} tokens leave no room for a text", remedy="--tokens")
    read = [Token(piece.text, piece.id, piece.unknown, None) for piece in found[:room]]
    place = frame.index(-1)
    before, after = (
        [Token(tokenizer.token(number), number, False, None) for number in side]
        for side in (frame[:place], frame[place + 1 :])
    )
    return (*before, *read, *after), max(len(found) - room, 0), found[:room][-1].end


def shown(
    view: View, layers: int, heads: int, length: int, both_ways: bool
) -> tuple[list[int], list[int]]:
    """Numbers of the layers and heads whose attention is shown, from 0.

    Raises:
        ConfigError: there is no layer or head of a number that is asked for.
    """
    chosen = _numbers(view.layers, layers, "layer")
    if not heads:
        if view.heads is not None:
            raise ConfigError("this model has no attention, so no heads", remedy="drop --heads")
        return chosen, []
    those = _numbers(view.heads, heads, "head")
    room = MOST_WEIGHTS // (length**2 if both_ways else length * (length + 1) // 2)
    if view.layers is None:
        count = min(layers, max(room // len(those), min(3, layers)))
        chosen = insides.evenly(count, layers)
    if view.heads is None:
        those = those[: max(1, room // len(chosen))]
    return chosen, those


def _numbers(wanted: Sequence[int] | None, count: int, name: str) -> list[int]:
    wrong = [number for number in wanted or () if not 1 <= number <= count]
    if wrong or wanted == []:
        raise ConfigError(
            f"there is no {name} {', '.join(map(str, wrong))}",
            where=f"the model has {name}s 1 to {count}",
            remedy=f"--{name}s",
        )
    return list(range(count)) if wanted is None else sorted({number - 1 for number in wanted})
