"""Texts that were there before, exactly or nearly."""

from __future__ import annotations

import hashlib

from peluche.data.cleaning.steps import Dropped
from peluche.data.text_parts import PlainText, needs

# Hash functions of a signature, and the seed that draws them.
PERMUTATIONS, SEED = 128, 1


class ExactDuplicates:
    """Leaves out texts that are equal to an earlier one but for white space.

    Keeps a hash of 128 bits of each text in memory, about 100 bytes with what holds it.
    """

    def __init__(self) -> None:
        self.seen: set[bytes] = set()

    def __call__(self, text: PlainText) -> str | Dropped:
        key = " ".join(text.text.split()).encode()
        digest = hashlib.blake2b(key, digest_size=16).digest()
        if digest in self.seen:
            return Dropped("exact duplicate", "of an earlier text")
        self.seen.add(digest)
        return text.text


class NearDuplicates:
    """Leaves out texts that share most of their n-grams of words with an earlier one.

    The Jaccard similarity of the sets of n-grams is estimated from signatures of 128 hashes
    (MinHash, Broder 1997); candidates are found by locality-sensitive hashing of bands of them.
    With 5-grams as in Lee et al. 2022 (arXiv 2107.06499, section 4.2). Texts of fewer words are one
    n-gram. Keeps the signatures of all texts that are kept in memory.

    Args:
        threshold: of the estimated similarity, from which on a text is left out.
        n: words.

    Raises:
        MissingExtraError: rensa is not installed.
    """

    def __init__(self, threshold: float = 0.8, n: int = 5) -> None:
        try:
            from rensa import RMinHash, RMinHashDeduplicator
        except ImportError:
            raise needs("finding near duplicates", "rensa", "quality") from None
        self.n, self.signature = n, RMinHash
        self.kept = RMinHashDeduplicator(threshold, PERMUTATIONS, True, None, SEED)
        self.count = 0

    def __call__(self, text: PlainText) -> str | Dropped:
        words = text.text.casefold().split()
        starts = range(max(1, len(words) - self.n + 1))
        signature = self.signature(PERMUTATIONS, SEED)
        signature.update([" ".join(words[start : start + self.n]) for start in starts])
        # Places may occur twice, in files of one name; keys may not.
        self.count += 1
        key = f"{text.where} (text {self.count})"
        if self.kept.add(key, signature):
            return text.text
        return Dropped("near duplicate", f"of {min(self.kept.get_duplicates(signature))}")
