"""Translation: sentences in, sentences out, with the scores of the search."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from peluche.data.sources import Pair, Source, source_like
from peluche.errors import DataError
from peluche.generation.batching import generate
from peluche.generation.beam import BeamStep
from peluche.generation.config import DecodingConfig
from peluche.generation.decoder import Decoder, ModelDecoder
from peluche.generation.sampling import SamplingParameters
from peluche.generation.search import Hypothesis, Request
from peluche.inference.decoding import PackedDecoder
from peluche.memory import say_on_stderr
from peluche.metrics import measure
from peluche.models.encoder_decoder import EncoderDecoder
from peluche.models.translation import TranslationModel
from peluche.tasks.evaluation import Evaluable, Evaluation
from peluche.tasks.listed import check_listed
from peluche.tasks.modes import evaluating
from peluche.text.tokenizer import Tokenizer


class Candidate(NamedTuple):
    """One translation of a sentence.

    Attributes:
        translation: the text.
        score: log-probability in nats of tokens and [EOS], divided by the length normaliser.
        tokens: ids, without [EOS].
    """

    translation: str
    score: float
    tokens: list[int]


class Translation(NamedTuple):
    """A sentence and its translations, best first; there is at least one."""

    source: str
    candidates: list[Candidate]

    @property
    def translation(self) -> str:
        return self.candidates[0].translation

    @property
    def score(self) -> float:
        return self.candidates[0].score

    @property
    def tokens(self) -> list[int]:
        return self.candidates[0].tokens


class Translator(Evaluable):
    """Translates with a model and its tokenizer.

    Args:
        model: runs as it is, unless a decoder is given.
        tokenizer: for both languages; its normalisation and casing apply to all input alike.
        decoding: the settings of every call, unless the call says otherwise.
        decoder: a faster way to run it, e.g. `PackedDecoder(model)`.
        say: told about sentences that are too long.

    Attributes:
        metrics: that translations are measured by where the run's recipe names none.
    """

    metrics: tuple[str, ...] = ("bleu", "chrf", "ter")

    def __init__(
        self,
        model: TranslationModel,
        tokenizer: Tokenizer,
        decoding: DecodingConfig = DecodingConfig(),
        decoder: Decoder | None = None,
        say: Callable[[str], None] = say_on_stderr,
    ) -> None:
        self.model, self.tokenizer, self.decoding, self.say = model, tokenizer, decoding, say
        self.decoder = decoder or ModelDecoder(model, tokenizer.special)

    def refresh(self) -> None:
        """Go on with the model's weights of the moment: a `PackedDecoder` has copies of others."""
        if isinstance(self.decoder, PackedDecoder) and isinstance(self.model, EncoderDecoder):
            self.decoder.refresh(self.model)

    def translate(
        self,
        sentences: Sequence[str],
        *,
        beams: int | None = None,
        n_best: int = 1,
        prefix: str | Sequence[str] | None = None,
        sampling: SamplingParameters | None = None,
        batch_tokens: int | None = None,
    ) -> list[str]:
        """The translation of each sentence; with `n_best`, so many in a row for each, best first.

        Args:
            beams: hypotheses followed at a time; 1 is greedy search.
            prefix: what translations have to begin with: one for all, or one per sentence.
            sampling: draw tokens instead of searching for the likeliest.
            batch_tokens: padded source tokens × hypotheses decoded at a time.

        Raises:
            ConfigError: for settings that exclude each other.
            DataError: for a prefix that is too long, or not one prefix per sentence.
        """
        config = self.options(
            beams=beams, n_best=n_best, sampling=sampling, batch_tokens=batch_tokens
        )
        found = self.translate_with_scores(sentences, config, prefix=prefix, scores=False)
        return [
            translation.candidates[min(rank, len(translation.candidates) - 1)].translation
            for translation in found
            for rank in range(n_best)
        ]

    def options(
        self,
        *,
        beams: int | None = None,
        n_best: int | None = None,
        sampling: SamplingParameters | None = None,
        batch_tokens: int | None = None,
    ) -> DecodingConfig:
        """This translator's settings, with those given in their place."""
        changes: dict[str, object] = {}
        if beams is not None:
            changes |= {"beams": beams, "kind": "greedy" if beams == 1 else "beam"}
        if n_best is not None:
            changes["n_best"] = n_best
        if sampling is not None:
            changes |= {"kind": "sample", "sampling": sampling.model_dump()}
        if batch_tokens is not None:
            changes["batch_tokens"] = batch_tokens
        return DecodingConfig.parse(
            self.decoding.model_dump() | changes, where="the decoding options"
        )

    def translate_with_scores(
        self,
        sentences: Sequence[str],
        config: DecodingConfig | None = None,
        *,
        prefix: str | Sequence[str] | None = None,
        observe: Callable[[BeamStep], None] | None = None,
        scores: bool = True,
        first_line: int = 1,
    ) -> list[Translation]:
        """Every sentence with its `config.n_best` translations and their scores.

        An empty or blank sentence has an empty translation of score 0. A sentence of more tokens
        than the model or `config.max_length` takes is cut, and `say` is told which.

        Args:
            config: all settings of the search; the translator's own if not given.
            observe: sees every step of a beam search.
            scores: without them greedy search is faster, and its scores are NaN.
            first_line: the number of the first sentence, for messages and for sampling.

        Raises:
            DataError: for a prefix that is too long, or not one prefix per sentence.
        """
        check_listed(sentences)
        config = config or self.decoding
        prefixes = self._prefixes(prefix, len(sentences))
        sources = self.tokenizer.encode_batch(sentences)
        rows = [row for row, sentence in enumerate(sentences) if sources[row] and sentence.strip()]
        requests = [
            self._request(sources[row], prefixes[row], config, first_line + row) for row in rows
        ]
        with evaluating(self.model):
            found = generate(self.decoder, requests, config, observe, scores=scores)
        nothing = [Candidate("", 0.0, [])] * config.n_best
        results = [Translation(sentence, nothing) for sentence in sentences]
        for row, candidates in zip(rows, self._candidates(found), strict=True):
            results[row] = Translation(sentences[row], candidates)
        return results

    def source(self, names: Sequence[str], **options: Any) -> Source:
        """See `Evaluable.source` and `peluche.data.sources.source_from`."""
        return source_like(names, self.like(names), **options)

    @property
    def metric_names(self) -> Sequence[str]:
        """Of the run's recipe, if it names any."""
        names: Sequence[str] | None = self.settings.options.get("metrics")
        return names or self.metrics

    def measure(self, examples: Sequence[Pair]) -> Evaluation:
        """The metrics of `metric_names` on translations of the sources."""
        started = time.perf_counter()
        hypotheses = self.translate([pair.source for pair in examples])
        seconds = time.perf_counter() - started
        options = self.settings.options
        tokenize = {}
        if "tokenize" in options:
            # Who asks for no tokenisation knows that the text is tokenised: no warning of it.
            tokenize = {"tokenize": options["tokenize"], "force": options["tokenize"] == "none"}
        references = [pair.target for pair in examples]
        return Evaluation(
            measure(self.metric_names, hypotheses, references, **tokenize),
            [
                {"source": pair.source, "reference": pair.target, "output": hypothesis}
                for pair, hypothesis in zip(examples, hypotheses, strict=True)
            ],
            seconds,
        )

    def stream(
        self,
        lines: Iterable[str],
        config: DecodingConfig | None = None,
        *,
        prefix: str | None = None,
        scores: bool = True,
        block: int = 1024,
    ) -> Iterator[Translation]:
        """`translate_with_scores` over any number of lines, at most `block` at a time.

        The first blocks are small, so that something is seen soon.
        """
        check_listed(lines)
        remaining = iter(lines)
        first, size = 1, min(32, block)
        while some := list(islice(remaining, size)):
            yield from self.translate_with_scores(
                some, config, prefix=prefix, scores=scores, first_line=first
            )
            first, size = first + len(some), min(2 * size, block)

    def _request(
        self, source: list[int], prefix: list[int], config: DecodingConfig, line: int
    ) -> Request:
        longest = self._longest(config)
        if len(source) > longest:
            self.say(
                f"line {line} has {len(source)} tokens and is cut after {longest}; "
                "split it into sentences"
            )
        if len(prefix) > longest:
            raise DataError(
                f"the prefix for line {line} has {len(prefix)} tokens; at most {longest} fit",
                remedy="shorten the prefix",
            )
        source = source[:longest]
        return Request(
            source=[*source, self.tokenizer.eos_id],
            limit=min(config.limit(len(source), len(prefix)), longest + 1),
            prefix=prefix,
            sampling=config.sampling,
            stream=line,
        )

    def _longest(self, config: DecodingConfig) -> int:
        """The most tokens of a sentence, without [EOS], that settings and model allow."""
        longest = self.model.longest
        return config.max_length if longest is None else min(config.max_length, longest - 1)

    def _prefixes(self, prefix: str | Sequence[str] | None, count: int) -> list[list[int]]:
        prefixes = [prefix or ""] * count if prefix is None or isinstance(prefix, str) else prefix
        if len(prefixes) != count:
            raise DataError(
                f"there are {count} sentences but {len(prefixes)} prefixes",
                remedy="give one prefix for all sentences, or one for each",
            )
        return self.tokenizer.encode_batch(prefixes)

    def _candidates(self, found: list[list[Hypothesis]]) -> Iterator[list[Candidate]]:
        texts = iter(
            self.tokenizer.decode_batch([each.tokens for results in found for each in results])
        )
        for results in found:
            yield [Candidate(next(texts), each.score, each.tokens) for each in results]
