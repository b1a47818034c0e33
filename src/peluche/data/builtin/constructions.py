"""The kinds of sentence, each drawn by one function."""

from __future__ import annotations

from collections.abc import Callable

from peluche.data.builtin.lexicon import Adjective, Noun, Verb
from peluche.data.builtin.sampler import Sampler
from peluche.data.builtin.trees import (
    Clause,
    Existential,
    Phrase,
    Place,
    Presentation,
    Pronoun,
    Question,
    Sentence,
    Statement,
    Subject,
)

SHARED_TENSES = ("present", "progressive", "past")
MOODS = ("positive", "positive", "negative", "question")
FRAMES = ("none",) * 6 + ("direct",) * 9 + ("preposition",) * 3 + ("recipient",)


def draw(sampler: Sampler) -> tuple[str, Sentence]:
    """A construction's name and a sentence of it."""
    while True:
        name = sampler.pick(NAMES)
        sentence = CONSTRUCTIONS[name][1](sampler)
        if sentence is not None:
            return name, sentence


def some_verb(sampler: Sampler) -> Verb:
    return sampler.pick(sampler.pools.verbs[sampler.pick(FRAMES)])


def quality(sampler: Sampler, noun: Noun) -> Adjective:
    return sampler.pick(sampler.pools.single[noun.index])[0]


def action(sampler: Sampler) -> Statement:
    verb = some_verb(sampler)
    return Statement(sampler.event(verb, sampler.subject(verb)))


def described(sampler: Sampler, subject: Subject, *, asking: bool = False) -> Clause:
    """Subject is adjective."""
    clause = sampler.be(subject, negation=0 if asking else 0.15)
    adjective = quality(sampler, head(sampler, subject))
    clause.adjective = adjective
    if adjective.gradable and sampler.chance(0.25):
        clause.degree = sampler.pick(sampler.pools.adverbs["degree"])
    elif clause.tense == "present" and sampler.chance(0.08) and not clause.negation:
        clause.frequency = sampler.pick(sampler.pools.adverbs["frequency"])
    return clause


def head(sampler: Sampler, subject: Subject) -> Noun:
    """A noun that licenses what is said of a subject."""
    if isinstance(subject, Phrase):
        return subject.noun
    if isinstance(subject, Pronoun):
        return head(sampler, subject.antecedent) if subject.antecedent else sampler.pools.person
    return subject.first.noun


def any_subject(sampler: Sampler) -> Subject:
    draw = sampler.random()
    if draw < 0.12:
        return sampler.pronoun()
    return sampler.phrase(sampler.pick(sampler.pools.lexicon.nouns), "subject", adjectives=0.12)


def description(sampler: Sampler) -> Statement:
    if sampler.chance(0.06):
        adjective = sampler.pick(sampler.pools.lexicon.adjectives)
        pair = sampler.pair(sampler.pools.adjective_nouns[adjective])
        clause = sampler.be(pair)
        clause.adjective = adjective
        return Statement(clause)
    return Statement(described(sampler, any_subject(sampler)))


def comparison(sampler: Sampler) -> Statement | None:
    adjective = sampler.pick(sampler.pools.lexicon.adjectives)
    nouns = sampler.pools.adjective_nouns[adjective]
    first, second = sampler.pick(nouns), sampler.pick(nouns)
    alike = first.tags & second.tags & {"animate", "thing", "mass", "place", "room"}
    if not adjective.gradable or first is second or not alike:
        return None
    clause = sampler.be(sampler.phrase(first, "definite", adjectives=0.15))
    clause.adjective = adjective
    clause.standard = sampler.phrase(second, "definite", adjectives=0.15)
    return Statement(clause)


def bare(sampler: Sampler, noun: Noun, plural: bool) -> Phrase:
    """A subject that only lends its noun and number (what a relative clause describes)."""
    return Phrase(noun, plural, sampler.pools.determiners["the"]["singular"][0])


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


def place_for(sampler: Sampler, subject: Subject) -> Place:
    pools = sampler.pools
    small = isinstance(subject, Phrase) and bool(subject.noun.tags & {"hold", "mass"})
    place = sampler.place(pools.spots if small else pools.sites)
    while isinstance(subject, Phrase) and place.phrase.noun is subject.noun:
        place = sampler.place(pools.spots if small else pools.sites)
    return place


def location(sampler: Sampler) -> Statement:
    return Statement(located(sampler))


def existential(sampler: Sampler) -> Existential | None:
    mood = sampler.pick(MOODS)
    context = "absent" if mood == "negative" else "existing"
    noun = sampler.pick(sampler.pools.things)
    phrase = sampler.phrase(noun, context, plural=0.5, owner=0)
    return Existential(mood, phrase, place_for(sampler, phrase))


