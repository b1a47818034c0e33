"""Decoders to test searches with: a table of made-up distributions, and a model without a cache."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from peluche.generation.config import DecodingConfig
from peluche.generation.search import Hypothesis, Request
from peluche.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from peluche.text.tokenizer import OWN

EOS = 3


class TableDecoder:
    """A language model over `words` words whose next-token distribution is drawn from the prefix.

    Sentences differ by their first source token. `end` is added to the logit of [EOS].
    """

    parallel = False
    special = OWN

    def __init__(self, seed: int, words: int = 3, sharpness: float = 2.0, end: float = 0.0) -> None:
        self.seed, self.vocabulary = seed, 4 + words
        self.sharpness, self.end = sharpness, end
        self.reads = 0

    def logits(self, source: int, prefix: tuple[int, ...]) -> Tensor:
        random = np.random.default_rng([self.seed, source, len(prefix), *prefix])
        logits = torch.from_numpy(random.normal(size=self.vocabulary) * self.sharpness).float()
        logits[EOS] += self.end
        return logits

    def log_probability(self, source: int, tokens: tuple[int, ...]) -> float:
        """Of tokens and the [EOS] after them."""
        return sum(
            float(self.logits(source, tokens[:at]).log_softmax(-1)[token])
            for at, token in enumerate((*tokens, EOS))
        )

    def start(self, source: Tensor, valid: Tensor, beams: int, capacity: int) -> TableDecoding:
        return TableDecoding(self, source[:, 0].tolist(), beams)


class TableDecoding:
    def __init__(self, table: TableDecoder, sources: list[int], beams: int) -> None:
        self.table, self.sources, self.beams = table, sources, beams
        self.prefixes: list[list[tuple[int, ...]]] = [[()] * beams for _ in sources]
        self.started = False

    def step(self, tokens: Tensor) -> Tensor:
        for row, token in enumerate(tokens.tolist()):
            sentence, beam = divmod(row, self.beams)
            if self.started:
                self.prefixes[sentence][beam] += (token,)
        self.started = True
        self.table.reads += len(tokens)
        return torch.stack(
            [
                self.table.logits(source, prefix)
                for source, prefixes in zip(self.sources, self.prefixes, strict=True)
                for prefix in prefixes
            ]
        )

    def select(self, parents: Tensor) -> None:
        self.prefixes = [
            [before[parent] for parent in row]
            for before, row in zip(self.prefixes, parents.tolist(), strict=True)
        ]

    def keep(self, sentences: Tensor) -> None:
        rows = sentences.tolist()
        self.sources = [self.sources[row] for row in rows]
        self.prefixes = [self.prefixes[row] for row in rows]


def every_hypothesis(
    table: TableDecoder, request: Request, config: DecodingConfig
) -> list[Hypothesis]:
    """All sequences a search may return, best first, by brute force."""
    words = range(4, table.vocabulary)
    free = request.limit - 1 - len(request.prefix)
    found = []
    for length in range(free + 1):
        for tail in itertools.product(words, repeat=length):
            tokens = (*request.prefix, *tail)
            score = table.log_probability(request.source[0], tokens)
            found.append(
                Hypothesis(list(tokens), score / float(config.normaliser(len(tokens) + 1)))
            )
    return sorted(found, key=lambda hypothesis: -hypothesis.score)


def beam_search_without_stopping(
    table: TableDecoder, request: Request, config: DecodingConfig
) -> list[Hypothesis]:
    """Beam search as the textbook has it, in plain Python, which always goes on to the limit."""
    live, finished = [((), 0.0)], []
    for step in range(request.limit):
        candidates = []
        for prefix, score in live:
            steps = table.logits(request.source[0], prefix).log_softmax(-1)
            allowed = range(EOS, table.vocabulary)
            if step == request.limit - 1:
                allowed = [EOS]
            elif step < len(request.prefix):
                allowed = [request.prefix[step]]
            candidates += [((*prefix, token), score + float(steps[token])) for token in allowed]
        candidates.sort(key=lambda candidate: -candidate[1])
        for tokens, score in candidates[: config.beams]:
            if tokens[-1] == EOS:
                normalised = score / float(config.normaliser(len(tokens)))
                finished.append(Hypothesis(list(tokens[:-1]), normalised))
        live = [c for c in candidates[: 2 * config.beams] if c[0][-1] != EOS][: config.beams]
    return sorted(finished, key=lambda hypothesis: -hypothesis.score)[: config.n_best]


def tiny_model(seed: int = 0, vocabulary: int = 40, **settings: object) -> EncoderDecoder:
    """An untrained model whose distributions are peaked enough for a search to have work."""
    defaults = {"d_model": 16, "layers": 2, "heads": 4, "d_ff": 24, "max_length": 64}
    torch.manual_seed(seed)
    config = EncoderDecoderConfig.parse(defaults | settings)
    model = config.build(vocabulary).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    return model


class UncachedDecoder:
    """Runs the model over the whole prefix at every step: what cached decoding has to equal."""

    parallel = False
    special = OWN

    def __init__(self, model: EncoderDecoder) -> None:
        self.model = model

    def start(self, source: Tensor, valid: Tensor, beams: int, capacity: int) -> UncachedDecoding:
        return UncachedDecoding(self.model, source, valid, beams)


class UncachedDecoding:
    def __init__(self, model: EncoderDecoder, source: Tensor, valid: Tensor, beams: int) -> None:
        self.model, self.source, self.valid, self.beams = model, source, valid, beams
        self.prefix = torch.empty(len(source), beams, 0, dtype=torch.int64)

    def step(self, tokens: Tensor) -> Tensor:
        self.prefix = torch.cat([self.prefix, tokens.view(-1, self.beams, 1)], -1)
        memory = self.model.encode(
            self.source.repeat_interleave(self.beams, 0),
            self.valid.repeat_interleave(self.beams, 0),
        )
        hidden = self.model.hidden(self.prefix.flatten(0, 1), condition=memory)
        return self.model.logits(hidden[:, -1])

    def select(self, parents: Tensor) -> None:
        self.prefix = self.prefix.gather(1, parents[:, :, None].expand_as(self.prefix))

    def keep(self, sentences: Tensor) -> None:
        self.source, self.valid = self.source[sentences], self.valid[sentences]
        self.prefix = self.prefix[sentences]
