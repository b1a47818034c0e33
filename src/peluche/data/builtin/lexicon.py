"""The words of the built-in corpus: tables of explicit forms in English and French.

Every form that a sentence can need is written out in a TSV file of this folder; the only things
worked out elsewhere are those that depend on the neighbouring word (`elision`).
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from peluche.data.builtin.elision import contracted, prefix, starts_with_vowel
from peluche.data.builtin.words import (
    Adjective,
    Adverb,
    Determiner,
    Lexicon,
    Noun,
    Preposition,
    PronounForms,
    Verb,
)
from peluche.errors import DataError

PERSONS = {
    ("first", "singular"): 0,
    ("second", "singular"): 1,
    ("third", "singular"): 2,
    ("first", "plural"): 3,
    ("third", "plural"): 4,
}


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
