"""What taggers and parsers begin with: words and their spellings, read in their sentence."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from peluche.config import Config
from peluche.data.annotation import SentenceBatch
from peluche.models.pretrained_encoder import PretrainedEncoder
from peluche.models.text_encoders import RecurrentEncoderConfig, TextEncoderConfig
from peluche.nn.characters import CharacterConvolution
from peluche.nn.dropout import Dropout
from peluche.text.lexicon import Lexicon


class CharactersConfig(Config):
    """How spellings are read."""

    embedding: int = Field(32, gt=0, description="width of the characters' embeddings")
    filters: int = Field(48, gt=0, description="per width")
    widths: tuple[int, ...] = Field((2, 3, 4), min_length=1)


class WordReaderConfig(Config):
    """An encoder of words, and their spellings beside its embeddings; null reads words alone.

    A pretrained encoder reads pieces of words, and the first one speaks for its word.
    """

    encoder: TextEncoderConfig = RecurrentEncoderConfig(
        embedding=100, hidden=200, layers=2, dropout=0.33, token_dropout=0.2
    )
    characters: CharactersConfig | None = CharactersConfig()


class WordReader(nn.Module):
    """Sentences to one vector per word.

    Attributes:
        width: of the vectors.
    """

    def __init__(self, config: WordReaderConfig, lexicon: Lexicon) -> None:
        super().__init__()
        self.spelling: CharacterConvolution | None = None
        features = 0
        if config.characters is not None:
            self.spelling = CharacterConvolution(
                lexicon.characters, **config.characters.model_dump()
            )
            features = self.spelling.width
        self.encoder = config.encoder.build(lexicon.words, features)
        self.dropout = Dropout(config.encoder.dropout)
        # A pretrained encoder knows nothing of spellings: they are put beside what it gives.
        beside = features if isinstance(self.encoder, PretrainedEncoder) else 0
        self.width = self.encoder.width + beside

    def forward(self, batch: SentenceBatch) -> Float[Tensor, "batch length width"]:
        """Vectors of the words; what stands at padding has no meaning."""
        features = None
        if self.spelling is not None:
            features = self.spelling(batch.spellings)[batch.forms]
        if not isinstance(self.encoder, PretrainedEncoder):
            return self.dropout(self.encoder(batch.words, batch.valid, features=features))
        assert batch.pieces is not None, "the coding cuts words into pieces"
        assert batch.pieces_valid is not None
        assert batch.firsts is not None
        read = self.encoder(batch.pieces, batch.pieces_valid)
        words = read.gather(1, batch.firsts[:, :, None].expand(-1, -1, read.shape[-1]))
        return self.dropout(words if features is None else torch.cat([words, features], -1))
