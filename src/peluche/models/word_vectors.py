"""Word vectors: two small tables, one for words as they are read, one for words as said."""

from __future__ import annotations

from typing import Annotated, Literal

from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from peluche.config import Config


class Word2VecConfig(Config):
    """word2vec (Mikolov et al. 2013, arXiv 1301.3781).

    Attributes:
        architecture: `skipgram` reads one word of the context at a time, `cbow` their mean.
        dimensions: of a vector.
    """

    kind: Literal["word2vec"] = "word2vec"
    architecture: Literal["skipgram", "cbow"] = "skipgram"
    dimensions: int = Field(100, gt=0)

    def build(self, vocabulary: int) -> Word2Vec:
        """A freshly initialised model for so many words."""
        return Word2Vec(self, vocabulary)


class Word2Vec(nn.Module):
    """Reads words around a gap, says which word fills it; its input table is what is wanted.

    Inputs start uniform in ±1/(2·dimensions), outputs at zero, as in the authors' code.
    """

    def __init__(self, config: Word2VecConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.inputs = nn.Embedding(vocabulary, config.dimensions)
        self.outputs = nn.Embedding(vocabulary, config.dimensions)
        nn.init.uniform_(self.inputs.weight, -0.5 / config.dimensions, 0.5 / config.dimensions)
        nn.init.zeros_(self.outputs.weight)

    def hidden(
        self, context: Int[Tensor, "rows words"], valid: Bool[Tensor, "rows words"]
    ) -> Float[Tensor, "rows dimensions"]:
        """The mean of the vectors of each row's valid words."""
        vectors = self.inputs(context) * valid[:, :, None]
        return vectors.sum(1) / valid.sum(1, keepdim=True)

    def logits(self, hidden: Float[Tensor, "rows dimensions"]) -> Float[Tensor, "rows vocabulary"]:
        """Scores of every word."""
        return hidden @ self.outputs.weight.t()

    def vectors(self) -> Float[Tensor, "vocabulary dimensions"]:
        """The vectors of the words."""
        return self.inputs.weight.detach()


class GloveConfig(Config):
    """GloVe (Pennington et al. 2014)."""

    kind: Literal["glove"] = "glove"
    dimensions: int = Field(100, gt=0)

    def build(self, vocabulary: int) -> Glove:
        """A freshly initialised model for so many words."""
        return Glove(self, vocabulary)


class Glove(nn.Module):
    """Tables whose products, with biases, are to be the logarithms of co-occurrence counts.

    All start uniform in ±1/(2·dimensions), as in the authors' code.
    """

    def __init__(self, config: GloveConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(vocabulary, config.dimensions)
        self.contexts = nn.Embedding(vocabulary, config.dimensions)
        self.word_bias = nn.Embedding(vocabulary, 1)
        self.context_bias = nn.Embedding(vocabulary, 1)
        for table in (self.words, self.contexts, self.word_bias, self.context_bias):
            nn.init.uniform_(table.weight, -0.5 / config.dimensions, 0.5 / config.dimensions)

    def forward(
        self, words: Int[Tensor, "pairs"], contexts: Int[Tensor, "pairs"]
    ) -> Float[Tensor, "pairs"]:
        """w·c + b_w + b_c of each pair."""
        products = (self.words(words) * self.contexts(contexts)).sum(-1)
        return products + self.word_bias(words)[:, 0] + self.context_bias(contexts)[:, 0]

    def vectors(self) -> Float[Tensor, "vocabulary dimensions"]:
        """The sums of both tables' rows (§4.2)."""
        return (self.words.weight + self.contexts.weight).detach()


WordVectorsConfig = Annotated[Word2VecConfig | GloveConfig, Field(discriminator="kind")]
