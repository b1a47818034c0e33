"""Filling in spans: texts with [MASK] in them, each of which may stand for several tokens."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from peluche.data.packing import PackingConfig
from peluche.data.span_corruption import SpanCorruptionConfig, SpanStream, sentinel_ids
from peluche.data.texts import PlainText
from peluche.generation.batching import generate
from peluche.generation.beam import BeamStep
from peluche.generation.config import DecodingConfig
from peluche.generation.decoder import ModelDecoder
from peluche.generation.search import Hypothesis, Request
from peluche.metrics.perplexity import Perplexity
from peluche.metrics.scoring import Measurement
from peluche.models.translation import TranslationModel
from peluche.tasks.evaluation import Evaluation
from peluche.tasks.fill import Candidate, FillingTask
from peluche.tasks.listed import check_listed
from peluche.tasks.modes import evaluating
from peluche.tasks.texts import between_marks, row_likelihoods
from peluche.text.tokenizer import Tokenizer

# A span of training has three tokens on average.
LONGEST_SPAN = 16


class SpanFiller(FillingTask):
    """Says what stands at [MASK], by an encoder-decoder that was trained on corrupted spans.

    Args:
        packing, corruption: of the texts that are read to see how likely they are.
    """

    def __init__(
        self,
        model: TranslationModel,
        tokenizer: Tokenizer,
        packing: PackingConfig = PackingConfig(),
        corruption: SpanCorruptionConfig = SpanCorruptionConfig(),
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.packing, self.corruption = packing, corruption

    def fill(self, texts: Sequence[str], count: int = 5) -> list[list[list[Candidate]]]:
        """For each text and each [MASK] in it, what a beam search of `count` beams found for it.

        A candidate's probability is that of all answers found that have it there.

        Raises:
            DataError: a text has no [MASK].
            ConfigError: it has more of them than the tokenizer has sentinels.
        """
        check_listed(texts)
        config = answers(count).model_copy(update={"n_best": count})
        return [self._fill(text, config) for text in texts]

    def search(
        self,
        text: str,
        config: DecodingConfig,
        observe: Callable[[BeamStep], None] | None = None,
    ) -> list[Hypothesis]:
        """Answers to a text, best first: sentinels, each followed by what stands there.

        Args:
            observe: sees every step of the search.

        Raises:
            DataError, ConfigError: as `fill`.
        """
        sentinels = [number for _, number in self.marks(len(self.parts(text)) - 1)]
        request = Request(
            source=[*(piece.id for piece in self.pieces(text)), self.tokenizer.eos_id],
            limit=len(sentinels) * (LONGEST_SPAN + 1) + 1,
            prefix=sentinels[:1],
        )
        decoder = ModelDecoder(self.model, self.tokenizer.special)
        with evaluating(self.model):
            (found,) = generate(decoder, [request], config, observe)
        return found

    def marks(self, count: int) -> list[tuple[str, int]]:
        ids = sentinel_ids(self.tokenizer, count)
        return [(self.tokenizer.token(number), number) for number in ids]

    def _fill(self, text: str, config: DecodingConfig) -> list[list[Candidate]]:
        found = self.search(text, config)
        sentinels = [number for _, number in self.marks(len(self.parts(text)) - 1)]
        spans: list[dict[str, float]] = [defaultdict(float) for _ in sentinels]
        for hypothesis in found:
            for span, tokens in zip(spans, said_at(hypothesis.tokens, sentinels), strict=True):
                span[self.tokenizer.decode(tokens).strip()] += math.exp(hypothesis.score)
        return [
            [Candidate(said, probability) for said, probability in sorted(span.items(), key=_rank)]
            for span in spans
        ]

    def measure(self, examples: Sequence[PlainText]) -> Evaluation:
        """Perplexity of spans cut out as in training; the interval is over pieces of texts."""
        started = time.perf_counter()
        tokens, _ = between_marks(self.tokenizer, examples)
        stream = SpanStream(tokens, self.packing, 0, self.corruption, self.tokenizer)
        return Evaluation(
            [Measurement(Perplexity(), self._likelihoods(stream))],
            [],
            time.perf_counter() - started,
        )

    @torch.inference_mode()
    def _likelihoods(self, stream: SpanStream) -> NDArray[np.float64]:
        """(rows, 2): negative log-likelihood and number of target tokens."""
        device = next(self.model.parameters()).device
        rows = []
        with evaluating(self.model):
            for batch in stream.once():
                batch = batch.to(device)
                memory = self.model.encode(batch.source, batch.source_valid)
                hidden = self.model.hidden(batch.target_in, condition=memory)
                labels = batch.target_out
                rows += row_likelihoods(self.model, hidden, labels, batch.target_valid)
        return np.array(rows)


def answers(beams: int) -> DecodingConfig:
    """The search for the likeliest answer as a whole."""
    return DecodingConfig(beams=beams, length_penalty=0.0)


def said_at(tokens: Sequence[int], sentinels: Sequence[int]) -> list[list[int]]:
    """What follows each sentinel, up to the next; nothing where it was not said."""
    spans: dict[int, list[int]] = {number: [] for number in sentinels}
    place: list[int] = []
    for token in tokens:
        if token in spans:
            place = spans[token] = []
        else:
            place.append(token)
    return [spans[number] for number in sentinels]


def _rank(item: tuple[str, float]) -> float:
    return -item[1]
