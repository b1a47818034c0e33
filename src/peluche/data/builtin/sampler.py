"""Drawing abstract phrases and clauses from a stream of random numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from peluche.data.builtin.pools import Pools, pools
from peluche.data.builtin.trees import Clause, Pair, Phrase, Place, Pronoun, Subject
from peluche.data.builtin.words import Noun, Preposition, Verb

Item = TypeVar("Item")

TENSES = (
    ("progressive",) * 8 + ("present",) * 4 + ("past",) * 6 + ("perfect",) * 2 + ("future",) * 2
)
INTENTIONS = ("want", "can", "must")
STATIVE_TENSES = ("present",) * 5 + ("past",) * 2 + ("future",)


class Sampler:
    """Draws phrases and clauses.

    Only `random.Random.random` is used, whose stream for a seed is the same in every version of
    Python and on every machine.
    """

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed).random
        self.pools: Pools = pools()

    def pick(self, items: Sequence[Item]) -> Item:
        """One of `items`."""
        return items[int(self.random() * len(items))]

    def speaker(self) -> Pronoun:
        """I, you or we: pronouns that stand for nothing else in a sentence."""
        return Pronoun(self.pick(self.pools.speakers))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def phrase(
        self,
        noun: Noun,
        context: str,
        *,
        plural: float = 0.3,
        adjectives: float = 0.38,
        owner: float = 0.06,
    ) -> Phrase:
        """A noun phrase whose determiner fits `context` (a key of `pools.DETERMINERS`)."""
        random = self.random
        many = not (noun.mass or noun.unique) and random() < plural
        if noun.unique:
            context = "the"
        number = "plural" if many else "mass" if noun.mass else "singular"
        phrase = Phrase(noun, many, self.pick(self.pools.determiners[context, noun.shared, number]))
        draw = random()
        if draw < adjectives:
            double = self.pools.double[noun.index]
            if double and draw < adjectives * 0.16:
                phrase.adjectives = self.pick(double)
            else:
                phrase.adjectives = self.pick(self.pools.single[noun.index])
        if owner and random() < owner and "thing" in noun.tags and not noun.unique:
            phrase.determiner = self.pools.determiners["the", False, number][0]
            phrase.owner = self.phrase(
                self.pick(self.pools.owners), "definite", plural=0.2, adjectives=0.2, owner=0
            )
        return phrase

    def pronoun(self) -> Pronoun:
        """I, you, he, she, we or they."""
        return Pronoun(self.pick(self.pools.personal))

    def standing_for(self, phrase: Phrase) -> Pronoun | None:
        """The pronoun for a noun phrase, or None where English does not decide it."""
        word = "they" if phrase.plural else phrase.noun.pronoun
        if word == "-":
            return None
        return Pronoun(self.pools.lexicon.pronouns[word, phrase.noun.feminine], phrase)

    def subject(self, verb: Verb) -> Subject:
        """A subject that `verb` allows."""
        nouns = self.pools.subjects[verb]
        draw = self.random()
        if draw < 0.18 and not verb.subjects.isdisjoint(("person", "animate")):
            return self.pronoun()
        if draw < 0.22:
            return self.pair(nouns)
        return self.phrase(self.pick(nouns), "subject")

    def pair(self, nouns: Sequence[Noun]) -> Subject:
        """Two noun phrases joined by "and", or one if the same noun is drawn twice."""
        first = self.phrase(self.pick(nouns), "definite", plural=0.2, adjectives=0.2)
        second = self.phrase(self.pick(nouns), "definite", plural=0.2, adjectives=0.2, owner=0)
        return first if first.noun is second.noun else Pair(first, second)

    def tense(self, verb: Verb, subject: Subject | None) -> str:
        """A tense or modal that the verb and its subject allow."""
        flags = verb.flags
        if "present" in flags:
            return "present"
        if "stative" in flags:
            tense = self.pick(STATIVE_TENSES)
        elif self.chance(0.12) and intends(subject):
            return self.pick(INTENTIONS)
        else:
            tense = self.pick(TENSES)
        if tense == "past" and verb.past == verb.base and not third_singular(subject):
            return "perfect"  # "they read" would be present and past
        return tense

    def event(
        self,
        verb: Verb,
        subject: Subject | None,
        *,
        negation: float = 0.15,
        tail: float = 0.25,
        asking: bool = False,
        without_object: bool = False,
    ) -> Clause:
        """A clause in which something is done."""
        random = self.random
        clause = Clause(subject, verb, self.tense(verb, subject))
        draw = random()
        if quantified(subject):
            draw = 0.5  # "all the girls are not..." has two readings
        if draw < negation:
            clause.negation = "not"
        elif draw > 0.97 and clause.tense in ("present", "perfect") and not asking and negation:
            clause.negation = "never"
        elif draw > 0.85 and clause.tense == "present" and "stative" not in verb.flags:
            clause.frequency = self.pick(self.pools.adverbs["frequency"])
        if not without_object and verb.objects:
            self.add_object(clause, verb)
        if random() < tail:
            self.add_tail(clause, verb)
        return clause

    def add_object(self, clause: Clause, verb: Verb) -> None:
        """Give a clause the object its verb asks for, and a recipient."""
        if "optional" in verb.flags and self.chance(0.3):
            return
        personal = not verb.objects.isdisjoint(("person", "animate"))
        if personal and self.chance(0.18):
            clause.object = self.other_pronoun(clause.subject)
            return
        context = "object"
        if "definite" in verb.flags:
            context = "definite"
        elif clause.negation and verb.frame in ("direct", "recipient"):
            context = "negated"
        elif verb.frame == "preposition":
            context = "at" if "at" in verb.objects and verb.french_preposition == "à" else "place"
        plural = 1.0 if "plural" in verb.flags else {"place": 0.08, "at": 0.0}.get(context, 0.3)
        phrase = self.phrase(self.pick(self.pools.objects[verb]), context, plural=plural)
        self.bind(phrase, clause.subject)
        clause.object = phrase
        if verb.frame == "recipient":
            people = self.pools.subjects[verb]
            clause.recipient = (
                self.other_pronoun(clause.subject)
                if self.chance(0.25)
                else self.phrase(self.pick(people), "definite", plural=0.2, adjectives=0.2)
            )

    def bind(self, phrase: Phrase, subject: Subject | None) -> None:
        """Let some possessives speak of a subject that is an "it"."""
        if (
            phrase.determiner.kind == "possessive"
            and phrase.owner is None
            and isinstance(subject, Phrase)
            and subject.noun.pronoun == "it"
            and not subject.plural
            and not phrase.noun.mass
            and self.chance(0.5)
        ):
            number = phrase.determiner.number
            phrase.determiner = self.pools.lexicon.determiners["its", number, "its"]

    def other_pronoun(self, subject: Subject | None) -> Pronoun:
        """A pronoun as object, of another person than the subject."""
        pronoun = self.pronoun()
        if isinstance(subject, Pronoun):
            while clash(pronoun, subject):
                pronoun = self.pronoun()
        return pronoun

    def add_tail(self, clause: Clause, verb: Verb) -> None:
        """A place, a time or a manner at the end."""
        adverbs = self.pools.adverbs
        part = clause.object
        indoors = isinstance(part, Phrase) and not part.noun.tags.isdisjoint(("place", "room"))
        placed = verb.frame in ("none", "direct") and "stative" not in verb.flags and not indoors
        if placed and self.chance(0.55):
            clause.place = self.place(self.pools.sites)
        elif "manner" in verb.flags and self.chance(0.4):
            clause.adverb = self.pick(adverbs["manner"])
        elif "manner" in verb.flags and many(clause.subject) and self.chance(0.5):
            clause.adverb = self.pick(adverbs["plural"])
        elif clause.tense in adverbs and "stative" not in verb.flags and not clause.frequency:
            clause.adverb = self.pick(adverbs[clause.tense])

    def place(self, places: Sequence[tuple[Preposition, Sequence[Noun]]]) -> Place:
        """A preposition with a noun phrase."""
        preposition, nouns = self.pick(places)
        context = "at" if preposition.place == "at" else "place"
        plural = 0.0 if context == "at" else 0.08
        phrase = self.phrase(self.pick(nouns), context, plural=plural, adjectives=0.25, owner=0.03)
        return Place(preposition, phrase)

    def be(self, subject: Subject, *, negation: float = 0.15) -> Clause:
        """A clause that says how or where its subject is."""
        draw = self.random()
        tense = "present" if draw < 0.7 else "past" if draw < 0.9 else "future"
        clause = Clause(subject, None, tense)
        if self.chance(negation) and not quantified(subject):
            clause.negation = "not"
        return clause


def intends(subject: Subject | None) -> bool:
    """Whether a subject can want, be able or be obliged to do something."""
    return not isinstance(subject, Phrase) or "animate" in subject.noun.tags


def third_singular(subject: Subject | None) -> bool:
    """Whether an English verb takes its -s after this subject."""
    if isinstance(subject, Phrase):
        return not subject.plural
    return subject is None or (isinstance(subject, Pronoun) and subject.forms.person == 2)


def many(subject: Subject | None) -> bool:
    """Whether a subject is plural."""
    if isinstance(subject, Pronoun):
        return subject.forms.plural
    return isinstance(subject, Pair) or (isinstance(subject, Phrase) and subject.plural)


def quantified(subject: Subject | None) -> bool:
    """Whether a subject speaks of every, all, many or several."""
    if isinstance(subject, Pair):
        return quantified(subject.first) or quantified(subject.second)
    return isinstance(subject, Phrase) and subject.determiner.kind == "quantity"


def clash(first: Pronoun, second: Pronoun) -> bool:
    """Whether two pronouns cannot be subject and object of one verb: I and me, I and us."""
    people = {first.forms.english, second.forms.english}
    return (first.forms is second.forms and people & {"I", "you", "we"} != set()) or people == {
        "I",
        "we",
    }
