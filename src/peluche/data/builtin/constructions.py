"""The kinds of sentence and how often each is drawn."""

from __future__ import annotations

from collections.abc import Callable

from peluche.data.builtin import questions, statements
from peluche.data.builtin.sampler import Sampler
from peluche.data.builtin.trees import Sentence

CONSTRUCTIONS: dict[str, tuple[int, Callable[[Sampler], Sentence | None]]] = {
    "action": (36, statements.action),
    "description": (10, statements.description),
    "comparison": (3, statements.comparison),
    "location": (4, statements.location),
    "existential": (5, statements.existential),
    "presentation": (4, statements.presentation),
    "subject relative": (7, statements.subject_relative),
    "object relative": (5, statements.object_relative),
    "linked clauses": (6, statements.linked),
    "sequence": (4, statements.sequence),
    "embedding": (3, statements.embedding),
    "yes or no": (8, questions.polar),
    "who": (3, questions.who),
    "what": (3, questions.what),
    "what is": (1, questions.what_is),
    "where": (3, questions.where),
    "why": (2, questions.why),
    "which": (3, questions.which),
}
"""Each construction's weight and the function that draws it (None: try again)."""
NAMES = tuple(name for name, (weight, _) in CONSTRUCTIONS.items() for _ in range(weight))


def draw(sampler: Sampler) -> tuple[str, Sentence]:
    """A construction's name and a sentence of it."""
    while True:
        name = sampler.pick(NAMES)
        sentence = CONSTRUCTIONS[name][1](sampler)
        if sentence is not None:
            return name, sentence
