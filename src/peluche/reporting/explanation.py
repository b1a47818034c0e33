"""What an explanation holds: one plain record of a sentence's way through a model.

Arrays are float32 with full precision; `Explanation.as_json` rounds them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
"""Two axes; the docstrings name them."""


@dataclass(frozen=True)
class Token:
    """One token of a sentence.

    Attributes:
        text: as a person reads it, e.g. `▁teddy` or `[EOS]`; an unknown one as it was written.
        id: its number in the vocabulary.
        unknown: whether the tokenizer has no entry for it, so that the model reads [UNK].
        word: index of the word that it is a part of, None where there is none ([BOS], spaces).
    """

    text: str
    id: int
    unknown: bool
    word: int | None


@dataclass(frozen=True)
class Sentence:
    """A sentence as text, as tokens, and as words; [EOS] counts as a word of its own."""

    text: str
    tokens: tuple[Token, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Head:
    """One attention head over one sentence: softmax(Q Kᵀ · scale + bias) V.

    Attributes:
        query: (queries, width), after any rotation by position.
        key, value: (keys, width).
        products: (queries, keys), Q Kᵀ.
        scores: (queries, keys), products times scale, before bias and mask.
        bias: (queries, keys), what ALiBi or relative positions add; None for other positions.
        weights: (queries, keys), rows sum to one; zero where masked.
        mixed: (queries, width), weights times value.
    """

    query: Matrix
    key: Matrix
    value: Matrix
    products: Matrix
    scores: Matrix
    bias: Matrix | None
    weights: Matrix
    mixed: Matrix


@dataclass(frozen=True)
class Layer:
    """One block: its heads, and what leaves it, (tokens, d_model)."""

    self_attention: tuple[Head, ...]
    cross_attention: tuple[Head, ...] | None
    output: Matrix


@dataclass(frozen=True)
class Stack:
    """An encoder or a decoder, from token ids to hidden states; matrices are (tokens, d_model).

    Attributes:
        tokens: what it reads.
        embedding: rows of the embedding table, times `embedding_scale`.
        positions: what is added for the place of a token; None if positions act elsewhere.
        turns: (tokens, pairs of a head's features), the cosine of the angle by which rotary
            positions turn queries and keys; None for other positions.
        input: their sum.
        output: what leaves the last layer, normalised.
    """

    tokens: tuple[Token, ...]
    embedding_scale: float
    embedding: Matrix
    positions: Matrix | None
    turns: Matrix | None
    input: Matrix
    layers: tuple[Layer, ...]
    output: Matrix


@dataclass(frozen=True)
class Candidate:
    """A token that could come next, with its probability."""

    token: str
    id: int
    probability: float


@dataclass(frozen=True)
class Step:
    """One decoding step: row `n` of the decoder's matrices belongs to step `n`.

    Attributes:
        candidates: the most probable of the tokens that a search may choose, best first; it never
            chooses [PAD], [UNK] or [BOS].
        chosen: the token that the best hypothesis goes on with.
        rank: the place of the chosen token among these, 1 for the most probable.
        log_probability: of the whole hypothesis so far, the chosen token included, in nats.
    """

    candidates: tuple[Candidate, ...]
    chosen: Candidate
    rank: int
    log_probability: float


@dataclass(frozen=True)
class BeamNode:
    """A beginning of a translation that beam search followed.

    Attributes:
        step: number of tokens so far; the root, [BOS], has 0.
        rank: place among those of the same step, 0 for the most probable.
        parent: index in `Beam.nodes` of the beginning that it continues, None for the root.
        token: its last token.
        id: the id of that token.
        text: all of its tokens as text.
        log_probability: sum over its tokens, in nats.
        score: log-probability over the length normaliser, which finished ones are compared by.
        state: `alive` was continued, `finished` ended with [EOS], `dropped` had no continuation
            among the best, or was still there when the search stopped.
        best: whether it is on the way to the translation.
    """

    step: int
    rank: int
    parent: int | None
    token: str
    id: int
    text: str
    log_probability: float
    score: float
    state: Literal["alive", "finished", "dropped"]
    best: bool


@dataclass(frozen=True)
class Beam:
    """The beam search as a tree, the root first, parents before children."""

    size: int
    length_normalization: Literal["average", "gnmt"]
    length_penalty: float
    nodes: tuple[BeamNode, ...]


@dataclass(frozen=True)
class Shape:
    """The sizes of the model."""

    kind: str
    layers: int
    decoder_layers: int
    d_model: int
    heads: int
    head_width: int
    d_ff: int
    vocabulary: int
    parameters: int
    positions: str
    norm_placement: str
    activation: str


@dataclass(frozen=True)
class Explanation:
    """A sentence's way through an encoder-decoder.

    Attributes:
        result: what the target is: a translation, or an answer that says what is missing.
        alignment: per decoder layer (target words, source words): cross-attention averaged over
            heads and over the tokens of a target word, at the step that chose each, and summed
            over the tokens of a source word. Rows sum to one.
    """

    model: Shape
    source: Sentence
    target: Sentence
    encoder: Stack
    decoder: Stack
    steps: tuple[Step, ...]
    beam: Beam
    alignment: tuple[Matrix, ...]
    result: Literal["translation", "answer"] = "translation"

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON; numbers keep 5 significant digits and at most 6 decimals."""
        found: dict[str, Any] = plain(self)
        return found


def plain(value: Any) -> Any:
    """Dataclasses, named tuples, tuples and arrays as plain values; see `Explanation.as_json`."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _rounded_rows(value.tolist())
    if isinstance(value, float):
        return _rounded(value)
    return value


def _rounded_rows(values: Any) -> Any:
    return [_rounded_rows(row) for row in values] if isinstance(values, list) else _rounded(values)


def _rounded(number: float) -> float | int:
    short = round(float(f"{number:.5g}"), 6)
    return int(short) if short == int(short) else short
