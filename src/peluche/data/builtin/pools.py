"""What goes with what: the licensed subjects, objects, adjectives and places of each word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from peluche.data.builtin.lexicon import load, rows
from peluche.data.builtin.words import (
    Adjective,
    Adverb,
    Determiner,
    Lexicon,
    Noun,
    Preposition,
    PronounForms,
    Verb,
)

SITES = frozenset({"place", "room", "furniture", "nature"})
"""Tags of the nouns at which things happen; small things may also be in a box or on a plate."""
STORES = frozenset({"container", "furniture", "room"})
"""Tags of the nouns in or on which food and drink are kept."""
THINGS = frozenset({"hold", "animate", "furniture", "vehicle", "mass", "music"})
"""Tags of the nouns that may be said to be somewhere."""
OPPOSITES = (
    {"clean", "dirty"},
    {"wet", "dry"},
    {"hot", "cold"},
    {"happy", "sad"},
    {"happy", "worried"},
    {"happy", "angry"},
    {"strong", "weak"},
    {"heavy", "light"},
    {"soft", "hard"},
    {"quiet", "noisy"},
    {"calm", "nervous"},
    {"calm", "angry"},
    {"calm", "worried"},
    {"kind", "mean"},
    {"good", "bad"},
    {"good", "boring"},
    {"boring", "interesting"},
    {"boring", "funny"},
    {"small", "big"},
    {"old", "new"},
    {"old", "young"},
    {"long", "short"},
    {"rich", "hungry"},
    {"delicious", "bad"},
    {"fresh", "bad"},
)
STATE = 3
"""The rank of adjectives that two can be joined by "and": happy and tired."""
OPINION, SIZE, COLOUR = 1, 2, 5

PERSONAL = (
    ("I", True),
    ("you", True),
    ("he", False),
    ("she", False),
    ("we", True),
    ("they", False),
)
"""The pronouns that need no antecedent, and whether they never have one."""

Adjectives = tuple[Adjective, ...]
Places = tuple[tuple[Preposition, tuple[Noun, ...]], ...]


@dataclass(frozen=True, slots=True)
class Pools:
    """Tuples to draw from; repeats in them are weights."""

    lexicon: Lexicon
    single: tuple[tuple[Adjectives, ...], ...]
    """By noun: its adjectives, those with few nouns being given more often."""
    double: tuple[tuple[Adjectives, ...], ...]
    """By noun: pairs of adjectives, in English order."""
    adjective_nouns: Mapping[Adjective, tuple[Noun, ...]]
    nouns: tuple[Noun, ...]
    subjects: Mapping[Verb, tuple[Noun, ...]]
    objects: Mapping[Verb, tuple[Noun, ...]]
    acted: Mapping[Noun, tuple[Verb, ...]]
    """By noun: the verbs without object that it may be the subject of."""
    taking: Mapping[Noun, tuple[Verb, ...]]
    """By noun: the verbs with a direct object that it may be the subject of."""
    objected: Mapping[Noun, tuple[Verb, ...]]
    """By noun: the verbs that it may be the direct object of."""
    verbs: Mapping[str, tuple[Verb, ...]]
    """By frame."""
    sites: Places
    spots: Places
    stores: Places
    determiners: Mapping[tuple[str, bool, str], tuple[Determiner, ...]]
    """By context, whether the noun is shared (then none is a possessive), and number."""
    personal: tuple[PronounForms, ...]
    """I, you, he, she, we, they."""
    speakers: tuple[PronounForms, ...]
    """I, you, we."""
    adverbs: Mapping[str, tuple[Adverb, ...]]
    owners: tuple[Noun, ...]
    things: tuple[Noun, ...]
    """Whatever may be somewhere."""
    countable: tuple[Noun, ...]
    person: Noun
    """A noun that licenses what is said of I, you, he, she, we and they."""


@cache
def pools() -> Pools:
    """The pools of the built-in lexicon (made once in a process)."""
    lexicon = load()
    nouns, verbs = lexicon.nouns, lexicon.verbs
    licensed = {adjective: having(nouns, adjective.tags) for adjective in lexicon.adjectives}
    subjects = {verb: having(nouns, verb.subjects) for verb in verbs}
    objects = {verb: having(nouns, verb.objects) for verb in verbs}
    inside = [preposition for preposition in lexicon.prepositions if preposition.place != "at"]
    sites = [(p, having(nouns, {p.place}, SITES)) for p in lexicon.prepositions]
    weights = _weights(nouns, [*subjects.values(), *objects.values(), *(n for _, n in sites)])
    frames = sorted({verb.frame for verb in verbs})
    by_frame = {frame: tuple(verb for verb in verbs if verb.frame == frame) for frame in frames}
    singular_pronouns = {word: lexicon.pronouns[word, word == "she"] for word, _ in PERSONAL}
    return Pools(
        lexicon=lexicon,
        single=tuple(_single(noun, licensed) for noun in nouns),
        double=tuple(_double(noun, licensed) for noun in nouns),
        adjective_nouns=licensed,
        nouns=_repeat(nouns, weights),
        subjects=subjects,
        objects={verb: _repeat(some, weights) for verb, some in objects.items()},
        acted={n: tuple(v for v in by_frame["none"] if n in subjects[v]) for n in nouns},
        taking={n: tuple(v for v in by_frame["direct"] if n in subjects[v]) for n in nouns},
        objected={n: tuple(v for v in by_frame["direct"] if n in objects[v]) for n in nouns},
        verbs=by_frame,
        sites=tuple((p, _repeat(some, weights)) for p, some in sites),
        spots=tuple((p, _repeat(having(nouns, {p.place}), weights)) for p in inside),
        stores=tuple((p, having(nouns, {p.place}, STORES)) for p in inside[:2]),
        determiners={
            (row["context"], shared, row["number"]): _determiners(lexicon, row, shared)
            for row in rows("contexts")
            for shared in (False, True)
        },
        personal=tuple(singular_pronouns.values()),
        speakers=tuple(singular_pronouns[word] for word, free in PERSONAL if free),
        adverbs={
            kind: tuple(adverb for adverb in lexicon.adverbs if adverb.kind == kind)
            for kind in sorted({adverb.kind for adverb in lexicon.adverbs})
        },
        owners=having(nouns, {"animate"}),
        things=_repeat(having(nouns, THINGS), weights),
        countable=_repeat((n for n in nouns if not n.mass and not n.unique), weights),
        person=nouns[0],
    )


def having(
    nouns: Iterable[Noun], tags: Iterable[str], also: Iterable[str] = ()
) -> tuple[Noun, ...]:
    """The nouns with any of `tags` and, if given, any tag of `also`."""
    wanted, second = frozenset(tags), frozenset(also)
    return tuple(
        noun for noun in nouns if noun.tags & wanted and (not second or noun.tags & second)
    )


def _weights(nouns: Iterable[Noun], groups: Iterable[tuple[Noun, ...]]) -> dict[Noun, int]:
    """How often to repeat each noun so that those licensed rarely are not drawn rarely."""
    exposure = dict.fromkeys(nouns, 0.0)
    for group in groups:
        for noun in group:
            exposure[noun] += 1 / len(group)
    target = sum(exposure.values()) / len(exposure)
    return {noun: min(10, max(1, round(target / seen))) for noun, seen in exposure.items()}


def _repeat(nouns: Iterable[Noun], weights: Mapping[Noun, int]) -> tuple[Noun, ...]:
    return tuple(noun for noun in nouns for _ in range(weights[noun]))


def _single(noun: Noun, licensed: Mapping[Adjective, tuple[Noun, ...]]) -> tuple[Adjectives, ...]:
    fitting = [adjective for adjective, nouns in licensed.items() if noun in nouns]
    return tuple(
        (adjective,)
        for adjective in fitting
        for _ in range(max(1, round(500 / len(licensed[adjective]))))
    )


def _double(noun: Noun, licensed: Mapping[Adjective, tuple[Noun, ...]]) -> tuple[Adjectives, ...]:
    """Pairs that both languages say in one way.

    One adjective on each side in French; or two states after it, joined by "and"; or an opinion
    and a size before it.
    """
    fitting = [adjective for adjective, nouns in licensed.items() if noun in nouns]
    pairs = []
    for first in fitting:
        for second in fitting:
            if {first.english, second.english} in OPPOSITES or first.english == "pretty":
                continue  # "pretty tired" would be read as "rather tired"
            if first.rank == second.rank == STATE and first.index < second.index:
                pairs.append((first, second))
            elif first.rank < second.rank and (
                first.before != second.before
                or (first.before and (first.rank, second.rank) == (OPINION, SIZE))
            ):
                pairs += [(first, second)] * 3
    return tuple(pairs)


def _determiners(lexicon: Lexicon, row: dict[str, str], shared: bool) -> tuple[Determiner, ...]:
    """The determiners of a context: words with their weights ("the*6 a:negated*2 my")."""
    chosen = []
    for item in row["determiners"].split():
        word, _, weight = item.partition("*")
        english, _, kind = word.replace("_", " ").partition(":")
        for determiner in lexicon.determiners.values():
            named = (determiner.english, determiner.number) == (english, row["number"])
            fits = determiner.kind == kind if kind else determiner.kind != "negated"
            if named and fits and not (shared and determiner.kind == "possessive"):
                chosen += [determiner] * int(weight or 1)
    return tuple(chosen)