def presentation(sampler: Sampler) -> Presentation:
    noun = sampler.pick(sampler.pools.countable)
    return Presentation(sampler.pick(MOODS), sampler.phrase(noun, "shown", owner=0.3))


def relative(sampler: Sampler, noun: Noun, plural: bool, *, final: bool) -> Clause | None:
    """A clause about `noun` as its subject or object; only a final one has an object of its own."""
    pools = sampler.pools
    choice = sampler.random()
    if choice < 0.25:
        clause = Clause(None, None, adjective=quality(sampler, noun))
        if clause.adjective and clause.adjective.gradable and sampler.chance(0.25):
            clause.degree = pools.adverbs["degree"][0]
    elif choice < 0.4:
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
    phrase = sampler.phrase(noun, "described", adjectives=0.15, owner=0)
    phrase.relative = relative(sampler, noun, phrase.plural, final=final)
    return phrase if phrase.relative is not None else None


def object_relative(sampler: Sampler) -> Statement | None:
    """A relative clause on the object, at the end of the sentence."""
    verb = sampler.pick(sampler.pools.verbs["direct"])
    if "plural" in verb.flags:
        return None
    clause = sampler.event(verb, sampler.subject(verb), negation=0, tail=0, without_object=True)
    noun = sampler.pick(sampler.pools.objects[verb])
    if noun.mass:
        return None
    clause.object = with_relative(sampler, noun, final=True)
    return None if clause.object is None else Statement(clause)


def subject_relative(sampler: Sampler) -> Statement | None:
    """A relative clause on the subject."""
    if sampler.chance(0.5):
        verb = some_verb(sampler)
        subject = with_relative(sampler, sampler.pick(sampler.pools.subjects[verb]), final=False)
        return None if subject is None else Statement(sampler.event(verb, subject, tail=0.1))
    noun = sampler.pick(sampler.pools.countable)
    subject = with_relative(sampler, noun, final=False)
    return None if subject is None else Statement(described(sampler, subject))


def reason(sampler: Sampler) -> Statement | None:
    """because, when, if, but: two clauses, the second often about the first one's subject."""
    link = sampler.pick(("because", "because", "when", "if", "but", "and"))
    verb = sampler.pick(sampler.pools.verbs["none"])
    subject = sampler.subject(verb)
    if link in ("but", "and"):
        first = sampler.event(verb, subject, tail=0)
        other = some_verb(sampler)
        return Statement(first, link, sampler.event(other, sampler.subject(other), tail=0))
    if not isinstance(subject, Phrase):
        return None
    pronoun = sampler.standing_for(subject)
    if pronoun is None:
        return None
    event = sampler.event(verb, subject, negation=0.1, tail=0)
    if link == "because":
        return Statement(event, link, following(sampler, pronoun, subject))
    first = described(sampler, subject)
    second = sampler.event(verb, pronoun, tail=0)
    first.tense = second.tense = "present"
    return Statement(first, link, second)


def following(sampler: Sampler, pronoun: Pronoun, subject: Phrase) -> Clause:
    """A second clause about the subject of the first."""
    verbs = sampler.pools.taking[subject.noun]
    if not verbs or sampler.chance(0.5):
        return described(sampler, pronoun)
    return sampler.event(sampler.pick(verbs), pronoun, tail=0)


def embedding(sampler: Sampler) -> Statement:
    """thinks that, knows that..."""
    verb = sampler.pick(sampler.pools.verbs["content"])
    clause = Clause(sampler.subject(verb), verb)
    if sampler.chance(0.4):
        clause.content = described(sampler, any_subject(sampler))
    else:
        inner = some_verb(sampler)
        clause.content = sampler.event(inner, sampler.subject(inner), tail=0.1)
    return Statement(clause)


def sequence(sampler: Sampler) -> Statement | None:
    """Two predicates of one subject: takes the ball and throws it; dances and sings."""
    pools = sampler.pools
    first = sampler.pick(pools.verbs["none" if sampler.chance(0.5) else "direct"])
    subject = sampler.subject(first)
    if isinstance(subject, Pronoun) or "stative" in first.flags:
        return None
    doer = head(sampler, subject)
    clause = sampler.event(first, subject, negation=0, tail=0)
    clause.frequency = None
    clause.tense = sampler.pick(SHARED_TENSES)
    thing = clause.object
    again = isinstance(thing, Phrase) and sampler.standing_for(thing)
    choices = [
        verb
        for verb in (pools.objected[thing.noun] if again else pools.acted[doer])  # type: ignore[union-attr]
        if doer in pools.subjects[verb] and "stative" not in verb.flags and verb is not first
    ]
    if not choices:
        return None
    second = sampler.pick(choices)
    if "plural" in second.flags or second.past == second.base or first.past == first.base:
        return None
    other = Clause(None, second, clause.tense, object=again or None)
    return Statement(clause, "and", other)


