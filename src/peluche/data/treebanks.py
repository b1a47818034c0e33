"""All sources of annotated sentences: files of each format, and corpora of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from peluche.data.brackets import BracketedTrees
from peluche.data.from_catalogue import FromCatalogue
from peluche.data.sentences import (
    ConllSentences,
    ConlluSentences,
    Sentence,
    SentenceSelection,
)

FileSentences = Annotated[
    ConllSentences | ConlluSentences | BracketedTrees, Field(discriminator="kind")
]


class CatalogueSentences(FromCatalogue, SentenceSelection):
    """Annotated sentences of the catalogue."""

    gives = "sentences"

    def examples(self) -> Iterator[Sentence]:
        return self.of_file(FileSentences)


SentenceSource = Annotated[
    ConllSentences | ConlluSentences | BracketedTrees | CatalogueSentences,
    Field(discriminator="kind"),
]
