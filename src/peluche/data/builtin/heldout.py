"""Which compositions are held out of training: a fixed tenth of all that the tables license."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import NamedTuple

from peluche.data.builtin.lexicon import load
from peluche.data.builtin.pools import pools

PARTITION_SEED = "peluche-1"
ONE_IN = 10
LECTURE = (("cute", "teddy bear"), ("teddy bear", "read"))
"""Always held out: "A cute teddy bear is reading." is a test of composition."""


class Composition(NamedTuple):
    """An adjective and the noun it describes, or a noun and the verb whose subject it is."""

    kind: str
    """"adjective noun" or "noun verb"."""
    first: str
    second: str


def is_held_out(first: str, second: str) -> bool:
    """Whether the composition of two English lemmas is kept out of training.

    ("cute", "teddy bear") is adjective and noun, ("teddy bear", "read") is noun and verb. The
    answer depends on the two words alone: not on the sampling seed, the tables or the machine.
    """
    if (first, second) in LECTURE:
        return True
    digest = hashlib.sha256(f"{PARTITION_SEED}\t{first}\t{second}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % ONE_IN == 0


@cache
def names() -> dict[int, Composition]:
    """Every composition that the tables license, by its number in `trees.compositions`."""
    lexicon = load()
    known = {
        noun.index << 10 | adjective.index: Composition(
            "adjective noun", adjective.english, noun.name
        )
        for adjective, nouns in pools().adjective_nouns.items()
        for noun in nouns
    }
    for verb in lexicon.verbs:
        for noun in pools().subjects[verb]:
            number = noun.index << 10 | 512 | verb.lemma
            known[number] = Composition("noun verb", noun.name, verb.base)
    return known


@cache
def held_out() -> frozenset[int]:
    """The numbers of the held-out compositions."""
    return frozenset(
        number for number, pair in names().items() if is_held_out(pair.first, pair.second)
    )
