"""What goes with what: the licensed subjects, objects, adjectives and places of each word."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from peluche.data.builtin.lexicon import (
    Adjective,
    Adverb,
    Determiner,
    Lexicon,
    Noun,
    Preposition,
    PronounForms,
    Verb,
    load,
)

DETERMINERS = {
    "subject": {
        "singular": "the*10 a*7 this*2 my your his her our their every",
        "plural": "the*12 some*5 these*3 my your his her our their all_the several many two three "
        "four five six seven eight nine ten the_two the_three",
        "mass": "the*6 my your",
    },
    "object": {
        "singular": "the*9 a*9 this*2 my your his her our their",
        "plural": "the*8 some*8 these*3 my your his her our their several many two three four five "
        "six seven eight nine ten the_two",
        "mass": "some*6 the*3 my her",
    },
    "definite": {
        "singular": "the*9 this*3 my your his her our their",
        "plural": "the*9 these*3 my your his her our their all_the",
        "mass": "the*3 my his",
    },
    "negated": {
        "singular": "a:negated*6 the*6 this my your his her our their",
        "plural": "any:negated*6 the*5 these my your his her our their",
        "mass": "any:negated*6 the*3 my",
    },
    "place": {
        "singular": "the*12 a*3 this my your his her our their",
        "plural": "the",
        "mass": "the",
    },
    "existing": {
        "singular": "a",
        "plural": "some*6 several many two three four five six seven eight nine ten",
        "mass": "some",
    },
    "absent": {"singular": "a:negated", "plural": "any:negated", "mass": "any:negated"},
    "described": {"singular": "the*5 a*4 this", "plural": "the*4 some*2 two these", "mass": "the"},
    "shown": {"singular": "a*6 the my your his her our their", "plural": "my your his her our the"},
    "the": {"singular": "the", "plural": "the", "mass": "the"},
    "which": {"singular": "which", "plural": "which"},
    "how many": {"plural": "how_many"},
}
"""The determiners of each context and number, with their weights."""

SITES = frozenset({"place", "room", "furniture", "nature"})
"""Tags of the nouns at which things happen; things may also be in a box or on a plate."""

Adjectives = tuple[Adjective, ...]


@dataclass(frozen=True, slots=True)
class Pools:
    """Tuples to draw from; repeats in them are weights."""

    lexicon: Lexicon
    single: tuple[tuple[Adjectives, ...], ...]
    """By noun: its adjectives, those with few nouns being given more often."""
    double: tuple[tuple[Adjectives, ...], ...]
    """By noun: pairs of adjectives, in English order."""
    adjective_nouns: dict[Adjective, tuple[Noun, ...]]
    subjects: dict[Verb, tuple[Noun, ...]]
    objects: dict[Verb, tuple[Noun, ...]]
    acted: dict[Noun, tuple[Verb, ...]]
    """By noun: the verbs without object that it may be the subject of."""
    objected: dict[Noun, tuple[Verb, ...]]
    """By noun: the verbs that it may be the direct object of."""
    taking: dict[Noun, tuple[Verb, ...]]
    """By noun: the verbs with a direct object that it may be the subject of."""
    verbs: dict[str, tuple[Verb, ...]]
    """By frame."""
    sites: tuple[tuple[Preposition, tuple[Noun, ...]], ...]
    spots: tuple[tuple[Preposition, tuple[Noun, ...]], ...]
    determiners: dict[str, dict[str, tuple[Determiner, ...]]]
    personal: tuple[PronounForms, ...]
    """I, you, he, she, we, they."""
    adverbs: dict[str, tuple[Adverb, ...]]
    owners: tuple[Noun, ...]
    things: tuple[Noun, ...]
    """Whatever may lie somewhere."""
    countable: tuple[Noun, ...]
    person: Noun
    """A noun that licenses what is said of I, you, he, she, we and they."""


@cache
def pools() -> Pools:
    """The pools of the built-in lexicon (made once in a process)."""
    lexicon = load()
    nouns, verbs = lexicon.nouns, lexicon.verbs
    licensed = {adjective: _having(nouns, adjective.tags) for adjective in lexicon.adjectives}
    objects = {verb: _having(nouns, verb.objects) for verb in verbs}
    subjects = {verb: _having(nouns, verb.subjects) for verb in verbs}
    frames = {verb.frame for verb in verbs}
    by_frame = {f: tuple(verb for verb in verbs if verb.frame == f) for f in sorted(frames)}
    return Pools(
        lexicon=lexicon,
        single=tuple(_single(noun, licensed) for noun in nouns),
        double=tuple(_double(noun, licensed) for noun in nouns),
        adjective_nouns=licensed,
        subjects=subjects,
        objects=objects,
        acted={n: tuple(v for v in by_frame["none"] if n in subjects[v]) for n in nouns},
        taking={n: tuple(v for v in by_frame["direct"] if n in subjects[v]) for n in nouns},
        objected={n: tuple(v for v in by_frame["direct"] if n in objects[v]) for n in nouns},
        verbs=by_frame,
        sites=tuple((p, _having(nouns, {p.place}, SITES)) for p in lexicon.prepositions),
        spots=tuple(
            (p, _having(nouns, {p.place})) for p in lexicon.prepositions if p.place != "at"
        ),
        determiners={
            context: {number: _determiners(lexicon, number, names) for number, names in row.items()}
            for context, row in DETERMINERS.items()
        },
        personal=tuple(
            lexicon.pronouns[english, english == "she"]
            for english in ("I", "you", "he", "she", "we", "they")
        ),
        adverbs={
            kind: tuple(adverb for adverb in lexicon.adverbs if adverb.kind == kind)
            for kind in sorted({adverb.kind for adverb in lexicon.adverbs})
        },
        owners=_having(nouns, {"animate"}),
        things=_having(nouns, {"hold", "animate", "furniture", "vehicle", "mass", "music"}),
        countable=tuple(noun for noun in nouns if not noun.mass and not noun.unique),
        person=nouns[0],
    )


def _having(
    nouns: Iterable[Noun], tags: Iterable[str], also: Iterable[str] = ()
) -> tuple[Noun, ...]:
    """The nouns with any of `tags` and, if given, any tag of `also`."""
    wanted, second = frozenset(tags), frozenset(also)
    return tuple(
        noun for noun in nouns if noun.tags & wanted and (not second or noun.tags & second)
    )


def _single(noun: Noun, licensed: dict[Adjective, tuple[Noun, ...]]) -> tuple[Adjectives, ...]:
    fitting = [adjective for adjective, nouns in licensed.items() if noun in nouns]
    return tuple(
        (adjective,)
        for adjective in fitting
        for _ in range(max(1, round(160 / len(licensed[adjective]))))
    )


def _double(noun: Noun, licensed: dict[Adjective, tuple[Noun, ...]]) -> tuple[Adjectives, ...]:
    """Pairs that both languages say in one way.

    One adjective on each side in French; or two after it, joined by "and", which describe a state;
    or beautiful and pretty before a size.
    """
    fitting = [adjective for adjective, nouns in licensed.items() if noun in nouns]
    pairs = []
    for first in fitting:
        for second in fitting:
            if first.rank == second.rank == 3 and first.index < second.index:
                pairs.append((first, second))
            elif first.rank < second.rank and (
                first.before != second.before
                or (first.before and first.rank == 1 and second.rank == 2)
            ):
                pairs += [(first, second)] * 3
    return tuple(pairs)


def _determiners(lexicon: Lexicon, number: str, names: str) -> tuple[Determiner, ...]:
    chosen = []
    for item in names.split():
        word, _, weight = item.partition("*")
        english, _, kind = word.replace("_", " ").partition(":")
        for determiner in lexicon.determiners.values():
            if (determiner.english, determiner.number) == (english, number) and (
                determiner.kind == kind if kind else determiner.kind != "negated"
            ):
                chosen += [determiner] * int(weight or 1)
    return tuple(chosen)
