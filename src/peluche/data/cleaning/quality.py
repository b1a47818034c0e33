"""Rules by which pages of the web were chosen for two language models."""

from __future__ import annotations

import re
from collections import Counter

from peluche.data.cleaning.steps import Dropped
from peluche.data.text_parts import PlainText

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
BULLETS = ("•", "‣", "▶", "◀", "◦", "■", "□", "▪", "▫", "–", "-", "*", "●")
# Gopher, table A1: characters in the most frequent n-gram, and in all that occur more than once.
MOST_IN_TOP = {2: 0.20, 3: 0.18, 4: 0.16}
MOST_REPEATED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
MOST_LINES, MOST_LINE_CHARACTERS = 0.30, 0.20
PARAGRAPHS = re.compile(r"\n\s*\n")
SENTENCE_END = re.compile(r"[.!?][\"'”’)]*(?:\s|$)")


def gopher_quality(text: PlainText) -> str | Dropped:
    """English prose by its words and lines (Rae et al. 2021, arXiv 2112.11446, appendix A.1.1).

    Left out: fewer than 50 words or more than 100,000; a mean word of fewer than 3 characters or
    more than 10; more than one # or … in ten words; more than 90 % of lines with a bullet; more
    than 30 % of lines that end in an ellipsis; fewer than 80 % of words with a letter; fewer than
    two of eight English stop words. Words are what white space separates.
    """
    words = text.text.split()
    lines = [line.strip() for line in text.text.split("\n") if line.strip()]
    if not 50 <= len(words) <= 100_000:
        return Dropped("length in words", f"{len(words):,} words")
    mean = sum(map(len, words)) / len(words)
    if not 3 <= mean <= 10:
        return Dropped("word length", f"{mean:.1f} characters a word")
    body = text.text.replace("...", "…")
    for name, count in (("hash", body.count("#")), ("ellipsis", body.count("…"))):
        if count / len(words) > 0.1:
            return Dropped("symbols", f"{count} {name} signs in {len(words)} words")
    if (share := sum(line.startswith(BULLETS) for line in lines) / len(lines)) > 0.9:
        return Dropped("bullet lines", f"{share:.0%} of lines")
    if (share := sum(line.endswith(("...", "…")) for line in lines) / len(lines)) > 0.3:
        return Dropped("lines ending in an ellipsis", f"{share:.0%} of lines")
    if (share := sum(any(c.isalpha() for c in word) for word in words) / len(words)) < 0.8:
        return Dropped("words without letters", f"{1 - share:.0%} of words")
    if (found := len(STOP_WORDS.intersection(word.lower() for word in words))) < 2:
        return Dropped("stop words", f"{found} of {' '.join(sorted(STOP_WORDS))}")
    return text.text


def gopher_repetition(text: PlainText) -> str | Dropped:
    """Texts that say much again (Rae et al. 2021, arXiv 2112.11446, appendix A.1.1, table A1).

    Left out by the share of lines or paragraphs that stood there before (30 %, or 20 % of the
    characters), of characters in the most frequent 2-, 3- or 4-gram of words if it occurs more than
    once, and of characters within any 5- to 10-gram that does.
    """
    for name, pieces in (
        ("lines", text.text.split("\n")),
        ("paragraphs", PARAGRAPHS.split(text.text)),
    ):
        if (found := _said_before(name, [piece.strip() for piece in pieces])) is not None:
            return found
    words = text.text.split()
    total = sum(map(len, words))
    for n in range(2, 11):
        grams = list(zip(*(words[start:] for start in range(n)), strict=False))
        counts = Counter(grams)
        top = counts.most_common(1)
        if not top or top[0][1] == 1:
            break  # then no longer one occurs twice either
        if n in MOST_IN_TOP:
            share, most = sum(map(len, top[0][0])) * top[0][1] / total, MOST_IN_TOP[n]
        else:
            again: set[int] = set()
            for start, gram in enumerate(grams):
                if counts[gram] > 1:
                    again.update(range(start, start + n))
            share, most = sum(len(words[place]) for place in again) / total, MOST_REPEATED[n]
        if share > most:
            example = " ".join(top[0][0])
            return Dropped(f"repeated {n}-grams", f"{share:.0%} of characters: {example!r}")
    return text.text


def _said_before(name: str, pieces: list[str]) -> Dropped | None:
    pieces = [piece for piece in pieces if piece]
    counts = Counter(pieces)
    again = (len(pieces) - len(counts)) / max(1, len(pieces))
    characters = sum(len(piece) * (count - 1) for piece, count in counts.items())
    share = characters / max(1, sum(map(len, pieces)))
    if again > MOST_LINES or share > MOST_LINE_CHARACTERS:
        return Dropped(f"repeated {name}", f"{again:.0%} of {name}, {share:.0%} of characters")
    return None


def c4(text: PlainText) -> str | Dropped:
    """Lines that are sentences (Raffel et al. 2020, arXiv 1910.10683, section 2.2).

    Lines that do not end in . ! ? or a quotation mark, have fewer than five words, or speak of
    Javascript are taken out; a text with "lorem ipsum", a curly bracket, or fewer than three
    sentences after that is left out. The paper's list of bad words and its removal of repeated
    spans of three sentences are not part of this.
    """
    lower = text.text.lower()
    if "lorem ipsum" in lower:
        return Dropped("lorem ipsum", "the words stand there")
    if "{" in text.text:
        return Dropped("curly bracket", "as in code")
    lines = [
        line.strip()
        for line in text.text.split("\n")
        if line.rstrip().endswith((".", "!", "?", '"', "”"))
        and len(line.split()) >= 5
        and "javascript" not in line.lower()
    ]
    kept = "\n".join(lines)
    if (sentences := len(SENTENCE_END.findall(kept))) < 3:
        return Dropped("few sentences", f"{sentences} in lines that end like one")
    return kept
