"""Abstract sentences into English."""

from __future__ import annotations

from peluche.data.builtin.trees import (
    Clause,
    Existential,
    Pair,
    Phrase,
    Place,
    Presentation,
    Pronoun,
    Question,
    Sentence,
    Statement,
    Subject,
    written,
)
from peluche.data.builtin.words import Verb

THIRD = 2
BE = ("am", "are", "is", "are", "are")
WAS = ("was", "were", "was", "were", "were")
DO = ("do", "do", "does", "do", "do")
HAVE = ("have", "have", "has", "have", "have")
WANT = ("want", "want", "wants", "want", "want")
CONSONANT_SOUNDS = ("uni", "use")
"""Beginnings that are written with a vowel but spoken with a consonant: a unicorn."""

QUESTION_WORDS = {"polar": "", "what": "what ", "whom": "who ", "where": "where ", "why": "why "}

Parts = tuple[str, str]
"""The part of a predicate that moves before the subject in questions, and the rest."""


def sentence(tree: Sentence) -> str:
    """The English sentence of an abstract one."""
    return written(tree, statements, questions, existential, presentation)


def person(subject: Subject | None) -> int:
    """The row of a verb's present tense that a subject asks for."""
    if isinstance(subject, Phrase):
        return 4 if subject.plural else THIRD
    if isinstance(subject, Pronoun):
        return subject.forms.person
    return THIRD if subject is None else 4


def article(following: str) -> str:
    """a or an, with its space."""
    vowel = following[0] in "aeiou" and not following.startswith(CONSONANT_SOUNDS)
    return "an " if vowel else "a "


def noun_phrase(phrase: Phrase) -> str:
    """A noun phrase with all that belongs to it."""
    text = phrase.noun.english[phrase.plural]
    adjectives = phrase.adjectives
    if adjectives:
        if len(adjectives) == 1:
            text = f"{adjectives[0].english} {text}"
        else:
            first, second = adjectives
            joint = " and " if first.rank == second.rank else " "
            text = f"{first.english}{joint}{second.english} {text}"
    if phrase.owner is not None:
        owner = noun_phrase(phrase.owner)
        regular_plural = phrase.owner.plural and owner.endswith("s")
        text = f"{owner}' {text}" if regular_plural else f"{owner}'s {text}"
    else:
        determiner = phrase.determiner.english
        text = article(text) + text if determiner == "a" else f"{determiner} {text}"
    if phrase.relative is not None:
        text += " " + relative_clause(phrase, phrase.relative)
    return text


def relative_clause(head: Phrase, clause: Clause) -> str:
    """A clause that describes `head`, which is its subject or else its object."""
    if clause.subject is None:
        pronoun = "who " if "person" in head.noun.tags else "that "
        return pronoun + predicate(clause, 4 if head.plural else THIRD)
    return "that " + statement(clause)


def subject_phrase(subject: Subject) -> str:
    """A subject."""
    if isinstance(subject, Phrase):
        return noun_phrase(subject)
    if isinstance(subject, Pair):
        return f"{noun_phrase(subject.first)} and {noun_phrase(subject.second)}"
    return subject.forms.english


def object_phrase(part: Phrase | Pronoun) -> str:
    """An object, or what follows a preposition."""
    return part.forms.object if isinstance(part, Pronoun) else noun_phrase(part)


def place_phrase(place: Place) -> str:
    """A preposition and its noun phrase."""
    return f"{place.preposition.english} {noun_phrase(place.phrase)}"


def verb_parts(clause: Clause, verb: Verb, who: int, asking: bool) -> Parts:
    """The verb in its tense: what a question moves, and the rest (a negation in between)."""
    tense = clause.tense
    if tense == "progressive":
        return BE[who], verb.progressive
    if tense == "perfect":
        return HAVE[who], verb.participle
    if tense == "future":
        return BE[who], "going to " + verb.base
    if tense in ("can", "must"):
        return tense, verb.base
    supported = asking or clause.negation == "not"
    if tense == "past":
        return ("did", verb.base) if supported else ("", verb.past)
    if tense == "want":
        front, rest = (DO[who], "want") if supported else ("", WANT[who])
        return front, f"{rest} to {verb.base}"
    if supported:
        return DO[who], verb.base
    return "", verb.third if who == THIRD else verb.base


