"""Scores with signatures: pure functions of hypotheses and references."""

from peluche.metrics.base import Metric, Score, TextMetric
from peluche.metrics.perplexity import Perplexity, perplexity
from peluche.metrics.registry import METRICS, MetricOptions
from peluche.metrics.scoring import (
    Comparison,
    SentenceScores,
    compare,
    compare_statistics,
    score,
    score_statistics,
    sentence_scores,
)

__all__ = [
    "METRICS",
    "Comparison",
    "Metric",
    "MetricOptions",
    "Perplexity",
    "Score",
    "SentenceScores",
    "TextMetric",
    "compare",
    "compare_statistics",
    "perplexity",
    "score",
    "score_statistics",
    "sentence_scores",
]
