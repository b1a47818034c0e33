"""What a summariser has to beat: the first words of the text."""

from __future__ import annotations

import time
from collections.abc import Sequence

from peluche.config import parse_as
from peluche.data.sources import Pair, Source
from peluche.errors import ConfigError
from peluche.metrics import measure
from peluche.tasks.evaluation import Evaluation, Say, read_examples
from peluche.tasks.summarise import Summariser

# Training examples on which the number of words is chosen, and the most words that are tried.
TRIED, LONGEST = 1000, 40
CHOSEN_BY = "rouge1"


def lead(texts: Sequence[str], words: int) -> list[str]:
    """The first so many words of each text, as they are between spaces."""
    return [" ".join(text.split()[:words]) for text in texts]


def usual_length(train: Sequence[Pair]) -> int:
    """Words of a summary, on average; one at least."""
    return max(1, round(sum(len(pair.target.split()) for pair in train) / len(train)))


def best_length(train: Sequence[Pair]) -> int:
    """How many first words have the highest ROUGE-1 on the first thousand training examples."""
    train = train[:TRIED]
    sources, targets = [pair.source for pair in train], [pair.target for pair in train]

    def score(words: int) -> float:
        (found,) = measure([CHOSEN_BY], lead(sources, words), targets)
        return found.score(0).score

    return max(range(1, LONGEST + 1), key=score)


def evaluate_lead(
    task: Summariser, examples: Sequence[Pair], say: Say = lambda message: None
) -> dict[str, Evaluation]:
    """The first words of each text: as many as a summary has, and as many as score best.

    Both numbers come from the data that the run was trained on.

    Raises:
        ConfigError: the run names no training data.
        DataError: it cannot be read.
    """
    if not task.settings.train:
        raise ConfigError(
            "this model's run names no training data", remedy="name a run that peluche trained"
        )
    source = parse_as(Source, task.settings.train, where="the run's training data")
    train = read_examples(source, say)
    sources, targets = [pair.source for pair in examples], [pair.target for pair in examples]
    found = {}
    for words in dict.fromkeys([usual_length(train), best_length(train)]):
        started = time.perf_counter()
        said = lead(sources, words)
        measurements = measure(task.metric_names, said, targets)
        found[f"first {words} words"] = Evaluation(measurements, [], time.perf_counter() - started)
    return found
