"""Abstract sentences into French."""

from __future__ import annotations

from peluche.data.builtin.elision import elided, starts_with_vowel
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
ETRE = ("suis", "es", "est", "sommes", "sont")
ETAIT = ("étais", "étais", "était", "étions", "étaient")
AVOIR = ("ai", "as", "a", "avons", "ont")
AUXILIARIES = {
    "future": ("vais", "vas", "va", "allons", "vont"),
    "want": ("veux", "veux", "veut", "voulons", "veulent"),
    "can": ("peux", "peux", "peut", "pouvons", "peuvent"),
    "must": ("dois", "dois", "doit", "devons", "doivent"),
}
REFLEXIVE = (("me ", "m'"), ("te ", "t'"), ("se ", "s'"), ("nous ", "nous "), ("se ", "s'"))
NEGATIONS = {"not": "pas", "never": "jamais"}
LINKS = {"and": "et", "but": "mais", "because": "parce que", "when": "quand", "if": "si"}
PLAIN, DE, A = range(3)

Features = tuple[int, bool, bool]
"""Person (a row of a verb's present), feminine, plural."""
Clitic = tuple[str, str]
"""A clitic pronoun before a consonant and before a vowel; two empty strings for none."""
NO_CLITIC: Clitic = ("", "")
WHO: Features = (THIRD, False, False)


def sentence(tree: Sentence) -> str:
    """The French sentence of an abstract one."""
    return written(tree, statements, questions, existential, presentation)


def features(subject: Subject) -> Features:
    """What a subject asks of its verb, participle and adjective."""
    if isinstance(subject, Phrase):
        return (4 if subject.plural else THIRD), subject.noun.feminine, subject.plural
    if isinstance(subject, Pronoun):
        forms = subject.forms
        return forms.person, forms.feminine, forms.plural
    return 4, subject.first.noun.feminine and subject.second.noun.feminine, True


def noun_phrase(phrase: Phrase, case: int = PLAIN) -> str:
    """A noun phrase with all that belongs to it, after de or à if `case` says so."""
    noun, plural = phrase.noun, phrase.plural
    text, vowel = noun.french[plural], noun.vowel
    agreement = noun.feminine + 2 * plural
    before = False
    after = ""
    for adjective in phrase.adjectives:
        if not adjective.before:
            after += (" et " if after else " ") + adjective.forms[agreement]
    for adjective in reversed(phrase.adjectives):
        if adjective.before:
            form = adjective.before_vowel if vowel and not agreement else adjective.forms[agreement]
            text, vowel, before = f"{form} {text}", adjective.vowel, True
    determiner = phrase.determiner
    if before and plural and determiner.english == "some":
        text = ("d'" if vowel else "de ") + text + after
    else:
        text = determiner.forms[case][2 * noun.feminine + vowel] + text + after
    if phrase.owner is not None:
        text += " " + noun_phrase(phrase.owner, DE)
    if phrase.relative is not None:
        text += " " + relative_clause(phrase, phrase.relative)
    return text


def relative_clause(head: Phrase, clause: Clause) -> str:
    """A clause that describes `head`, which is its subject or else its object."""
    if clause.subject is None:
        return "qui " + predicate(clause, features(head))
    text = statement(clause, head)
    return elided("que", text) + text


def subject_phrase(subject: Subject) -> str:
    """A subject."""
    if isinstance(subject, Phrase):
        return noun_phrase(subject)
    if isinstance(subject, Pair):
        return f"{noun_phrase(subject.first)} et {noun_phrase(subject.second)}"
    return subject.forms.french


def place_phrase(place: Place) -> str:
    """A preposition and its noun phrase."""
    return place.preposition.french + noun_phrase(place.phrase, place.preposition.case)


def after_preposition(preposition: str, part: Phrase | Pronoun) -> str:
    """A preposition and what follows it, contracted."""
    if isinstance(part, Pronoun):
        return elided(preposition, part.forms.strong) + part.forms.strong
    if preposition == "de":
        return noun_phrase(part, DE)
    if preposition == "à":
        return noun_phrase(part, A)
    return f"{preposition} {noun_phrase(part)}"


def clitic(clause: Clause, verb: Verb, who: int) -> Clitic:
    """The pronoun that stands before the verb."""
    if "reflexive" in verb.flags:
        return REFLEXIVE[who]
    if isinstance(clause.recipient, Pronoun):
        return clause.recipient.forms.indirect
    if isinstance(clause.object, Pronoun):
        if verb.frame in ("direct", "recipient"):
            return clause.object.forms.direct
        if "dative" in verb.flags:
            return clause.object.forms.indirect
    return NO_CLITIC


def with_clitic(pronoun: Clitic, form: str) -> str:
    """A verb form with the clitic before it."""
    return pronoun[form[0] == "h" or starts_with_vowel(form)] + form


def participle(clause: Clause, verb: Verb, subject: Features, fronted: Phrase | None) -> str:
    """The past participle, agreeing with the subject (être) or a direct object before it."""
    feminine = plural = False
    if verb.etre:
        _, feminine, plural = subject
    elif isinstance(clause.object, Pronoun):
        if verb.frame in ("direct", "recipient"):
            feminine, plural = clause.object.forms.feminine, clause.object.forms.plural
    elif fronted is not None:
        feminine, plural = fronted.noun.feminine, fronted.plural
    return verb.participles[feminine + 2 * plural]


