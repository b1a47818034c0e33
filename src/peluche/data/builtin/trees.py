"""Abstract sentences: what is said, before either language says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from peluche.data.builtin.words import (
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


def written(
    tree: Sentence,
    statement: Callable[[Statement], str],
    question: Callable[[Question], str],
    existential: Callable[[Existential], str],
    presentation: Callable[[Presentation], str],
) -> str:
    """A sentence by what writes its kind in a language, with a capital at its beginning."""
    match tree:
        case Statement():
            text = statement(tree)
        case Question():
            text = question(tree)
        case Existential():
            text = existential(tree)
        case Presentation():
            text = presentation(tree)
    return text[0].upper() + text[1:]


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


def compositions(sentence: Sentence) -> list[int]:
    """Every (adjective, noun) and (noun, verb) composition in a sentence."""
    found: list[int] = []
    if isinstance(sentence, (Statement, Question)):
        clause = sentence.clause
        subjects = heads(clause.subject)
        _in_clause(clause, subjects, found)
        if isinstance(sentence, Statement):
            second = sentence.second
            if second is not None:
                _in_clause(second, heads(second.subject) if second.subject else subjects, found)
            return found
    if sentence.phrase is not None:
        _in_phrase(sentence.phrase, found)
    if isinstance(sentence, Existential):
        _in_phrase(sentence.place.phrase, found)
    return found


def _in_phrase(phrase: Phrase, found: list[int]) -> None:
    for adjective in phrase.adjectives:
        found.append(adjective_pair(adjective, phrase.noun))
    if phrase.owner is not None:
        _in_phrase(phrase.owner, found)
    clause = phrase.relative
    if clause is not None:
        _in_clause(clause, heads(clause.subject) if clause.subject else (phrase,), found)


def _in_clause(clause: Clause, subjects: tuple[Phrase, ...], found: list[int]) -> None:
    verb, adjective = clause.verb, clause.adjective
    described = clause.subject is not None and not isinstance(clause.subject, Pronoun)
    for phrase in subjects:
        if described:
            _in_phrase(phrase, found)
        if verb is not None:
            found.append(verb_pair(phrase.noun, verb))
        if adjective is not None:
            found.append(adjective_pair(adjective, phrase.noun))
    for part in (clause.object, clause.recipient):
        if isinstance(part, Phrase):
            _in_phrase(part, found)
    if clause.standard is not None:
        _in_phrase(clause.standard, found)
        if adjective is not None:
            found.append(adjective_pair(adjective, clause.standard.noun))
    if clause.place is not None:
        _in_phrase(clause.place.phrase, found)
    if clause.content is not None:
        _in_clause(clause.content, heads(clause.content.subject), found)
