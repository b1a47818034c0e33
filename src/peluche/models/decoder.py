"""The decoder-only Transformer (Radford et al. 2018), assembled from parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from peluche.models.language_model import LanguageModel
from peluche.models.multi_token import MultiTokenHeads
from peluche.models.transformer import (
    TransformerConfig,
    WidthConfig,
    build_stack,
    layer_masks,
    start_state,
)
from peluche.nn.losses import TokenLoss, cross_entropy
from peluche.nn.masks import Documents, Mask, Prefix, causal, prepare
from peluche.nn.positions import PositionKind
from peluche.nn.stack import LayerMasks
from peluche.nn.state import KeyValueState, StaticState
from peluche.nn.trace import scope

EMBEDDING_STD = 0.02


class DecoderConfig(TransformerConfig):
    """Sizes and parts of a decoder."""

    kind: Literal["decoder"] = "decoder"
    positions: PositionKind = "rope"
    tie_embeddings: bool = True
    scale_embeddings: bool | None = Field(
        None,
        description="by √d_model; with sinusoidal positions, which would drown them, if not given",
    )
    logit_softcap: float | None = Field(None, gt=0, description="logits s become c·tanh(s/c)")
    mup: WidthConfig | None = Field(None, description="scale with the width as muP does")

    @model_validator(mode="after")
    def _mup_fits(self) -> DecoderConfig:
        if self.mup is not None and (self.attention_scale is not None or self.latent is not None):
            raise ValueError("mup scales scores by itself: leave attention_scale and latent out")
        return self

    @property
    def width_multiplier(self) -> float:
        """How many times as wide as the base of `mup`; 1 without."""
        return 1.0 if self.mup is None else self.d_model / self.mup.d_model

    @property
    def scale_of_scores(self) -> float | None:
        if self.mup is None:
            return self.attention_scale
        return self.mup.head_width**0.5 / self.width_of_heads

    @property
    def embedding_scale(self) -> float:
        """What embeddings are multiplied by."""
        scaled = self.scale_embeddings
        scaled = self.positions == "sinusoidal" if scaled is None else scaled
        return self.d_model**0.5 if scaled else 1.0

    def build(self, vocabulary: int) -> Decoder:
        """A freshly initialised model for a vocabulary of this size."""
        return Decoder(self, vocabulary)


class Decoder(LanguageModel):
    """Reads a text and says at each token what comes next."""

    def __init__(self, config: DecoderConfig, vocabulary: int) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        embedding = nn.Embedding(vocabulary, config.d_model)
        self.decoder = build_stack(
            config,
            config.layers,
            embedding,
            bidirectional=False,
            cross=False,
            scale=config.embedding_scale,
        )
        self.head = nn.Linear(config.d_model, vocabulary, bias=False)
        if config.tie_embeddings:
            self.head.weight = embedding.weight
        # Only while it is trained, and only if the objective asks for it.
        self.ahead: MultiTokenHeads | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small embeddings, as in GPT-2: tied ones would otherwise say first what they have read.

        With pre-norm, residual branches start small too (see `Stack.scale_branches`).
        """
        scaled = self.config.embedding_scale != 1
        std = self.config.d_model**-0.5 if scaled else EMBEDDING_STD
        self.start_weights(std, tied=self.config.tie_embeddings)
        if self.config.norm_placement == "pre":
            self.decoder.scale_branches()

    @property
    def longest(self) -> int | None:
        """The most tokens of a sequence: of learned positions there are so many."""
        return self.config.max_length if self.config.positions == "learned" else None

    def start_state(self, rows: int, capacity: int) -> StaticState:
        return start_state(self.config, self.config.layers, rows, capacity, self.head.weight)

    def hidden(
        self,
        tokens: Int[Tensor, "rows length"],
        *,
        positions: Int[Tensor, "length"] | None = None,
        document_ids: Int[Tensor, "rows length"] | None = None,
        state: KeyValueState | None = None,
        prefix: Int[Tensor, "rows"] | None = None,
    ) -> Float[Tensor, "rows length d_model"]:
        """See `LanguageModel.hidden`. With a state, all tokens are of one document.

        Args:
            prefix: so many tokens of each row see each other in both directions.
        """
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
        masks: LayerMasks = None
        if state is None:
            masks = self._masks(self.config.layers, tokens, document_ids, prefix)
        with scope("decoder"):
            return self.decoder(tokens, positions, masks, state=state)

    def hidden_ahead(
        self,
        hidden: Float[Tensor, "rows length d_model"],
        *,
        document_ids: Int[Tensor, "rows length"] | None = None,
        prefix: Int[Tensor, "rows"] | None = None,
    ) -> Iterator[Float[Tensor, "rows length d_model"]]:
        """What `logits` reads for the token after the next, and so on, of what `hidden` gave."""
        if self.ahead is not None:
            yield from self.ahead(hidden, self._masks(1, hidden, document_ids, prefix))

    def _masks(
        self, layers: int, of: Tensor, document_ids: Tensor | None, prefix: Tensor | None
    ) -> LayerMasks:
        places = torch.arange(of.shape[1], device=of.device)
        return layer_masks(
            self.config.windows(layers),
            lambda window: prepare(_mask(document_ids, prefix, window), len(of), places, places),
        )

    def token_loss(
        self,
        hidden: Float[Tensor, "rows width"],
        labels: Int[Tensor, "rows"],
        smoothing: float = 0.0,
    ) -> TokenLoss:
        if self.config.logit_softcap is None:
            return super().token_loss(self._narrowed(hidden), labels, smoothing)
        return cross_entropy(self.logits(hidden), labels, smoothing)

    def logits(self, hidden: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch vocabulary"]:
        logits, softcap = self.head(self._narrowed(hidden)), self.config.logit_softcap
        return logits if softcap is None else softcap * torch.tanh(logits / softcap)

    def _narrowed(self, hidden: Tensor) -> Tensor:
        """What the head reads: logits of a wide model are divided by how much wider it is."""
        wide = self.config.width_multiplier
        return hidden if wide == 1 else hidden / wide


def _mask(document_ids: Tensor | None, prefix: Tensor | None, window: int | None) -> Mask:
    """Who sees whom; one document a row is the plain case that attention has a fast path for."""
    mask = causal(window) if prefix is None else causal(window) | Prefix(prefix)
    if document_ids is None or bool((document_ids == document_ids[:, :1]).all()):
        return mask
    return mask & Documents(document_ids)