def polar(sampler: Sampler) -> Question:
    """Yes or no."""
    if sampler.chance(0.3):
        return Question("polar", described(sampler, any_subject(sampler), asking=True))
    if sampler.chance(0.15):
        clause = located(sampler)
        clause.negation = ""
        return Question("polar", clause)
    verb = some_verb(sampler)
    clause = sampler.event(verb, sampler.subject(verb), negation=0, tail=0.15, asking=True)
    return Question("polar", clause)


def who(sampler: Sampler) -> Question:
    draw = sampler.random()
    if draw < 0.15:
        clause = Clause(None, None, adjective=quality(sampler, sampler.pools.person))
    elif draw < 0.3:
        clause = Clause(None, None, place=sampler.place(sampler.pools.sites))
    else:
        verb = some_verb(sampler)
        while verb.subjects.isdisjoint(("person", "animate")):
            verb = some_verb(sampler)
        clause = sampler.event(verb, None, negation=0, tail=0.2, asking=True)
    return Question("who", clause)


def what(sampler: Sampler) -> Question | None:
    """What or whom someone acts on."""
    verb = sampler.pick(sampler.pools.verbs["direct"])
    if "plural" in verb.flags:
        return None
    animate = verb.objects <= {"animate", "person", "animal", "character"}
    mixed = not verb.objects.isdisjoint(("animate", "person"))
    asked = "whom" if animate or (mixed and sampler.chance(0.4)) else "what"
    if asked == "what" and sampler.chance(0.1):
        return None
    subject = sampler.subject(verb)
    clause = sampler.event(verb, subject, negation=0, tail=0.1, asking=True, without_object=True)
    return Question(asked, clause)


def what_is(sampler: Sampler) -> Existential:
    return Existential("question", None, sampler.place(sampler.pools.spots))


def where(sampler: Sampler) -> Question:
    if sampler.chance(0.6):
        noun = sampler.pick(sampler.pools.things)
        clause = Clause(sampler.phrase(noun, "definite"), None)
        if sampler.chance(0.25):
            clause.tense = "past"
        return Question("where", clause)
    verb = sampler.pick(sampler.pools.verbs[sampler.pick(("none", "direct"))])
    clause = sampler.event(verb, sampler.subject(verb), negation=0, tail=0, asking=True)
    return Question("where", clause)


def why(sampler: Sampler) -> Question:
    if sampler.chance(0.4):
        return Question("why", described(sampler, any_subject(sampler), asking=True))
    verb = some_verb(sampler)
    clause = sampler.event(verb, sampler.subject(verb), negation=0, tail=0.1, asking=True)
    return Question("why", clause)


def which(sampler: Sampler) -> Question | None:
    verb = sampler.pick(sampler.pools.verbs["direct"])
    noun = sampler.pick(sampler.pools.objects[verb])
    if noun.mass or noun.unique:
        return None
    context = "which" if "plural" not in verb.flags and sampler.chance(0.5) else "how many"
    plural = 1.0 if context == "how many" else 0.3
    phrase = sampler.phrase(noun, context, plural=plural, adjectives=0.15, owner=0)
    clause = sampler.event(
        verb, sampler.subject(verb), negation=0, tail=0.1, asking=True, without_object=True
    )
    return Question("phrase", clause, phrase)


CONSTRUCTIONS: dict[str, tuple[int, Callable[[Sampler], Sentence | None]]] = {
    "action": (36, action),
    "description": (10, description),
    "comparison": (3, comparison),
    "location": (4, location),
    "existential": (5, existential),
    "presentation": (4, presentation),
    "subject relative": (7, subject_relative),
    "object relative": (5, object_relative),
    "linked clauses": (6, reason),
    "sequence": (4, sequence),
    "embedding": (3, embedding),
    "yes or no": (8, polar),
    "who": (3, who),
    "what": (3, what),
    "what is": (1, what_is),
    "where": (3, where),
    "why": (2, why),
    "which": (3, which),
}
"""Each construction's weight and the function that draws it (None: try again)."""

NAMES = tuple(name for name, (weight, _) in CONSTRUCTIONS.items() for _ in range(weight))
