"""All sources of annotated sentences."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from peluche.data.brackets import BracketedTrees
from peluche.data.sentences import ConllSentences, ConlluSentences

SentenceSource = Annotated[
    ConllSentences | ConlluSentences | BracketedTrees, Field(discriminator="kind")
]
