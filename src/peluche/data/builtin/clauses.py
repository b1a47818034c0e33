"""Drawing clauses of being, clauses that describe a noun, and second clauses."""

from __future__ import annotations

from peluche.data.builtin.pools import COLOUR, OPPOSITES, THINGS
from peluche.data.builtin.sampler import Sampler
from peluche.data.builtin.trees import (
    Clause,
    Phrase,
    Place,
    Pronoun,
    Subject,
)
from peluche.data.builtin.words import Adjective, Noun, Verb

FRAMES = ("none",) * 6 + ("direct",) * 12 + ("preposition",) * 4 + ("recipient",) * 2


def some_verb(sampler: Sampler) -> Verb:
    """A verb of any frame but "that" clauses."""
    return sampler.pick(sampler.pools.verbs[sampler.pick(FRAMES)])


def quality(sampler: Sampler, noun: Noun) -> Adjective:
    """An adjective for a noun."""
    return sampler.pick(sampler.pools.single[noun.index])[0]


def described(sampler: Sampler, subject: Subject, *, asking: bool = False) -> Clause:
    """Subject is adjective."""
    clause = sampler.be(subject, negation=0 if asking else 0.15)
    adjective = quality(sampler, head(sampler, subject))
    if isinstance(subject, Phrase) and contradicted(adjective, subject):
        subject.adjectives = ()
    clause.adjective = adjective
    if adjective.gradable and sampler.chance(0.25):
        clause.degree = sampler.pick(sampler.pools.adverbs["degree"])
    elif clause.tense == "present" and sampler.chance(0.08) and not clause.negation:
        clause.frequency = sampler.pick(sampler.pools.adverbs["frequency"])
    return clause


def contradicted(adjective: Adjective, phrase: Phrase) -> bool:
    """Whether a noun phrase already says this, the contrary or another colour of its noun."""
    said = phrase.adjectives
    if phrase.relative is not None and phrase.relative.adjective is not None:
        said = (*said, phrase.relative.adjective)
    return any(
        other is adjective
        or other.rank == adjective.rank == COLOUR
        or {other.english, adjective.english} in OPPOSITES
        for other in said
    )


def head(sampler: Sampler, subject: Subject) -> Noun:
    """A noun that licenses what is said of a subject."""
    if isinstance(subject, Phrase):
        return subject.noun
    if isinstance(subject, Pronoun):
        return head(sampler, subject.antecedent) if subject.antecedent else sampler.pools.person
    return subject.first.noun


def any_subject(sampler: Sampler) -> Subject:
    """A personal pronoun or any noun phrase."""
    draw = sampler.random()
    if draw < 0.12:
        return sampler.pronoun()
    return sampler.phrase(sampler.pick(sampler.pools.nouns), "subject", adjectives=0.12)


def located(sampler: Sampler, subject: Subject | None = None) -> Clause:
    """Subject is somewhere."""
    if subject is None:
        subject = (
            sampler.pronoun()
            if sampler.chance(0.12)
            else sampler.phrase(sampler.pick(sampler.pools.things), "subject")
        )
    clause = sampler.be(subject)
    clause.place = place_for(sampler, subject)
    return clause


def bare(sampler: Sampler, noun: Noun, plural: bool) -> Phrase:
    """A subject that only lends its noun and number (what a relative clause describes)."""
    return Phrase(noun, plural, sampler.pools.determiners["the", False, "singular"][0])


def place_for(sampler: Sampler, subject: Subject) -> Place:
    """A place where a subject may be."""
    pools = sampler.pools
    places = pools.sites
    if isinstance(subject, Phrase):
        tags = subject.noun.tags
        places = pools.stores if "mass" in tags else pools.spots if "hold" in tags else places
    place = sampler.place(places)
    while isinstance(subject, Phrase) and place.phrase.noun is subject.noun:
        place = sampler.place(places)
    return place


def relative(sampler: Sampler, noun: Noun, plural: bool, *, final: bool) -> Clause | None:
    """A clause about `noun` as its subject or object; only a final one has an object of its own."""
    pools = sampler.pools
    choice = sampler.random()
    if choice < 0.25:
        clause = Clause(None, None, adjective=quality(sampler, noun))
        if clause.adjective and clause.adjective.gradable and sampler.chance(0.25):
            clause.degree = pools.adverbs["degree"][0]
    elif choice < 0.4 and noun.tags & THINGS:
        clause = Clause(None, None)
        clause.place = place_for(sampler, bare(sampler, noun, plural))
    elif choice < 0.7 and pools.acted[noun]:
        verb = sampler.pick(pools.acted[noun])
        if final and sampler.chance(0.5) and pools.taking[noun]:
            verb = sampler.pick(pools.taking[noun])
        clause = sampler.event(
            verb, bare(sampler, noun, plural), negation=0.05, tail=0.25 if final else 0
        )
        clause.subject = None
    else:
        verbs = pools.objected[noun]
        if not verbs:
            return None
        verb = sampler.pick(verbs)
        clause = sampler.event(
            verb, sampler.subject(verb), negation=0.05, tail=0, without_object=True
        )
    return clause


def with_relative(sampler: Sampler, noun: Noun, *, final: bool) -> Phrase | None:
    """A noun phrase with a relative clause."""
    phrase = sampler.phrase(noun, "described", adjectives=0.15, owner=0)
    clause = relative(sampler, noun, phrase.plural, final=final)
    phrase.relative = clause
    if clause is None:
        return None
    if clause.adjective is not None and contradicted(clause.adjective, phrase):
        phrase.adjectives = ()
    return phrase


def another(sampler: Sampler, subject: Subject) -> Clause:
    """A second clause, about the subject of the first or about another one.

    Its pronouns either stand for the first subject or are I, you, we: a "they" could be read as
    that subject, whose gender French would show.
    """
    draw = sampler.random()
    if draw < 0.3 and isinstance(subject, Phrase):
        pronoun = sampler.standing_for(subject)
        if pronoun is not None:
            return described(sampler, pronoun)
    verb = sampler.pick(sampler.pools.verbs["none" if draw < 0.6 else "direct"])
    nouns = sampler.pools.subjects[verb]
    if draw > 0.9 and not verb.subjects.isdisjoint(("person", "animate")):
        other: Subject = sampler.speaker()
    else:
        other = sampler.phrase(sampler.pick(nouns), "subject")
    clause = sampler.event(verb, other, tail=0)
    if isinstance(clause.object, Pronoun):
        clause.object = None
        if isinstance(subject, Phrase) and subject.noun in sampler.pools.objects[verb]:
            clause.object = sampler.standing_for(subject)
    if clause.object is None and verb.objects and "optional" not in verb.flags:
        clause.object = sampler.phrase(sampler.pick(sampler.pools.objects[verb]), "definite")
    return clause


def following(sampler: Sampler, pronoun: Pronoun, subject: Subject) -> Clause:
    """A second clause about the subject of the first."""
    verbs = sampler.pools.taking[head(sampler, subject)]
    if not verbs or sampler.chance(0.5):
        return described(sampler, pronoun)
    return sampler.event(sampler.pick(verbs), pronoun, tail=0)
