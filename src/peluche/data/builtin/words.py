"""The records of the lexicon: what is known of each word in both languages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Noun:
    """A noun; `forms[language][plural]` are its words."""

    index: int
    name: str
    english: tuple[str, str]
    french: tuple[str, str]
    feminine: bool
    vowel: bool
    """Whether le, la, de... are elided before it: a vowel or a mute h."""
    pronoun: str
    """The English pronoun (he, she, it), or "-" where English does not decide it."""
    mass: bool
    unique: bool
    shared: bool
    """Whether it is odd to call it mine or yours: a fireman, the station, a star."""
    tags: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Adjective:
    """An adjective; `forms` are French: masculine, feminine, their plurals, before a vowel."""

    index: int
    english: str
    forms: tuple[str, str, str, str]
    """Masculine, feminine, masculine plural, feminine plural."""
    before_vowel: str
    """The masculine singular before a vowel: bel, nouvel, vieil."""
    vowel: bool
    before: bool
    """Whether it stands before its noun in French."""
    gradable: bool
    """Whether very, too, as ... as may stand with it."""
    rank: int
    """English order: a lower rank stands further left (a cute small red ball)."""
    tags: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Verb:
    """A verb with its frame: which objects it takes, and through which prepositions."""

    lemma: int
    """The number of its English base form, which several frames share (play, play with)."""
    base: str
    third: str
    progressive: str
    past: str
    participle: str
    preposition: str
    infinitive: str
    present: tuple[str, str, str, str, str]
    """je, tu, il, nous, ils."""
    participles: tuple[str, str, str, str]
    """Masculine, feminine, masculine plural, feminine plural."""
    etre: bool
    french_preposition: str
    frame: str
    flags: frozenset[str]
    subjects: frozenset[str]
    objects: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Determiner:
    """A determiner for one number.

    `forms[case]` are its French forms as prefixes of the next word (so with their space or
    apostrophe), indexed by `2 * feminine + vowel`; the cases are: plain, after de, after à.
    """

    english: str
    number: str
    kind: str
    forms: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class PronounForms:
    """A personal pronoun with its English and French cases."""

    english: str
    object: str
    person: int
    plural: bool
    feminine: bool
    french: str
    direct: tuple[str, str]
    """The clitic before a consonant and before a vowel, with its space."""
    indirect: tuple[str, str]
    strong: str


@dataclass(frozen=True, slots=True, eq=False)
class Preposition:
    """A preposition of place; `case` says how it meets an article (see `Determiner`)."""

    english: str
    french: str
    case: int
    place: str


@dataclass(frozen=True, slots=True, eq=False)
class Adverb:
    """An adverb; `kind` says where it may stand and with which tense."""

    english: str
    french: str
    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class Lexicon:
    """All tables, in file order."""

    nouns: tuple[Noun, ...]
    adjectives: tuple[Adjective, ...]
    verbs: tuple[Verb, ...]
    determiners: dict[tuple[str, str, str], Determiner]
    """By English word, number and kind."""
    pronouns: dict[tuple[str, bool], PronounForms]
    """By English word and French feminine."""
    prepositions: tuple[Preposition, ...]
    adverbs: tuple[Adverb, ...]

    @property
    def lemmas(self) -> int:
        """The number of different nouns, adjectives and verbs."""
        return len(self.nouns) + len(self.adjectives) + len({verb.lemma for verb in self.verbs})
