"""The corpus: distinct sentence pairs, drawn from a seed and divided into splits."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

from peluche.data.builtin import english, french
from peluche.data.builtin.constructions import draw
from peluche.data.builtin.heldout import Composition, held_out, names
from peluche.data.builtin.lexicon import load
from peluche.data.builtin.sampler import Sampler
from peluche.data.builtin.trees import Clause, Phrase, Statement, compositions
from peluche.errors import DataError, did_you_mean

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
LECTURE = "A cute teddy bear is reading."
RESERVED = 20
"""One ordinary sentence in this many is kept for validation, whatever the seed."""
PATIENCE = 20_000
"""Draws in a row that bring nothing new before a split is declared exhausted."""


class Example(NamedTuple):
    """A sentence pair with its analysis."""

    english: str
    french: str
    construction: str
    compositions: list[int]
    """Numbers of (adjective, noun) and (noun, verb) compositions; see `named`."""

    def named(self) -> set[Composition]:
        """The compositions in words."""
        return {names()[number] for number in self.compositions}


def generate(split: Split, size: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield `size` distinct (English, French) pairs of a split.

    The pairs depend on nothing but the arguments; a smaller size gives a prefix of a larger one.
    No training sentence is a validation or test sentence of any seed.

    Args:
        split: train (no held-out composition), test (each with at least one; the first is
            "A cute teddy bear is reading."), or validation (by turns one with a held-out
            composition and one without).
        size: the number of pairs.
        seed: of the drawing of sentences; it does not change what is held out.

    Raises:
        DataError: an unknown split, a negative size, or more pairs than the language has.
    """
    for example in examples(split, size, seed):
        yield example.english, example.french


def examples(split: Split, size: int, seed: int) -> Iterator[Example]:
    """As `generate`, with the construction and the compositions of each pair."""
    if split not in SPLITS:
        raise DataError(
            f"The built-in corpus has no split '{split}'",
            where="built-in corpus",
            remedy=did_you_mean(str(split), SPLITS),
        )
    if size < 0:
        raise DataError(
            f"A corpus cannot have {size} pairs",
            where="built-in corpus",
            remedy="ask for zero or more",
        )
    return _examples(split, size, seed)


def _examples(split: Split, size: int, seed: int) -> Iterator[Example]:
    sampler = Sampler(f"{split} {seed}")
    kept_out = held_out()
    seen: set[str] = set()
    if split == "test" and size:
        yield _lecture()
        seen.add(LECTURE)
    idle = 0
    while len(seen) < size:
        construction, tree = draw(sampler)
        pairs = compositions(tree)
        novel = not kept_out.isdisjoint(pairs)
        wanted = novel == (len(seen) % 2 == 0 if split == "validation" else split == "test")
        idle += 1
        if wanted:
            source = english.sentence(tree)
            if source not in seen and _home(source, novel) == split:
                seen.add(source)
                idle = 0
                yield Example(source, french.sentence(tree), construction, pairs)
        if idle > PATIENCE:
            raise DataError(
                f"The built-in corpus has no more than about {len(seen)} {split} pairs",
                where="built-in corpus",
                remedy="ask for fewer",
            )


def _home(source: str, novel: bool) -> Split:
    """The split that a sentence belongs to, whatever the seed."""
    number = zlib.crc32(source.encode())
    if novel:
        return "test" if number % 2 == 0 or source == LECTURE else "validation"
    return "validation" if number % RESERVED == 0 else "train"


def _lecture() -> Example:
    lexicon = load()
    bear = next(noun for noun in lexicon.nouns if noun.name == "teddy bear")
    cute = next(adjective for adjective in lexicon.adjectives if adjective.english == "cute")
    read = next(verb for verb in lexicon.verbs if verb.base == "read")
    article = lexicon.determiners["a", "singular", "indefinite"]
    tree = Statement(Clause(Phrase(bear, False, article, (cute,)), read, "progressive"))
    return Example(english.sentence(tree), french.sentence(tree), "action", compositions(tree))
