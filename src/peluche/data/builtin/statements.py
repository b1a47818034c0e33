"""Drawing statements, one function for each construction (None: try again)."""

from __future__ import annotations

from peluche.data.builtin.clauses import (
    another,
    any_subject,
    contradicted,
    described,
    following,
    located,
    place_for,
    some_verb,
    with_relative,
)
from peluche.data.builtin.sampler import Sampler
from peluche.data.builtin.trees import (
    Clause,
    Existential,
    Pair,
    Phrase,
    Presentation,
    Statement,
    Subject,
)

SHARED_TENSES = ("present", "progressive", "past")
MOODS = ("positive", "positive", "negative", "question")


def action(sampler: Sampler) -> Statement:
    """Someone does something."""
    verb = some_verb(sampler)
    return Statement(sampler.event(verb, sampler.subject(verb)))


def description(sampler: Sampler) -> Statement:
    """Someone or something is so."""
    if sampler.chance(0.06):
        adjective = sampler.pick(sampler.pools.lexicon.adjectives)
        pair = sampler.pair(sampler.pools.adjective_nouns[adjective])
        clause = sampler.be(pair)
        clause.adjective = adjective
        return Statement(clause)
    return Statement(described(sampler, any_subject(sampler)))


def comparison(sampler: Sampler) -> Statement | None:
    """as ... as"""
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


def location(sampler: Sampler) -> Statement:
    """Someone or something is somewhere."""
    return Statement(located(sampler))


def existential(sampler: Sampler) -> Existential:
    """There is..."""
    mood = sampler.pick(MOODS)
    context = "absent" if mood == "negative" else "existing"
    noun = sampler.pick(sampler.pools.things)
    phrase = sampler.phrase(noun, context, plural=0.5, owner=0)
    return Existential(mood, phrase, place_for(sampler, phrase))


def presentation(sampler: Sampler) -> Presentation:
    """This is..."""
    noun = sampler.pick(sampler.pools.countable)
    return Presentation(sampler.pick(MOODS), sampler.phrase(noun, "shown", owner=0.3))


def subject_relative(sampler: Sampler) -> Statement | None:
    """A relative clause on the subject."""
    if sampler.chance(0.5):
        verb = some_verb(sampler)
        subject = with_relative(sampler, sampler.pick(sampler.pools.subjects[verb]), final=False)
        return None if subject is None else Statement(sampler.event(verb, subject, tail=0.1))
    subject = with_relative(sampler, sampler.pick(sampler.pools.countable), final=False)
    if subject is None:
        return None
    clause = described(sampler, subject)
    if clause.adjective is None or contradicted(clause.adjective, subject):
        return None
    return Statement(clause)


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


def linked(sampler: Sampler) -> Statement | None:
    """because, when, if, but: two clauses, the second often about the first one's subject."""
    link = sampler.pick(("because", "because", "when", "if", "but", "and"))
    verb = sampler.pick(sampler.pools.verbs["none"])
    subject = sampler.subject(verb)
    if link in ("but", "and"):
        first = sampler.event(verb, subject, tail=0)
        second = another(sampler, subject)
        follow_tense(second, first.tense)
        return Statement(first, link, second)
    if isinstance(subject, Pair):
        return None
    pronoun = sampler.standing_for(subject) if isinstance(subject, Phrase) else subject
    if pronoun is None:
        return None
    event = sampler.event(verb, subject, negation=0.1, tail=0)
    if link == "because":
        return Statement(event, link, following(sampler, pronoun, subject))
    first = described(sampler, subject)
    second = sampler.event(verb, pronoun, tail=0)
    first.tense = second.tense = "present"
    return Statement(first, link, second)


def sequence(sampler: Sampler) -> Statement | None:
    """Two predicates of one subject: takes the ball and throws it; dances and sings."""
    pools = sampler.pools
    first = sampler.pick(pools.verbs["none" if sampler.chance(0.5) else "direct"])
    subject = sampler.phrase(sampler.pick(pools.subjects[first]), "subject")
    clause = sampler.event(first, subject, negation=0, tail=0)
    clause.frequency = None
    clause.tense = sampler.pick(SHARED_TENSES)
    thing = clause.object
    pronoun = sampler.standing_for(thing) if isinstance(thing, Phrase) else None
    if pronoun is not None and isinstance(thing, Phrase):
        choices = pools.objected[thing.noun]
    else:
        choices = pools.acted[subject.noun]
    if not choices:
        return None
    second = sampler.pick(choices)
    if second is first or subject.noun not in pools.subjects[second]:
        return None
    if any("stative" in verb.flags or verb.past == verb.base for verb in (first, second)):
        return None
    return Statement(clause, "and", Clause(None, second, clause.tense, object=pronoun))


def follow_tense(clause: Clause, tense: str) -> None:
    """Let a clause take over another one's tense where its verb and adverbs allow it."""
    verb = clause.verb
    if verb is None:
        if tense == "past":
            clause.tense = tense
        return
    free = "stative" not in verb.flags and verb.past != verb.base
    if free and tense in SHARED_TENSES and not clause.frequency and clause.negation != "never":
        clause.tense = tense


def embedding(sampler: Sampler) -> Statement:
    """thinks that, knows that..."""
    verb = sampler.pick(sampler.pools.verbs["content"])
    clause = Clause(sampler.subject(verb), verb)
    assert clause.subject is not None
    if sampler.chance(0.4):
        clause.content = described(sampler, content_subject(sampler, clause.subject))
    else:
        clause.content = another(sampler, clause.subject)
    return Statement(clause)


def content_subject(sampler: Sampler, thinker: Subject) -> Subject:
    """A noun phrase, or a pronoun for the one who thinks."""
    pronoun = sampler.standing_for(thinker) if isinstance(thinker, Phrase) else sampler.speaker()
    if pronoun is not None and sampler.chance(0.2):
        return pronoun
    noun = sampler.pick(sampler.pools.nouns)
    return sampler.phrase(noun, "subject", adjectives=0.12)
