"""The words of the built-in corpus: tables of explicit forms in English and French.

Every form that a sentence can need is written out in a TSV file of this folder; the only things
worked out here are those that depend on the neighbouring word (elision, contraction).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

from peluche.errors import DataError

VOWELS = frozenset("aàâeéèêëiîïoôœuùûü")
PERSONS = {
    ("first", "singular"): 0,
    ("second", "singular"): 1,
    ("third", "singular"): 2,
    ("first", "plural"): 3,
    ("third", "plural"): 4,
}


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


def starts_with_vowel(text: str) -> bool:
    """Whether `text` begins with a vowel letter."""
    return text[0] in VOWELS


def elided(word: str, following: str) -> str:
    """`word` and its space, or its elided form: ("de", "un") gives "d'", ("de", "ma") "de "."""
    return word[:-1] + "'" if following[0] in VOWELS else word + " "


def contracted(preposition: str, determiner: str) -> str:
    """`preposition` (de or à) joined with a determiner: du, des, au, aux, d'un, à l'..."""
    first, _, rest = determiner.partition(" ")
    merged = {
        ("de", "le"): "du",
        ("de", "les"): "des",
        ("à", "le"): "au",
        ("à", "les"): "aux",
    }.get((preposition, first))
    if merged is not None:
        return f"{merged} {rest}"
    if preposition == "à":
        return "à " + determiner
    return elided("de", determiner) + determiner


def prefix(form: str) -> str:
    """A form as the prefix of the next word: a space after it unless it ends in an apostrophe."""
    return form if form.endswith("'") else form + " "


@cache
def load() -> Lexicon:
    """Read the tables (once in a process)."""
    return Lexicon(
        nouns=tuple(_noun(i, row) for i, row in enumerate(rows("nouns"))),
        adjectives=tuple(_adjective(i, row) for i, row in enumerate(rows("adjectives"))),
        verbs=_verbs(rows("verbs")),
        determiners={
            (row["english"], row["number"], row["kind"]): _determiner(row)
            for row in rows("determiners")
        },
        pronouns={
            (row["english"], row["gender"] == "f"): _pronoun(row) for row in rows("pronouns")
        },
        prepositions=tuple(
            Preposition(
                row["english"],
                prefix(row["french"]) if row["contracts"] == "-" else _without(row),
                ("-", "de", "à").index(row["contracts"]),
                row["place"],
            )
            for row in rows("prepositions")
        ),
        adverbs=tuple(Adverb(**row) for row in rows("adverbs")),
    )


def rows(table: str) -> list[dict[str, str]]:
    """The rows of a table of this folder, by column name.

    Raises:
        DataError: a row with a missing, empty or superfluous column.
    """
    path = resources.files(__package__).joinpath(f"{table}.tsv")
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    columns = header.split("\t")
    read = []
    for number, line in enumerate(lines, start=2):
        fields = line.split("\t")
        if len(fields) != len(columns) or not all(fields):
            raise DataError(
                f"A row of the built-in lexicon needs {len(columns)} filled columns",
                where=f"{table}.tsv:{number}",
                remedy="separate the columns by one tab and write '-' for an empty one",
            )
        read.append(dict(zip(columns, fields, strict=True)))
    return read


def _noun(index: int, row: dict[str, str]) -> Noun:
    tags = frozenset(row["tags"].split())
    french = row["french"]
    return Noun(
        index=index,
        name=row["english"],
        english=(row["english"], row["english_plural"]),
        french=(french, row["french_plural"]),
        feminine=row["gender"] == "f",
        vowel=row["h"] == "-" and (starts_with_vowel(french) or french[0] == "h"),
        pronoun=row["pronoun"],
        mass="mass" in tags,
        unique="unique" in tags,
        shared="public" in tags or "sky" in tags or ("person" in tags and "kin" not in tags),
        tags=tags | {row["english"]},
    )


def _adjective(index: int, row: dict[str, str]) -> Adjective:
    return Adjective(
        index=index,
        english=row["english"],
        forms=(
            row["masculine"],
            row["feminine"],
            row["masculine_plural"],
            row["feminine_plural"],
        ),
        before_vowel=row["masculine_vowel"],
        vowel=starts_with_vowel(row["masculine"]),
        before=row["position"] == "before",
        gradable=row["degree"] == "yes",
        rank=int(row["rank"]),
        tags=frozenset(row["nouns"].split()),
    )


def _verbs(rows: list[dict[str, str]]) -> tuple[Verb, ...]:
    lemmas: dict[str, int] = {}
    return tuple(_verb(lemmas.setdefault(row["english"], len(lemmas)), row) for row in rows)


def _verb(lemma: int, row: dict[str, str]) -> Verb:
    row = {column: "" if field == "-" else field for column, field in row.items()}
    return Verb(
        lemma=lemma,
        base=row["english"],
        third=row["third"],
        progressive=row["progressive"],
        past=row["past"],
        participle=row["participle"],
        preposition=row["english_preposition"],
        infinitive=row["infinitive"],
        present=(row["je"], row["tu"], row["il"], row["nous"], row["ils"]),
        participles=(row["passé"], row["passée"], row["passés"], row["passées"]),
        etre=row["auxiliary"] == "être",
        french_preposition=row["french_preposition"],
        frame=row["frame"],
        flags=frozenset(row["flags"].split()),
        subjects=frozenset(row["subjects"].split()),
        objects=frozenset(row["objects"].split()),
    )


def _determiner(row: dict[str, str]) -> Determiner:
    forms = [
        row[column] for column in ("masculine", "masculine_vowel", "feminine", "feminine_vowel")
    ]
    return Determiner(
        english=row["english"],
        number=row["number"],
        kind=row["kind"],
        forms=(
            tuple(prefix(form) for form in forms),
            tuple(contracted("de", prefix(form)) for form in forms),
            tuple(contracted("à", prefix(form)) for form in forms),
        ),
    )


def _pronoun(row: dict[str, str]) -> PronounForms:
    return PronounForms(
        english=row["english"],
        object=row["object"],
        person=PERSONS[row["person"], row["number"]],
        plural=row["number"] == "plural",
        feminine=row["gender"] == "f",
        french=row["french"],
        direct=(prefix(row["direct"]), prefix(row["direct_vowel"])),
        indirect=(prefix(row["indirect"]), prefix(row["indirect_vowel"])),
        strong=row["strong"],
    )


def _without(row: dict[str, str]) -> str:
    """A contracting preposition without its last word, which the determiner's case supplies."""
    return row["french"].removesuffix(row["contracts"])
