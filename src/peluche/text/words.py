"""Cutting English text into the words and marks that treebanks know."""

from __future__ import annotations

import re

# In order: addresses, numbers with their marks, abbreviations with inner dots, words with clitics
# to be cut off, dots in a row, any other mark by itself.
TOKEN = re.compile(
    r"""
    https?://\S+ | www\.\S+ | [\w.+-]+@[\w-]+\.[\w.]+
    | [@\#]\w+
    | [^\W_]+(?:[.,:]\d+)+
    | (?:[^\W\d_]\.){2,}
    | \w+(?:['’]\w+)*
    | \.{2,} | -{2,}
    | [^\w\s]
    """,
    re.VERBOSE,
)
CLITIC = re.compile(r"(?i)(n['’]t|['’](?:s|m|d|re|ve|ll))$")
TITLES = frozenset(("mr", "mrs", "ms", "dr", "st", "prof", "vs", "etc", "jr", "sr"))


def split_words(text: str) -> list[str]:
    """Words, numbers and marks of a text, clitics apart: "it's" is "it" and "'s".

    >>> split_words("A cute teddy bear isn't reading.")
    ['A', 'cute', 'teddy', 'bear', 'is', "n't", 'reading', '.']
    """
    tokens: list[str] = []
    for token in TOKEN.findall(text):
        if token == "." and tokens and tokens[-1].lower() in TITLES:
            tokens[-1] += token
            continue
        clitic = CLITIC.search(token)
        if clitic and clitic.start():
            tokens += [token[: clitic.start()], clitic.group()]
        else:
            tokens.append(token)
    return tokens
