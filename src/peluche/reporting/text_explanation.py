"""What the explanation of a language model or an encoder holds: one text, position by position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peluche.reporting.explain_recurrent import CarriedLayer
from peluche.reporting.explanation import Candidate, Matrix, Token, plain
from peluche.tasks.perplexity import TextLikelihood


@dataclass(frozen=True)
class TextShape:
    """The sizes of the model; `heads` and `experts` are 0 where there are none.

    Attributes:
        active: experts that a token is given to.
    """

    kind: str
    layers: int
    heads: int
    width: int
    experts: int
    active: int
    vocabulary: int
    parameters: int


@dataclass(frozen=True)
class Prediction:
    """What the model says of one place, over the whole vocabulary.

    Attributes:
        candidates: the most probable tokens that may be said, best first.
        actual: the token that stands there; None at [MASK] and after the end.
        rank: its place, 1 for the most probable.
        surprisal: −ln of its probability, in nats.
    """

    candidates: tuple[Candidate, ...]
    actual: Candidate | None
    rank: int | None
    surprisal: float | None


@dataclass(frozen=True)
class AttentionHead:
    """Weights (tokens, tokens) of a head: rows ask and sum to one, zero where masked."""

    head: int
    weights: Matrix


@dataclass(frozen=True)
class AttentionLayer:
    """The heads of a layer that are shown; numbers are from 0."""

    layer: int
    heads: tuple[AttentionHead, ...]


@dataclass(frozen=True)
class LensLayer:
    """What the model would say if it ended after this layer (nostalgebraist 2020, "logit lens").

    What leaves the layer is normalised and projected as what leaves the last layer is, so that
    the last `LensLayer` is what the model says.

    Attributes:
        layer: 0 is what the first layer reads, n what leaves the n-th.
        best: (tokens, k) ids of the most probable tokens.
        probabilities: (tokens, k), theirs.
        actual: per token, the probability of the token that stands there; see `Prediction`.
        rank: per token, its place.
    """

    layer: int
    best: NDArray[np.int64]
    probabilities: Matrix
    actual: tuple[float | None, ...]
    rank: tuple[int | None, ...]


@dataclass(frozen=True)
class RoutedLayer:
    """Which experts of a layer took which token.

    Attributes:
        layer: from 0.
        gates: (tokens, experts), what an expert's output is multiplied by; zero where it did not
            take the token. A row sums to one, or to less if an expert it chose was full.
        load: per expert, the share of all that was taken.
    """

    layer: int
    gates: Matrix
    load: tuple[float, ...]


@dataclass(frozen=True)
class TextExplanation:
    """A text's way through a language model or an encoder.

    Attributes:
        text: as much of it as was read.
        tokens: what the model reads.
        left_out: tokens at the end of the text that were too many.
        ahead: 1 if `predictions[n]` and a lens at n are about the token after n, 0 if about n.
        predictions: one a token. Of an encoder they are made with the token hidden, each in turn,
            and None at tokens that are no text; empty for a model that says no tokens.
        score: of the tokens that are scored; None if there are none. Of an encoder it is the
            pseudo-likelihood (Salazar et al. 2020, §2).
        attention: of the layers and heads that are shown.
        carried: of a recurrent model, states and gates; of a state space model, how much of its
            memory each head keeps at each token.
        names: of all ids in `lens`, by id.
    """

    model: TextShape
    text: str
    tokens: tuple[Token, ...]
    left_out: int
    ahead: int
    predictions: tuple[Prediction | None, ...]
    score: TextLikelihood | None
    attention: tuple[AttentionLayer, ...]
    lens: tuple[LensLayer, ...]
    routing: tuple[RoutedLayer, ...]
    carried: tuple[CarriedLayer, ...]
    names: Mapping[str, str]

    @property
    def surprisals(self) -> tuple[float | None, ...]:
        """Of each token, in nats; None where it is not scored."""
        said = [None if one is None else one.surprisal for one in self.predictions]
        return tuple([None] * self.ahead + said)[: len(self.tokens)]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not shown, and why: a sentence each."""
        found = []
        if self.left_out:
            found.append(
                f"Only the first {len(self.tokens):,} tokens of the text are read; "
                f"{self.left_out:,} more are left out (see --tokens)."
            )
        shown = {one.layer + 1: len(one.heads) for one in self.attention}
        if self.attention and sum(shown.values()) < self.model.layers * self.model.heads:
            layers = ", ".join(map(str, shown))
            found.append(
                f"Attention is shown of layers {layers}, {max(shown.values())} of "
                f"{self.model.heads} heads each; choose others with --layers and --heads."
            )
        looked = [one.layer for one in self.lens]
        if looked and len(looked) < self.model.layers:
            found.append(f"The logit lens is held after layers {', '.join(map(str, looked))}.")
        return tuple(found)

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON; numbers keep 5 significant digits and at most 6 decimals."""
        return {**plain(self), "surprisals": plain(self.surprisals), "notes": list(self.notes)}
