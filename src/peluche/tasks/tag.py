"""Tagging: sentences in, a tag per token out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from peluche.data.annotation import SentenceBatch
from peluche.data.sentences import Sentence
from peluche.metrics import Score
from peluche.metrics.entities import entity_scores, is_entity_tags, tagging_scores
from peluche.models.tagger import Tagger
from peluche.tasks.sentences import SentenceTask, lengths_of, names_of


class Tagging(NamedTuple):
    """A sentence and its tags."""

    tokens: Sequence[str]
    tags: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """What `peluche tag --json` prints."""
        return {"tokens": list(self.tokens), "tags": list(self.tags)}

    def __str__(self) -> str:
        lines = [f"{token}\t{tag}\n" for token, tag in zip(self.tokens, self.tags, strict=True)]
        return "".join(lines) + "\n"


class SentenceTagger(SentenceTask[Tagger, Tagging]):
    """Tags sentences."""

    def _batch(self, batch: SentenceBatch, sentences: list[Sequence[str]]) -> list[Tagging]:
        names = self.coding.known("tags")
        tags = names_of(self.model.decode(batch), names, lengths_of(batch))
        return [Tagging(*pair) for pair in zip(sentences, tags, strict=True)]

    def gold(self, sentence: Sentence) -> Tagging:
        return Tagging(sentence.tokens, sentence.tags)

    def score(
        self, sentences: Sequence[Sentence], *, bootstrap: int = 1000
    ) -> tuple[list[Score], list[Tagging]]:
        """Scores against the sentences' own tags, and the tags said.

        Entities are scored whole where the model's tags mark entities, otherwise tokens.
        """
        said = self.annotate([sentence.tokens for sentence in sentences])
        gold = [sentence.tags for sentence in sentences]
        scores = entity_scores if is_entity_tags(self.coding.known("tags")) else tagging_scores
        return scores([one.tags for one in said], gold, bootstrap=bootstrap), said
