"""Drawing questions, one function for each construction (None: try again)."""

from __future__ import annotations

from peluche.data.builtin.clauses import (
    any_subject,
    described,
    located,
    quality,
    some_verb,
)
from peluche.data.builtin.sampler import Sampler
from peluche.data.builtin.trees import (
    Clause,
    Existential,
    Phrase,
    Question,
)


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
    """Who does something, is so, or is somewhere."""
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
    """What is in a place."""
    return Existential("question", None, sampler.place(sampler.pools.spots))


def where(sampler: Sampler) -> Question | None:
    """Where someone is or acts."""
    if sampler.chance(0.6):
        noun = sampler.pick(sampler.pools.things)
        clause = Clause(sampler.phrase(noun, "definite"), None)
        if sampler.chance(0.25):
            clause.tense = "past"
        return Question("where", clause)
    verb = sampler.pick(sampler.pools.verbs[sampler.pick(("none", "direct"))])
    clause = sampler.event(verb, sampler.subject(verb), negation=0, tail=0, asking=True)
    part = clause.object
    if isinstance(part, Phrase) and not part.noun.tags.isdisjoint(("place", "room")):
        return None
    return Question("where", clause)


def why(sampler: Sampler) -> Question:
    """Why someone acts or is so."""
    if sampler.chance(0.4):
        return Question("why", described(sampler, any_subject(sampler), asking=True))
    verb = some_verb(sampler)
    clause = sampler.event(verb, sampler.subject(verb), negation=0, tail=0.1, asking=True)
    return Question("why", clause)


def which(sampler: Sampler) -> Question | None:
    """Which or how many: an object with its noun."""
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
