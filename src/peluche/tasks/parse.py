"""Parsing: sentences in, dependency trees or constituency trees out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from peluche.data.annotation import SentenceBatch
from peluche.data.brackets import Tree, brackets_of, tree_of
from peluche.data.sentences import Sentence, write_conllu
from peluche.generation.trees import best_constituents, spanning_tree
from peluche.metrics import Measurement
from peluche.metrics.counts import Share
from peluche.metrics.entities import token_counts
from peluche.metrics.parsing import Attachments, measure_attachments, measure_brackets
from peluche.models.dependency_parser import DependencyParser
from peluche.models.span_parser import SpanParser
from peluche.tasks.sentences import SentenceTask, annotation_of, lengths_of, names_of


class DependencyTree(NamedTuple):
    """A sentence, its tags, and for each token its head (0 is the root) and its relation to it."""

    tokens: Sequence[str]
    tags: Sequence[str]
    heads: Sequence[int]
    relations: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """What `peluche parse --json` prints."""
        return {name: list(values) for name, values in self._asdict().items()}

    def __str__(self) -> str:
        return write_conllu([Sentence(self.tokens, "", self.tags, self.heads, self.relations)])


class DependencyAnnotator(SentenceTask[DependencyParser, DependencyTree]):
    """Parses sentences into dependency trees with one root each."""

    longest = 1000

    def _batch(self, batch: SentenceBatch, sentences: list[Sequence[str]]) -> list[DependencyTree]:
        coding = self.coding
        read = self.model.read(batch)
        lengths = lengths_of(batch)
        scores = read.arcs.double().log_softmax(-1).cpu().numpy()
        heads = torch.zeros_like(batch.words)
        trees = []
        for row, length in enumerate(lengths):
            tree = spanning_tree(scores[row, :length, : length + 1])
            heads[row, :length] = torch.tensor(tree)
            trees.append(tree)
        numbers = torch.zeros_like(heads)
        numbers[batch.valid] = self.model.relations(read, batch, heads).argmax(-1)
        tags = names_of(read.tags.argmax(-1), coding.known("tags"), lengths)
        relations = names_of(numbers, coding.known("relations"), lengths)
        return [
            DependencyTree(*parts) for parts in zip(sentences, tags, trees, relations, strict=True)
        ]

    def gold(self, sentence: Sentence) -> DependencyTree:
        return DependencyTree(
            sentence.tokens,
            annotation_of(sentence, "tags"),
            annotation_of(sentence, "heads"),
            sentence.relations,
        )

    def compare(
        self, said: Sequence[DependencyTree], gold: Sequence[DependencyTree]
    ) -> list[Measurement]:
        """UAS, LAS and the accuracy of tags."""
        trees = [
            [Attachments(tree.heads, tree.relations) for tree in side] for side in (said, gold)
        ]
        return [
            *measure_attachments(*trees),
            _accuracy([tree.tags for tree in said], [tree.tags for tree in gold]),
        ]


class ConstituencyTree(NamedTuple):
    """A sentence and its tree."""

    tokens: Sequence[str]
    tree: Tree

    def as_json(self) -> dict[str, Any]:
        """What `peluche parse --json` prints."""
        return {"tokens": list(self.tokens), "tags": self.tags, "tree": str(self.tree)}

    @property
    def tags(self) -> list[str]:
        """Parts of speech."""
        return [tag for _, tag in self.tree.leaves()]

    def __str__(self) -> str:
        return f"{self.tree}\n"


class ConstituencyAnnotator(SentenceTask[SpanParser, ConstituencyTree]):
    """Parses sentences into constituency trees."""

    longest = 300

    def _batch(
        self, batch: SentenceBatch, sentences: list[Sequence[str]]
    ) -> list[ConstituencyTree]:
        coding = self.coding
        scores = self.model(batch)
        lengths = lengths_of(batch)
        gains = np.asarray(self.model.gains(scores).cpu())
        tags = names_of(scores.tags.argmax(-1), coding.known("tags"), lengths)
        names = coding.known("constituents")
        trees = []
        for row, (tokens, marks) in enumerate(zip(sentences, tags, strict=True)):
            spans = [
                (first, end, names[number])
                for first, end, number in best_constituents(
                    gains[row, : len(tokens), : len(tokens)]
                )
            ]
            trees.append(ConstituencyTree(tokens, tree_of(tokens, marks, spans)))
        return trees

    def gold(self, sentence: Sentence) -> ConstituencyTree:
        tags = annotation_of(sentence, "tags")
        return ConstituencyTree(sentence.tokens, tree_of(sentence.tokens, tags, sentence.spans))

    def compare(
        self, said: Sequence[ConstituencyTree], gold: Sequence[ConstituencyTree]
    ) -> list[Measurement]:
        """F1, precision and recall of brackets, whole sentences, and the accuracy of tags."""
        ours, theirs = ([brackets_of(tree.tree) for tree in side] for side in (said, gold))
        precision, recall, f1, exact = measure_brackets(ours, theirs)
        tags = [[tree.tags for tree in side] for side in (said, gold)]
        return [f1, precision, recall, exact, _accuracy(*tags)]


def _accuracy(said: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> Measurement:
    return Measurement(Share("accuracy", "token"), token_counts(said, gold))
