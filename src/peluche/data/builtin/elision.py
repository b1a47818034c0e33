"""French words that change before their neighbours: elision and contraction."""

from __future__ import annotations

VOWELS = frozenset("aàâeéèêëiîïoôœuùûü")


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