def be_parts(clause: Clause, who: int) -> Parts:
    """The verb be in its tense, as `verb_parts`."""
    if clause.tense == "past":
        return WAS[who], ""
    if clause.tense == "future":
        return BE[who], "going to be"
    return BE[who], ""


def complement(clause: Clause) -> str:
    """All that follows the verb, each part with a space before it."""
    text = ""
    verb = clause.verb
    if clause.adjective is not None:
        degree = clause.degree.english + " " if clause.degree is not None else ""
        text = f" {degree}{clause.adjective.english}"
        if clause.standard is not None:
            text = f" as{text} as {noun_phrase(clause.standard)}"
    if verb is not None and verb.preposition and verb.frame != "recipient":
        text += " " + verb.preposition
    if clause.object is not None:
        text += " " + object_phrase(clause.object)
    if clause.recipient is not None:
        text += " to " + object_phrase(clause.recipient)
    if clause.content is not None:
        text += " that " + statement(clause.content)
    if clause.place is not None:
        text += " " + place_phrase(clause.place)
    if clause.adverb is not None:
        text += " " + clause.adverb.english
    return text


def parts(clause: Clause, who: int, asking: bool = False) -> Parts:
    """A predicate: what a question moves before the subject, and the rest."""
    if clause.verb is None:
        front, rest = be_parts(clause, who)
    else:
        front, rest = verb_parts(clause, clause.verb, who, asking)
    middle = clause.frequency.english if clause.frequency is not None else clause.negation
    if middle:
        rest = f"{middle} {rest}" if rest else middle
    return front, (rest + complement(clause)).strip()


def predicate(clause: Clause, who: int) -> str:
    """A predicate in a statement."""
    front, rest = parts(clause, who)
    if front == "can" and clause.negation == "not":
        return "can" + rest
    return f"{front} {rest}" if front else rest


def statement(clause: Clause) -> str:
    """A clause with its subject."""
    assert clause.subject is not None
    return f"{subject_phrase(clause.subject)} {predicate(clause, person(clause.subject))}"


def question(clause: Clause) -> str:
    """A clause with its verb before its subject."""
    assert clause.subject is not None
    front, rest = parts(clause, person(clause.subject), asking=True)
    return f"{front} {subject_phrase(clause.subject)} {rest}".rstrip()


def statements(tree: Statement) -> str:
    """One clause, or two that are joined."""
    first = statement(tree.clause)
    second = tree.second
    if second is None:
        return first + "."
    if second.subject is None:
        # The second predicate leaves its auxiliary to the first one.
        return f"{first} {tree.link} {parts(second, person(tree.clause.subject))[1]}."
    if tree.link in ("when", "if"):
        return f"{tree.link} {first}, {statement(second)}."
    return f"{first} {tree.link} {statement(second)}."


def questions(tree: Question) -> str:
    """A question of any kind."""
    clause = tree.clause
    if tree.asked == "who":
        return f"who {predicate(clause, THIRD)}?"
    if tree.phrase is not None:
        return f"{noun_phrase(tree.phrase)} {question(clause)}?"
    return f"{QUESTION_WORDS[tree.asked]}{question(clause)}?"


def existential(tree: Existential) -> str:
    """There is..., or what is..."""
    place = place_phrase(tree.place)
    if tree.phrase is None:
        return f"what is {place}?"
    verb = "are" if tree.phrase.plural else "is"
    rest = f"{noun_phrase(tree.phrase)} {place}"
    if tree.mood == "question":
        return f"{verb} there {rest}?"
    return f"there {verb} {'not ' if tree.mood == 'negative' else ''}{rest}."


def presentation(tree: Presentation) -> str:
    """This is..., these are..."""
    pronoun, verb = ("these", "are") if tree.phrase.plural else ("this", "is")
    rest = noun_phrase(tree.phrase)
    if tree.mood == "question":
        return f"{verb} {pronoun} {rest}?"
    return f"{pronoun} {verb} {'not ' if tree.mood == 'negative' else ''}{rest}."
