"""Tagging: sentences in, a tag per token out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from peluche.data.annotation import SentenceBatch
from peluche.data.sentences import Sentence
from peluche.metrics import Measurement
from peluche.metrics.entities import is_entity_tags, measure_entities, measure_tagging
from peluche.models.tagger import Tagger
from peluche.tasks.sentences import SentenceTask, annotation_of, lengths_of, names_of


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
        return Tagging(sentence.tokens, annotation_of(sentence, "tags"))

    def compare(self, said: Sequence[Tagging], gold: Sequence[Tagging]) -> list[Measurement]:
        """See `measure_tags`."""
        ours, theirs = ([one.tags for one in side] for side in (said, gold))
        return measure_tags(ours, theirs, self.coding.known("tags"))


def measure_tags(
    said: Sequence[Sequence[str]], gold: Sequence[Sequence[str]], known: Sequence[str]
) -> list[Measurement]:
    """Entities are scored whole where the model's tags mark entities, otherwise tokens.

    Args:
        known: all tags of the model.

    Raises:
        DataError: as `measure_entities` and `measure_tagging`.
    """
    if is_entity_tags(known):
        return measure_entities(said, gold, sorted({tag[2:] for tag in known} - {""}))
    return measure_tagging(said, gold, known)
