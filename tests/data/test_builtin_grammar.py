"""Both languages of one abstract sentence: agreement, elision, contraction, order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from peluche.data.builtin import english, french
from peluche.data.builtin.lexicon import load
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
)
from peluche.data.builtin.words import Adjective, Adverb, Verb

LEXICON = load()


def a(adjective: str) -> Adjective:
    return next(word for word in LEXICON.adjectives if word.english == adjective)


def v(base: str, frame: str, preposition: str = "") -> Verb:
    return next(
        word
        for word in LEXICON.verbs
        if (word.base, word.frame, word.preposition) == (base, frame, preposition)
    )


def d(word: str) -> Adverb:
    return next(adverb for adverb in LEXICON.adverbs if adverb.english == word)


def np(text: str) -> Phrase:
    """A noun phrase from "determiner/adjectives/noun"; "2" after the noun is the plural."""
    determiner, adjectives, name = text.split("/")
    plural = name.endswith("2")
    noun = next(noun for noun in LEXICON.nouns if noun.name == name.rstrip("2"))
    number = "plural" if plural else "mass" if noun.mass else "singular"
    kind = next(
        key[2]
        for key in LEXICON.determiners
        if key[:2] == (determiner.lstrip("-"), number)
        and (key[2] == "negated") == determiner.startswith("-")
    )
    return Phrase(
        noun,
        plural,
        LEXICON.determiners[determiner.lstrip("-"), number, kind],
        tuple(a(word) for word in adjectives.split()),
    )


def pro(word: str, antecedent: Phrase | None = None) -> Pronoun:
    feminine = antecedent.noun.feminine if antecedent else word == "she"
    return Pronoun(LEXICON.pronouns[word, feminine], antecedent)


def at(preposition: str, phrase: str) -> Place:
    place = next(word for word in LEXICON.prepositions if word.english == preposition)
    return Place(place, np(phrase))


READ, EAT, SEE = v("read", "direct"), v("eat", "direct"), v("see", "direct")
SLEEP, GO = v("sleep", "none"), v("go", "preposition", "to")
WAKE, GIVE = v("wake up", "none"), v("give", "recipient")
THE_DOLL = np("the//doll")
THE_DOLLS = np("the//doll2")


def cases() -> Iterator[tuple[Sentence, str, str]]:
    def said(clause: Clause, source: str, target: str) -> tuple[Sentence, str, str]:
        return Statement(clause), source, target

    yield said(
        Clause(np("a/cute/teddy bear"), READ, "progressive"),
        "A cute teddy bear is reading.",
        "Un ours en peluche mignon lit.",
    )
    yield said(
        Clause(np("some/small/teddy bear2"), READ),
        "Some small teddy bears read.",
        "De petits ours en peluche lisent.",
    )
    # Elision before a vowel and a mute h, none before an aspirated h.
    yield said(Clause(np("the//heroine"), SLEEP), "The heroine sleeps.", "L'héroïne dort.")
    yield said(Clause(np("the//hero"), SLEEP), "The hero sleeps.", "Le héros dort.")
    yield said(
        Clause(pro("I"), v("live", "preposition", "in"), object=np("the/old/hotel")),
        "I live in the old hotel.",
        "J'habite dans le vieil hôtel.",
    )
    yield said(
        Clause(np("this//elephant"), SEE, object=np("this/beautiful/bird")),
        "This elephant sees this beautiful bird.",
        "Cet éléphant voit ce bel oiseau.",
    )
    yield said(
        Clause(np("my//spider"), SEE, object=np("my/small/spider")),
        "My spider sees my small spider.",
        "Mon araignée voit ma petite araignée.",
    )
    # Order: opinion, size and age before the noun, states and colours after it.
    yield said(
        Clause(np("the/beautiful small/doll"), SEE, object=np("a/old red/ball")),
        "The beautiful small doll sees an old red ball.",
        "La belle petite poupée voit une vieille balle rouge.",
    )
    yield said(
        Clause(np("a/happy tired/girl"), SLEEP),
        "A happy and tired girl sleeps.",
        "Une fille heureuse et fatiguée dort.",
    )
    yield said(
        Clause(np("many/old/owl2"), SLEEP),
        "Many old owls sleep.",
        "Beaucoup de vieux hiboux dorment.",
    )
    # Contraction.
    yield said(
        Clause(np("the//girl"), GO, "progressive", object=np("the//market")),
        "The girl is going to the market.",
        "La fille va au marché.",
    )
    yield said(
        Clause(np("the//girl"), GO, "past", object=np("the//school")),
        "The girl went to the school.",
        "La fille est allée à l'école.",
    )
    yield said(
        Clause(pro("they"), v("come", "preposition", "from"), object=np("the//garden2")),
        "They come from the gardens.",
        "Ils viennent des jardins.",
    )
    yield said(
        Clause(pro("she"), v("play", "preposition"), "progressive", object=np("the//piano")),
        "She is playing the piano.",
        "Elle joue du piano.",
    )
    yield said(
        Clause(np("the//ball"), None, place=at("next to", "the//bed")),
        "The ball is next to the bed.",
        "La balle est à côté du lit.",
    )
    # Negation.
    yield said(
        Clause(pro("he"), READ, "progressive", "not", object=np("-a//book")),
        "He is not reading a book.",
        "Il ne lit pas de livre.",
    )
    yield said(
        Clause(np("the//bear"), EAT, "past", "not", object=np("-any//honey")),
        "The bear did not eat any honey.",
        "L'ours n'a pas mangé de miel.",
    )
    yield said(
        Clause(pro("I"), EAT, "perfect", "never", object=np("the//cake")),
        "I have never eaten the cake.",
        "Je n'ai jamais mangé le gâteau.",
    )
    yield said(
        Clause(pro("we"), SEE, "can", "not", object=pro("she")),
        "We cannot see her.",
        "Nous ne pouvons pas la voir.",
    )
    # Past participles.
    yield said(
        Clause(np("the//girl2"), WAKE, "past"),
        "The girls woke up.",
        "Les filles se sont réveillées.",
    )
    yield said(
        Clause(np("the//cat"), SEE, "past", object=pro("she")),
        "The cat saw her.",
        "Le chat l'a vue.",
    )
    yield said(Clause(pro("I"), WAKE, "future"), "I am going to wake up.", "Je vais me réveiller.")
    # Mass nouns and recipients.
    yield said(
        Clause(np("a//mouse"), v("drink", "direct"), "progressive", object=np("some//water")),
        "A mouse is drinking some water.",
        "Une souris boit de l'eau.",
    )
    yield said(
        Clause(pro("he"), GIVE, object=np("a//ball"), recipient=pro("she")),
        "He gives a ball to her.",
        "Il lui donne une balle.",
    )
    yield said(
        Clause(pro("he"), GIVE, object=np("a//ball"), recipient=np("the//child2")),
        "He gives a ball to the children.",
        "Il donne une balle aux enfants.",
    )
    yield said(
        Clause(pro("she"), v("think", "preposition", "about"), object=pro("he")),
        "She thinks about him.",
        "Elle pense à lui.",
    )
    # Being.
    yield said(
        Clause(THE_DOLLS, None, "past", adjective=a("cute"), degree=d("very")),
        "The dolls were very cute.",
        "Les poupées étaient très mignonnes.",
    )
    yield said(
        Clause(Pair(np("the//doll"), np("the//robot")), None, adjective=a("big")),
        "The doll and the robot are big.",
        "La poupée et le robot sont grands.",
    )
    yield said(
        Clause(THE_DOLL, None, adjective=a("old"), standard=np("a//bear")),
        "The doll is as old as a bear.",
        "La poupée est aussi vieille qu'un ours.",
    )
    # Possession.
    doll = replace(np("the/red/doll"), owner=np("the/small/girl"))
    yield (
        Presentation("positive", doll),
        "This is the small girl's red doll.",
        "C'est la poupée rouge de la petite fille.",
    )
    yield (
        Presentation("question", replace(np("the//doll2"), owner=np("the//girl2"))),
        "Are these the girls' dolls?",
        "Est-ce que ce sont les poupées des filles ?",
    )
    yield (
        Presentation("negative", replace(np("the//ball"), owner=np("the//child2"))),
        "This is not the children's ball.",
        "Ce n'est pas la balle des enfants.",
    )
    # Existence.
    yield (
        Existential("negative", np("-any//bread"), at("in", "the//kitchen")),
        "There is not any bread in the kitchen.",
        "Il n'y a pas de pain dans la cuisine.",
    )
    yield (
        Existential("question", None, at("near", "the//hospital")),
        "What is near the hospital?",
        "Qu'est-ce qu'il y a près de l'hôpital ?",
    )
    # Relative clauses.
    loved = replace(THE_DOLLS, relative=Clause(np("a//girl"), v("lose", "direct"), "past"))
    yield said(
        Clause(loved, None, adjective=a("pretty")),
        "The dolls that a girl lost are pretty.",
        "Les poupées qu'une fille a perdues sont jolies.",
    )
    yield said(
        Clause(pro("I"), SEE, object=replace(np("the//girl"), relative=Clause(None, READ))),
        "I see the girl who reads.",
        "Je vois la fille qui lit.",
    )
    # Two clauses.
    bears = np("the//bear2")
    tired = Clause(pro("they", bears), None, adjective=a("tired"))
    yield (
        Statement(Clause(bears, SLEEP, "progressive"), "because", tired),
        "The bears are sleeping because they are tired.",
        "Les ours dorment parce qu'ils sont fatigués.",
    )
    yield (
        Statement(Clause(pro("he"), None, adjective=a("sad")), "if", Clause(pro("he"), SLEEP)),
        "If he is sad, he sleeps.",
        "S'il est triste, il dort.",
    )
    throw = Clause(None, v("throw", "direct"), "past", object=pro("it", THE_DOLL))
    yield (
        Statement(Clause(np("a//boy"), v("take", "direct"), "past", object=THE_DOLL), "and", throw),
        "A boy took the doll and threw it.",
        "Un garçon a pris la poupée et l'a lancée.",
    )
    yield said(
        Clause(
            pro("she"), v("think", "content"), content=Clause(np("a//cat"), SLEEP, "progressive")
        ),
        "She thinks that a cat is sleeping.",
        "Elle pense qu'un chat dort.",
    )
    # Questions.
    yield (
        Question("polar", Clause(np("a//bear"), READ, object=np("the//book"))),
        "Does a bear read the book?",
        "Est-ce qu'un ours lit le livre ?",
    )
    yield (
        Question("who", Clause(None, SEE, "past", object=pro("I"))),
        "Who saw me?",
        "Qui m'a vu ?",
    )
    yield (
        Question("what", Clause(pro("you"), READ, "progressive")),
        "What are you reading?",
        "Qu'est-ce que tu lis ?",
    )
    yield (
        Question("whom", Clause(np("a//cat"), SEE)),
        "Who does a cat see?",
        "Qui est-ce qu'un chat voit ?",
    )
    yield (
        Question("where", Clause(THE_DOLLS, None)),
        "Where are the dolls?",
        "Où sont les poupées ?",
    )
    yield (
        Question("why", Clause(np("the//child2"), v("cry", "none"), "progressive")),
        "Why are the children crying?",
        "Pourquoi est-ce que les enfants pleurent ?",
    )
    yield (
        Question("phrase", Clause(np("the//girl"), EAT, "past"), np("how many//apple2")),
        "How many apples did the girl eat?",
        "Combien de pommes est-ce que la fille a mangées ?",
    )


@pytest.mark.parametrize(("tree", "source", "target"), list(cases()))
def test_both_languages(tree: Sentence, source: str, target: str) -> None:
    assert english.sentence(tree) == source
    assert french.sentence(tree) == target


@pytest.mark.parametrize(
    ("following", "article"),
    [
        ("apple", "an "),
        ("old doll", "an "),
        ("unicorn", "a "),
        ("useful key", "a "),
        ("uncle", "an "),
    ],
)
def test_a_or_an(following: str, article: str) -> None:
    assert english.article(following) == article
