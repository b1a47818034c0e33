"""BLEU, chrF and TER as sacreBLEU computes them, with sacreBLEU's own signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sacrebleu.metrics import BLEU, CHRF, TER

from peluche.metrics.base import Array, TextMetric


class SacreMetric(TextMetric):
    """A metric whose preprocessing, statistics and formula are sacreBLEU's (Post, 2018)."""

    backend: Any

    def statistics(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
        rows = self.backend._extract_corpus_statistics(hypotheses, references)
        return np.array(rows, dtype=np.float64)

    def aggregate(self, sums: Array) -> Array:
        rows = sums.reshape(-1, sums.shape[-1]).tolist()
        values = [self.backend._compute_score_from_stats(row).score for row in rows]
        return np.array(values, dtype=np.float64).reshape(sums.shape[:-1])

    def settings(self) -> Mapping[str, object]:
        return {}

    def signature(self, counts: Mapping[str, int]) -> str:
        """Exactly the signature that sacreBLEU prints."""
        self.backend.num_refs = counts["nrefs"]
        signature = self.backend.get_signature()
        for key, value in counts.items():
            signature.update(key, value)
        return str(signature)


class Bleu(SacreMetric):
    """BLEU (Papineni et al., 2002, "BLEU: a Method for Automatic Evaluation of MT").

    Sentence scores use the effective order, as in ``sacrebleu --sentence-level``.

    Args:
        tokenize: one of sacreBLEU's tokenisers; "none" for text that is tokenised already.
        lowercase: compare in lower case.
        force: do not warn about text that looks tokenised already.
        effective_order: leave out the n-gram orders that are longer than the hypothesis.
    """

    name = "bleu"

    def __init__(
        self,
        *,
        tokenize: str = "13a",
        lowercase: bool = False,
        force: bool = False,
        effective_order: bool = False,
    ) -> None:
        self._options: dict[str, Any] = {
            "tokenize": tokenize,
            "lowercase": lowercase,
            "force": force,
        }
        self.backend = BLEU(effective_order=effective_order, **self._options)

    def for_sentences(self) -> Bleu:
        return Bleu(effective_order=True, **self._options)


class Chrf(SacreMetric):
    """chrF2 (Popović, 2015, 2016): character n-grams up to 6, recall counted twice.

    Args:
        lowercase: compare in lower case.
        word_order: also word n-grams up to this length; 2 makes it chrF++ (Popović, 2017).
    """

    def __init__(self, *, lowercase: bool = False, word_order: int = 0) -> None:
        self.name = "chrf" + "+" * word_order
        self.backend = CHRF(lowercase=lowercase, word_order=word_order)


class Ter(SacreMetric):
    """Translation edit rate (Snover et al., 2006), in percent; always in lower case.

    Its time grows with the square of the sentence length and more.
    """

    name = "ter"
    better = "lower"

    def __init__(self) -> None:
        self.backend = TER()
