"""Completion: a text in, what comes after it out; and how likely texts are."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from peluche.data.infilling import infilling_ids
from peluche.data.packing import LanguageBatch, PackedStream, PackingConfig
from peluche.data.texts import PlainText
from peluche.errors import ConfigError
from peluche.generation.batching import generate
from peluche.generation.config import DecodingConfig
from peluche.generation.decoder import LanguageDecoder
from peluche.generation.sampling import SamplingParameters
from peluche.generation.search import Hypothesis, Request
from peluche.memory import SHORTER, InPieces
from peluche.metrics.perplexity import BitsPerByte, NegativeLogLikelihood, Perplexity
from peluche.metrics.scoring import Measurement
from peluche.models.language_model import LanguageModel
from peluche.tasks.chat import ChatSession
from peluche.tasks.engines import GeneratorConfig
from peluche.tasks.evaluation import Evaluation
from peluche.tasks.generate import TextGenerator
from peluche.tasks.listed import check_listed
from peluche.tasks.modes import evaluating
from peluche.tasks.text_requests import (
    Generated,
    Piece,
    TextRequest,
    no_room,
    nothing_to_begin_with,
)
from peluche.tasks.texts import TextTask, between_marks
from peluche.text.chat import ChatFormat, ChatSource
from peluche.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Completion:
    """What comes after a prompt.

    Attributes:
        text: without the prompt.
        score: the mean log-probability in nats of its tokens, and of [EOS] if it ends.
        tokens: ids, without [EOS].
    """

    prompt: str
    text: str
    score: float
    tokens: list[int]

    def as_json(self) -> dict[str, Any]:
        """`prompt`, `completion` and `score`."""
        values = asdict(self)
        return {"prompt": values["prompt"], "completion": values["text"], "score": values["score"]}


class Completer(TextTask):
    """Goes on with texts by a language model and its tokenizer.

    Args:
        model: runs as it is.
        tokenizer: what the model reads.
        packing: the rows in which texts are read to see how likely they are.
        context: the most tokens that the model was made for; unless given, that it can have.
        chat: how the model talks; None if it was not trained to.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        packing: PackingConfig = PackingConfig(),
        *,
        context: int | None = None,
        chat: ChatSource | None = None,
    ) -> None:
        self.model, self.tokenizer, self.packing = model, tokenizer, packing
        self.context = model.longest if context is None else context
        self.chat_source = chat

    @cached_property
    def generator(self) -> TextGenerator:
        """Runs the model as it is when this is first asked for."""
        return self.start_generator(GeneratorConfig())

    def start_generator(
        self, config: GeneratorConfig, draft: Completer | None = None
    ) -> TextGenerator:
        """Another generator, which runs the model in its own way.

        Args:
            draft: a smaller model with the same tokenizer, which guesses what this one will say.

        Raises:
            ConfigError: it cannot run so.
        """
        if draft is not None and draft.tokenizer.tokens() != self.tokenizer.tokens():
            raise ConfigError(
                "the draft model has another vocabulary",
                remedy="use a draft model with the same tokenizer",
            )
        smaller = None if draft is None else draft.model
        return TextGenerator(self.model, self.tokenizer, self.context, config, smaller)

    def refresh(self) -> None:
        """Go on with the model's weights of the moment, where they have been changed.

        `complete` and `measure` always do; `generate`, `stream` and `chat` run by a copy. See
        `TextGenerator.refresh` for those that `start_generator` made.
        """
        if "generator" in self.__dict__:
            self.generator.refresh(self.model)

    def stream(self, prompt: str | TextRequest, **options: Any) -> Generator[Piece, None, None]:
        """What comes after a prompt, as it is written; see `TextGenerator.stream`."""
        return self.generator.stream(prompt, **options)

    def generate(self, prompts: Sequence[str | TextRequest], **options: Any) -> list[Generated]:
        """What comes after each prompt; see `TextGenerator.generate`."""
        return self.generator.generate(prompts, **options)

    def chat(
        self,
        system: str | None = None,
        *,
        generator: TextGenerator | None = None,
        **options: Any,
    ) -> ChatSession:
        """A conversation; see `ChatSession`.

        Raises:
            ConfigError: the model was not trained to talk, or an option that is not known.
        """
        if self.chat_source is None:
            raise ConfigError(
                "this model was not trained to talk",
                remedy="use: peluche complete; or give a model that was, such as "
                "smollm2-135m-instruct",
            )
        form = ChatFormat(self.chat_source, self.tokenizer)
        return ChatSession(generator or self.generator, form, system, **options)

    def complete(
        self,
        prompts: Sequence[str],
        *,
        max_tokens: int = 200,
        sampling: SamplingParameters | None = None,
        beams: int = 1,
        penalty_alpha: float | None = None,
        candidates: int = 4,
        n_best: int = 1,
        suffix: str | None = None,
    ) -> list[Completion]:
        """What comes after each prompt; with `n_best`, so many in a row for each, likeliest first.

        Args:
            max_tokens: the most to write; a text that ends before that is shorter.
            sampling: draw tokens instead of searching for the likeliest.
            beams: hypotheses followed at a time; 1 is greedy search.
            penalty_alpha: contrastive search instead, weighing so many `candidates` at each token.
            suffix: what comes after: the text in between is written, by a model that was trained
                to fill in the middle.

        Raises:
            ConfigError: for settings that exclude each other, or a model that was not.
            DataError: a prompt leaves no room for what is to be written.
        """
        check_listed(prompts)
        config = _decoding(sampling, beams, n_best)
        if penalty_alpha is not None:
            config = _contrastive(config, penalty_alpha, candidates)
        encoded = self.tokenizer.encode_batch(prompts, bos=True)
        if suffix is not None:
            encoded = self.with_gap(prompts, suffix)
        requests = [
            Request(
                tokens,
                max_tokens + 1,
                sampling=sampling or SamplingParameters(),
                stream=number,
                read=tokens,
            )
            for number, tokens in enumerate(encoded)
        ]
        groups: dict[int, list[int]] = defaultdict(list)
        for number, tokens in enumerate(encoded):
            self._check_room(prompts[number], len(tokens), max_tokens)
            groups[len(tokens)].append(number)
        found: list[list[Hypothesis]] = [[] for _ in prompts]
        decoder = LanguageDecoder(self.model, self.tokenizer.special)
        with evaluating(self.model):
            for numbers in groups.values():
                results = generate(decoder, [requests[number] for number in numbers], config)
                for number, result in zip(numbers, results, strict=True):
                    found[number] = result
        return [
            self._completion(prompt, tokens, hypothesis)
            for prompt, tokens, hypotheses in zip(prompts, encoded, found, strict=True)
            for hypothesis in hypotheses
        ]

    def with_gap(self, prompts: Sequence[str], suffix: str) -> list[list[int]]:
        """Tokens after which a model that was trained to fill in the middle writes it.

        Raises:
            ConfigError: it was not.
        """
        check_listed(prompts)
        before, after, middle = infilling_ids(self.tokenizer)
        *begins, end = self.tokenizer.encode_batch([*prompts, suffix])
        start = [self.tokenizer.bos_id] * (self.tokenizer.bos_id >= 0)
        return [[*start, before, *begin, after, *end, middle] for begin in begins]

    def _check_room(self, prompt: str, length: int, max_tokens: int) -> None:
        if not length:
            raise nothing_to_begin_with()
        longest = self.context
        if longest is not None and length + max_tokens > longest:
            context = f"the model's {longest}"
            raise no_room(prompt, length, max_tokens, context, "or ask for fewer tokens")

    def _completion(self, prompt: str, before: list[int], found: Hypothesis) -> Completion:
        # Decoded together, since a token may begin with the space after the one before it.
        known = self.tokenizer.decode(before)
        text = self.tokenizer.decode([*before, *found.tokens])[len(known) :]
        return Completion(prompt, text, found.score, found.tokens)

    def check(self, examples: Sequence[PlainText]) -> None:
        if self.tokenizer.bos_id < 0 and self.tokenizer.eos_id < 0:
            raise ConfigError(
                "nothing is known that begins or ends a text for this model",
                remedy="peluche perplexity MODEL FILE reads a text in windows",
            )

    def check_against(self, other: Any, examples: Sequence[PlainText]) -> None:
        super().check_against(other, examples)
        rows = (self.packing.length, self.tokenizer.tokens())
        if len(examples) == 1 and rows != (other.packing.length, other.tokenizer.tokens()):
            raise ConfigError(
                "one text is compared row by row, and these models cut it into different rows",
                where=examples[0].where,
                remedy="give several texts, such as a file of lines; or use peluche perplexity",
            )

    def measure(self, examples: Sequence[PlainText]) -> Evaluation:
        """Bits per byte of UTF-8; perplexity and its logarithm per token, [EOS] included.

        Texts are packed into rows as in training, so each token is read with at most as many
        before it as a row has. Intervals are over texts; over rows if there is one text only. The
        first token of a text is scored where a [BOS] stands before it.

        Raises:
            ConfigError: the tokenizer has neither [BOS] nor [EOS].
        """
        self.check(examples)
        started = time.perf_counter()
        tokens, lengths = between_marks(self.tokenizer, examples)
        sizes = np.array([len(example.text.encode()) for example in examples], dtype=np.float64)
        nll = self._likelihoods(tokens)
        said = np.delete(np.arange(len(tokens)), lengths.cumsum() - lengths) - 1
        text = np.repeat(np.arange(len(lengths)), lengths - 1)
        segment = text if len(examples) > 1 else said // self.packing.length
        per_token = sizes / np.maximum(np.bincount(text, minlength=len(sizes)), 1)
        count = np.bincount(segment).astype(np.float64)
        total = np.bincount(segment, weights=nll)
        size = np.bincount(segment, weights=per_token[text])
        return Evaluation(
            [
                Measurement(BitsPerByte(), np.stack([total, size], 1)),
                Measurement(Perplexity(), np.stack([total, count], 1)),
                Measurement(NegativeLogLikelihood(), np.stack([total, count], 1)),
            ],
            [],
            time.perf_counter() - started,
        )

    @torch.inference_mode()
    def _likelihoods(self, tokens: NDArray[np.uint32]) -> NDArray[np.float64]:
        """The negative log-likelihood of every token but the first of each text, in order."""
        device = self.model.head.weight.device
        found: list[Tensor] = []
        in_pieces = InPieces("a row of the text", SHORTER)

        def likelihoods(batch: LanguageBatch) -> Tensor:
            batch = batch.to(device)
            hidden = self.model.hidden(batch.tokens, document_ids=batch.document_ids)
            logits = self.model.logits(hidden[batch.valid]).float()
            return cross_entropy(logits, batch.labels[batch.valid], reduction="none")

        with evaluating(self.model):
            for batch in PackedStream(tokens, self.packing, special=self.tokenizer.special).once():
                found += in_pieces.of_batch(batch, likelihoods)
        return torch.cat(found).double().cpu().numpy()


def _decoding(sampling: SamplingParameters | None, beams: int, n_best: int) -> DecodingConfig:
    if sampling is not None and beams > 1:
        raise ConfigError("beams and sampling exclude each other", remedy="drop one of them")
    kind = "sample" if sampling is not None else "beam" if beams > 1 or n_best > 1 else "greedy"
    return DecodingConfig.parse(
        {"kind": kind, "beams": max(beams, n_best), "n_best": n_best}, where="the options"
    )


def _contrastive(config: DecodingConfig, alpha: float, candidates: int) -> DecodingConfig:
    if config.kind != "greedy":
        raise ConfigError(
            "contrastive search excludes sampling and beams, and has one result",
            remedy="drop penalty_alpha, or the other options",
        )
    changes = {"kind": "contrastive", "penalty_alpha": alpha, "candidates": candidates}
    return DecodingConfig.parse(config.model_dump() | changes, where="the options")
