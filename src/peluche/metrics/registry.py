"""The metrics by name, and the options that a protocol may fix about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from peluche.config import Config
from peluche.errors import ConfigError, did_you_mean
from peluche.metrics.base import TextMetric
from peluche.metrics.error_rate import ExactMatch, WordErrorRate
from peluche.metrics.meteor import Meteor
from peluche.metrics.rouge import Rouge
from peluche.metrics.sacre import Bleu, Chrf, Ter

Tokenization = Literal["13a", "intl", "zh", "char", "none"]


class MetricOptions(Config):
    """What a protocol may fix about the metrics; each heeds the options that it has.

    Attributes:
        tokenize: words for bleu, meteor (both "13a" if None) and wer ("none" if None).
        lowercase: for bleu, chrf, wer and exact_match; ter, rouge and meteor always lower.
        force: bleu: do not warn about text that looks tokenised already.
        stem: meteor: also match by stem, in this language (needs ``peluche[meteor]``).
    """

    tokenize: Tokenization | None = None
    lowercase: bool = False
    force: bool = False
    stem: str | None = None


METRICS: dict[str, Callable[[MetricOptions], TextMetric]] = {
    "bleu": lambda o: Bleu(tokenize=o.tokenize or "13a", lowercase=o.lowercase, force=o.force),
    "chrf": lambda o: Chrf(lowercase=o.lowercase),
    "chrf++": lambda o: Chrf(lowercase=o.lowercase, word_order=2),
    "ter": lambda o: Ter(),
    "rouge1": lambda o: Rouge("1"),
    "rouge2": lambda o: Rouge("2"),
    "rougeL": lambda o: Rouge("L"),
    "meteor": lambda o: Meteor(tokenize=o.tokenize or "13a", stem=o.stem),
    "wer": lambda o: WordErrorRate(tokenize=o.tokenize or "none", lowercase=o.lowercase),
    "exact_match": lambda o: ExactMatch(lowercase=o.lowercase),
}


def build_metrics(names: Sequence[str], options: Mapping[str, Any]) -> list[TextMetric]:
    """The metric objects of `names`, in order.

    Raises:
        ConfigError: for an unknown metric or option.
    """
    parsed = MetricOptions.parse(options, where="metric options")
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"unknown metric '{name}'", remedy=did_you_mean(name, METRICS))
    return [METRICS[name](parsed) for name in names]
