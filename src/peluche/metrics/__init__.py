"""Scores with signatures: pure functions of hypotheses and references."""

from peluche.metrics.base import Metric, Score, TextMetric
from peluche.metrics.comparison import Comparison, compare, compare_measurements, compare_statistics
from peluche.metrics.perplexity import Perplexity, perplexity
from peluche.metrics.registry import METRICS, MetricOptions
from peluche.metrics.scoring import (
    Measurement,
    SentenceScores,
    measure,
    score,
    score_statistics,
    sentence_scores,
)

__all__ = [
    "METRICS",
    "Comparison",
    "Measurement",
    "Metric",
    "MetricOptions",
    "Perplexity",
    "Score",
    "SentenceScores",
    "TextMetric",
    "compare",
    "compare_measurements",
    "compare_statistics",
    "measure",
    "perplexity",
    "score",
    "score_statistics",
    "sentence_scores",
]
