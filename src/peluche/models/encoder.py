"""The encoder-only Transformer (Devlin et al. 2019, BERT), assembled from parts."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from peluche.models.transformer import TransformerConfig, build_stack, layer_masks
from peluche.nn.blocks import NormPlacement
from peluche.nn.feedforward import ACTIVATIONS, GATED, ActivationKind
from peluche.nn.losses import TokenLoss, fused_cross_entropy
from peluche.nn.masks import Documents, Mask, Padding, PreparedMask, Window, prepare
from peluche.nn.norms import NormKind, build_norm
from peluche.nn.positions import PositionKind
from peluche.nn.trace import scope

EMBEDDING_STD = 0.02


class EncoderConfig(TransformerConfig):
    """Sizes and parts of an encoder; the defaults are BERT's, in small.

    Attributes:
        segments: kinds of segment, such as the two sentences of a pair; 0 for none.
        masked: whether it says what stands at a token (masked language modelling).
        next_sentence: whether it says if the second segment follows the first.
    """

    kind: Literal["encoder"] = "encoder"
    activation: ActivationKind = "gelu"
    norm: NormKind = "layernorm"
    norm_placement: NormPlacement = "post"
    norm_input: bool = True
    positions: PositionKind = "learned"
    segments: int = Field(2, ge=0)
    masked: bool = True
    next_sentence: bool = False

    @model_validator(mode="after")
    def _heads_fit(self) -> EncoderConfig:
        if self.latent is not None:
            raise ValueError("latent attention saves memory of decoders; an encoder has none")
        if self.next_sentence and self.segments < 2:
            raise ValueError("next_sentence needs segments of 2 or more")
        return self

    def build(self, vocabulary: int) -> Encoder:
        """A freshly initialised model for a vocabulary of this size."""
        return Encoder(self, vocabulary)


class MaskedHead(nn.Module):
    """What stands at a token: a layer of its own, then the embedding turned round."""

    def __init__(self, config: EncoderConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        width, kind = config.d_model, config.activation
        self.transform = nn.Linear(width, width)
        self.activation = ACTIVATIONS["gelu" if kind in GATED else kind]
        self.norm = build_norm(config.norm, width, epsilon=config.norm_epsilon)
        self.output = nn.Linear(width, embedding.num_embeddings)
        self.output.weight = embedding.weight

    def forward(self, hidden: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """What the output projection reads."""
        return self.norm(self.activation(self.transform(hidden)))


class Encoder(nn.Module):
    """Reads a text in both directions: a vector for each token that knows all others."""

    def __init__(self, config: EncoderConfig, vocabulary: int) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        embedding = nn.Embedding(vocabulary, config.d_model)
        self.encoder = build_stack(
            config, config.layers, embedding, bidirectional=True, cross=False, scale=1.0
        )
        self.segments = nn.Embedding(config.segments, config.d_model) if config.segments else None
        self.masked = MaskedHead(config, embedding) if config.masked else None
        self.pooler = nn.Linear(config.d_model, config.d_model) if config.next_sentence else None
        self.relation = nn.Linear(config.d_model, 2) if config.next_sentence else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform matrices, as everywhere here; small embeddings, as in BERT.

        With pre-norm, residual branches start small too (see `Stack.scale_branches`).
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():  # after the matrices: the masked head's is an embedding
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=EMBEDDING_STD)
        if self.config.norm_placement == "pre":
            self.encoder.scale_branches()

    @property
    def longest(self) -> int | None:
        """The most tokens of a text: of learned positions there are so many."""
        return self.config.max_length if self.config.positions == "learned" else None

    def hidden(
        self,
        tokens: Int[Tensor, "rows length"],
        *,
        valid: Bool[Tensor, "rows length"] | None = None,
        segments: Int[Tensor, "rows length"] | None = None,
        document_ids: Int[Tensor, "rows length"] | None = None,
    ) -> Float[Tensor, "rows length d_model"]:
        """Vectors of the tokens; what stands at padding has no meaning.

        Args:
            valid: False at padding.
            segments: which part of the text a token belongs to; all to the first unless given.
            document_ids: which of several documents packed into a row a token belongs to. Nothing
                of one document reaches another.
        """
        rows, length = tokens.shape
        positions = torch.arange(length, device=tokens.device)

        def seen(window: int | None) -> PreparedMask | None:
            masks: list[Mask] = [] if window is None else [Window(window)]
            if valid is not None:
                masks.append(Padding(valid))
            if document_ids is not None:
                masks.append(Documents(document_ids))
            if not masks:
                return None
            mask = masks[0]
            for other in masks[1:]:
                mask = mask & other
            alone = isinstance(mask, Padding)  # the same for every query
            return prepare(mask, rows, positions[:1] if alone else positions, positions)

        hidden = self.encoder.embed(tokens)
        if self.segments is not None:
            kinds = torch.zeros_like(tokens) if segments is None else segments
            hidden = hidden + self.segments(kinds)
        with scope("encoder"):
            masks = layer_masks(self.config.windows(self.config.layers), seen)
            return self.encoder(hidden, positions, masks)

    def logits(self, hidden: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch vocabulary"]:
        """Scores of every token of the vocabulary, for what stands at each vector."""
        assert self.masked is not None, "this encoder has no head for tokens"
        return self.masked.output(self.masked(hidden))

    def token_loss(
        self,
        hidden: Float[Tensor, "rows width"],
        labels: Int[Tensor, "rows"],
        smoothing: float = 0.0,
    ) -> TokenLoss:
        """`logits` and cross-entropy in one, without keeping logits."""
        assert self.masked is not None, "this encoder has no head for tokens"
        output = self.masked.output
        return fused_cross_entropy(
            self.masked(hidden), output.weight, labels, smoothing, output.bias
        )

    def relation_logits(
        self, hidden: Float[Tensor, "rows length width"]
    ) -> Float[Tensor, "rows 2"]:
        """Scores of "the second segment follows" and "it does not", from the first token."""
        assert self.pooler is not None, "this encoder has no head for pairs"
        assert self.relation is not None
        return self.relation(torch.tanh(self.pooler(hidden[:, 0])))