def verb_parts(
    clause: Clause, verb: Verb, subject: Features, fronted: Phrase | None
) -> tuple[str, str]:
    """The conjugated verb with its clitics, and what follows the negation."""
    who, tense = subject[0], clause.tense
    pronoun = clitic(clause, verb, who)
    if tense in ("present", "progressive"):
        return with_clitic(pronoun, verb.present[who]), ""
    if tense in ("past", "perfect"):
        auxiliary = (ETRE if verb.etre else AVOIR)[who]
        return with_clitic(pronoun, auxiliary), " " + participle(clause, verb, subject, fronted)
    return AUXILIARIES[tense][who], " " + with_clitic(pronoun, verb.infinitive)


def be_parts(clause: Clause, who: int) -> tuple[str, str]:
    """The verb être, as `verb_parts`."""
    if clause.tense == "past":
        return ETAIT[who], ""
    if clause.tense == "future":
        return AUXILIARIES["future"][who], " être"
    return ETRE[who], ""


def predicate(clause: Clause, subject: Features, fronted: Phrase | None = None) -> str:
    """A predicate: verb, negation, objects, place, adverb."""
    verb = clause.verb
    if verb is None:
        finite, rest = be_parts(clause, subject[0])
    else:
        finite, rest = verb_parts(clause, verb, subject, fronted)
    if clause.negation:
        negation = "n'" if starts_with_vowel(finite) or finite[0] == "h" else "ne "
        finite = f"{negation}{finite} {NEGATIONS[clause.negation]}"
    elif clause.frequency is not None:
        finite = f"{finite} {clause.frequency.french}"
    return finite + rest + complement(clause, subject)


def complement(clause: Clause, subject: Features) -> str:
    """All that follows the verb, each part with a space before it."""
    text = ""
    if clause.adjective is not None:
        _, feminine, plural = subject
        adjective = clause.adjective.forms[feminine + 2 * plural]
        if clause.standard is not None:
            standard = noun_phrase(clause.standard)
            text = f" aussi {adjective} {elided('que', standard)}{standard}"
        else:
            degree = clause.degree.french + " " if clause.degree is not None else ""
            text = f" {degree}{adjective}"
    verb = clause.verb
    part = clause.object
    if verb is not None and part is not None:
        if verb.frame == "preposition":
            if isinstance(part, Phrase) or "dative" not in verb.flags:
                text += " " + after_preposition(verb.french_preposition, part)
        elif isinstance(part, Phrase):
            text += " " + noun_phrase(part)
    if isinstance(clause.recipient, Phrase):
        text += " " + noun_phrase(clause.recipient, A)
    if clause.content is not None:
        content = statement(clause.content)
        text += f" {elided('que', content)}{content}"
    if clause.place is not None:
        text += " " + place_phrase(clause.place)
    if clause.adverb is not None:
        text += " " + clause.adverb.french
    return text


def statement(clause: Clause, fronted: Phrase | None = None) -> str:
    """A clause with its subject; `fronted` is a direct object that stands before it."""
    assert clause.subject is not None
    subject = subject_phrase(clause.subject)
    rest = predicate(clause, features(clause.subject), fronted)
    if subject == "je" and (starts_with_vowel(rest) or rest[0] == "h"):
        return "j'" + rest
    return f"{subject} {rest}"


def statements(tree: Statement) -> str:
    """One clause, or two that are joined."""
    first = statement(tree.clause)
    second = tree.second
    if second is None:
        return first + "."
    link = LINKS[tree.link]
    if second.subject is None:
        assert tree.clause.subject is not None
        return f"{first} {link} {predicate(second, features(tree.clause.subject))}."
    other = statement(second)
    if tree.link == "because":
        return f"{first} {elided(link, other)}{other}."
    if tree.link == "if":
        first = "s'" + first if first.startswith(("il ", "ils ")) else "si " + first
        return f"{first}, {other}."
    if tree.link == "when":
        return f"{link} {first}, {other}."
    return f"{first} {link} {other}."


def questions(tree: Question) -> str:
    """A question of any kind; "est-ce que" wherever the subject is not what is asked for."""
    clause, asked = tree.clause, tree.asked
    if asked == "who":
        return f"qui {predicate(clause, WHO)} ?"
    assert clause.subject is not None
    if asked == "where" and clause.verb is None:
        return (
            f"où {predicate(clause, features(clause.subject))} {subject_phrase(clause.subject)} ?"
        )
    text = statement(clause, tree.phrase)
    text = f"{elided('est-ce que', text)}{text} ?"
    if asked == "polar":
        return text
    if tree.phrase is not None:
        return f"{noun_phrase(tree.phrase)} {text}"
    words = {"what": "qu'", "whom": "qui ", "where": "où ", "why": "pourquoi "}
    return words[asked] + text


def existential(tree: Existential) -> str:
    """Il y a..., or qu'est-ce qu'il y a..."""
    place = place_phrase(tree.place)
    if tree.phrase is None:
        return f"qu'est-ce qu'il y a {place} ?"
    rest = f"{noun_phrase(tree.phrase)} {place}"
    if tree.mood == "question":
        return f"est-ce qu'il y a {rest} ?"
    return f"il n'y a pas {rest}." if tree.mood == "negative" else f"il y a {rest}."


def presentation(tree: Presentation) -> str:
    """C'est..., ce sont..."""
    rest = noun_phrase(tree.phrase)
    plural = tree.phrase.plural
    if tree.mood == "negative":
        return f"ce ne sont pas {rest}." if plural else f"ce n'est pas {rest}."
    text = f"ce sont {rest}" if plural else f"c'est {rest}"
    return f"est-ce que {text} ?" if tree.mood == "question" else text + "."
