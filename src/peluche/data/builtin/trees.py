"""Abstract sentences: what is said, before either language says it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from peluche.data.builtin.lexicon import (
    Adjective,
    Adverb,
    Determiner,
    Noun,
    Preposition,
    PronounForms,
    Verb,
)


@dataclass(slots=True)
class Phrase:
    """A noun phrase; with an owner, the owner takes the place of the determiner."""

    noun: Noun
    plural: bool
    determiner: Determiner
    adjectives: tuple[Adjective, ...] = ()
    """In English order."""
    owner: Phrase | None = None
    relative: Clause | None = None
    """A clause whose subject, or else object, is this phrase."""


@dataclass(slots=True)
class Pair:
    """Two noun phrases joined by "and"."""

    first: Phrase
    second: Phrase


@dataclass(slots=True)
class Pronoun:
    """A pronoun, with the noun phrase it stands for if the sentence has it."""

    forms: PronounForms
    antecedent: Subject | None = None


Subject = Phrase | Pair | Pronoun


@dataclass(slots=True)
class Place:
    """A preposition and its noun phrase."""

    preposition: Preposition
    phrase: Phrase


@dataclass(slots=True)
class Clause:
    """A subject and what is said of it.

    A subject of None is asked for ("who") or stands outside (relative clause, shared subject).
    """

    subject: Subject | None
    verb: Verb | None
    """None is "be", with an adjective or a place."""
    tense: str = "present"
    """present, progressive, past, perfect, future, or a modal: want, can, must."""
    negation: str = ""
    """"", "not" or "never"."""
    frequency: Adverb | None = None
    object: Phrase | Pronoun | None = None
    recipient: Phrase | Pronoun | None = None
    adjective: Adjective | None = None
    degree: Adverb | None = None
    standard: Phrase | None = None
    """What a quality is compared with: as ... as."""
    place: Place | None = None
    adverb: Adverb | None = None
    content: Clause | None = None
    """What is thought or known: a clause after "that"."""


@dataclass(slots=True)
class Statement:
    """A clause, or two that `link` joins ("and", "because", "if"...).

    A second clause without a subject shares the first one's.
    """

    clause: Clause
    link: str = ""
    second: Clause | None = None


@dataclass(slots=True)
class Question:
    """A question; `asked` is polar, who, what, whom, where, why or phrase (which, how many)."""

    asked: str
    clause: Clause
    phrase: Phrase | None = None


@dataclass(slots=True)
class Existential:
    """There is..., in a place; a phrase of None is asked for ("what is")."""

    mood: str
    """positive, negative or question."""
    phrase: Phrase | None
    place: Place


@dataclass(slots=True)
class Presentation:
    """This is..., these are...; `mood` as in `Existential`."""

    mood: str
    phrase: Phrase


Sentence = Statement | Question | Existential | Presentation


def heads(subject: Subject | None) -> tuple[Phrase, ...]:
    """The noun phrases that a subject stands for (none for I, you, who...)."""
    if isinstance(subject, Phrase):
        return (subject,)
    if isinstance(subject, Pair):
        return (subject.first, subject.second)
    if isinstance(subject, Pronoun):
        return heads(subject.antecedent)
    return ()


def adjective_pair(adjective: Adjective, noun: Noun) -> int:
    """The composition of an adjective and the noun it describes, as a number."""
    return noun.index << 10 | adjective.index


def verb_pair(noun: Noun, verb: Verb) -> int:
    """The composition of a noun and the verb whose subject it is, as a number."""
    return noun.index << 10 | 512 | verb.lemma


def compositions(sentence: Sentence) -> Iterator[int]:
    """Every (adjective, noun) and (noun, verb) composition in a sentence."""
    if isinstance(sentence, (Statement, Question)):
        clause = sentence.clause
        subjects = heads(clause.subject)
        yield from _in_clause(clause, subjects)
        if isinstance(sentence, Statement):
            second = sentence.second
            if second is not None:
                yield from _in_clause(second, heads(second.subject) if second.subject else subjects)
        elif sentence.phrase is not None:
            yield from _in_phrase(sentence.phrase)
        return
    if sentence.phrase is not None:
        yield from _in_phrase(sentence.phrase)
    if isinstance(sentence, Existential):
        yield from _in_phrase(sentence.place.phrase)


def _in_phrase(phrase: Phrase) -> Iterator[int]:
    for adjective in phrase.adjectives:
        yield adjective_pair(adjective, phrase.noun)
    if phrase.owner is not None:
        yield from _in_phrase(phrase.owner)
    if phrase.relative is not None:
        clause = phrase.relative
        yield from _in_clause(clause, heads(clause.subject) if clause.subject else (phrase,))


def _in_clause(clause: Clause, subjects: tuple[Phrase, ...]) -> Iterator[int]:
    subject = clause.subject
    if subject is not None and not isinstance(subject, Pronoun):
        for phrase in subjects:
            yield from _in_phrase(phrase)
    for phrase in subjects:
        if clause.verb is not None:
            yield verb_pair(phrase.noun, clause.verb)
        if clause.adjective is not None:
            yield adjective_pair(clause.adjective, phrase.noun)
    for part in (clause.object, clause.recipient, clause.standard):
        if isinstance(part, Phrase):
            yield from _in_phrase(part)
    if clause.standard is not None and clause.adjective is not None:
        yield adjective_pair(clause.adjective, clause.standard.noun)
    if clause.place is not None:
        yield from _in_phrase(clause.place.phrase)
    if clause.content is not None:
        yield from _in_clause(clause.content, heads(clause.content.subject))
