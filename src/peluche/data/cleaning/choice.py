"""Which steps a corpus is cleaned by."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from pydantic import Field, field_validator

from peluche.config import Config
from peluche.data.cleaning.decontamination import Decontamination
from peluche.data.cleaning.duplicates import ExactDuplicates, NearDuplicates
from peluche.data.cleaning.language import Languages
from peluche.data.cleaning.quality import c4, gopher_quality, gopher_repetition
from peluche.data.cleaning.steps import Step
from peluche.data.text_sources import PlainTextSource
from peluche.errors import did_you_mean

RULES: dict[str, tuple[Step, ...]] = {"gopher": (gopher_quality, gopher_repetition), "c4": (c4,)}


class Cleaning(Config):
    """What to leave out. Steps are in the order of these fields; what costs most comes last.

    Attributes:
        exact: texts that are equal to an earlier one.
        languages: if any, texts in none of them.
        rules: names of `RULES`; what they find.
        against: evaluation sets; texts that share n-grams with them.
        ngram, matches: see `Decontamination`.
        near: if given, texts so similar to an earlier one; see `NearDuplicates`.
    """

    exact: bool = True
    languages: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    against: tuple[PlainTextSource, ...] = ()
    ngram: int = Field(13, gt=0)
    matches: int = Field(1, gt=0)
    near: float | None = Field(None, gt=0, le=1)

    @field_validator("rules")
    @classmethod
    def _known(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        for rule in rules:
            if rule not in RULES:
                raise ValueError(f"there is no rule '{rule}'; {did_you_mean(rule, RULES)}")
        return rules

    def steps(self, say: Callable[[str], None]) -> list[Step]:
        """The steps, ready to look at texts.

        Raises:
            MissingExtraError: what a step needs is not installed.
            ConfigError, DataError: a language is not known, an evaluation set cannot be read.
        """
        steps: list[Step] = [ExactDuplicates()] if self.exact else []
        if self.languages:
            steps.append(Languages(self.languages))
        steps += chain.from_iterable(RULES[rule] for rule in self.rules)
        if self.against:
            examples = chain.from_iterable(source.read() for source in self.against)
            found = Decontamination(examples, self.ngram, self.matches)
            if found.short:
                say(f"{found.short:,} evaluation texts are too short to be told")
            steps.append(found)
        if self.near is not None:
            steps.append(NearDuplicates(self.near))
        return steps
