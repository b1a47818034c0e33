"""Texts in the wrong language."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from peluche.data.cleaning.steps import Dropped
from peluche.data.text_parts import PlainText, needs
from peluche.errors import ConfigError, did_you_mean


class Languages:
    """Leaves out texts that are not in one of some languages, or not surely so.

    py3langid says which it is: naive Bayes over n-grams of bytes (Lui and Baldwin 2011, "Cross-
    domain feature selection for language identification"), its weights inside the package.

    Args:
        wanted: codes of ISO 639-1, such as en.
        confidence: the least probability of the language that is found.

    Raises:
        MissingExtraError: py3langid is not installed.
        ConfigError: it does not know a language.
    """

    def __init__(self, wanted: Sequence[str], confidence: float = 0.5) -> None:
        self.identifier = _identifier()
        self.wanted, self.confidence = set(wanted), confidence
        known = set(self.identifier.nb_classes)
        for code in wanted:
            if code not in known:
                raise ConfigError(
                    f"the language '{code}' is not known", remedy=did_you_mean(code, known)
                )

    def __call__(self, text: PlainText) -> str | Dropped:
        language, probability = self.identifier.classify(text.text)
        if language not in self.wanted:
            return Dropped("language", f"{language} ({probability:.0%})")
        if probability < self.confidence:
            return Dropped("unsure language", f"{language} ({probability:.0%})")
        return text.text


@cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise needs("telling languages", "py3langid", "quality") from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
