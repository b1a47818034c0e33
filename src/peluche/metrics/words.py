"""Words of a text, by one of sacreBLEU's tokenisers."""

from __future__ import annotations

from sacrebleu.metrics import BLEU


class WordSplitter:
    """Cuts a text into words: an optional lowering, a sacreBLEU tokeniser, then white space.

    Args:
        tokenize: "none" cuts at white space only; "13a", "intl", "zh", "char" as in BLEU.
        lowercase: lower the text first.
    """

    def __init__(self, tokenize: str, lowercase: bool) -> None:
        self._tokenizer = BLEU(tokenize=tokenize).tokenizer
        self._lowercase = lowercase
        self.settings = {"case": "lc" if lowercase else "mixed", "tok": tokenize}

    def __call__(self, text: str) -> list[str]:
        text = text.lower() if self._lowercase else text
        words: list[str] = self._tokenizer(text.strip()).split()
        return words
