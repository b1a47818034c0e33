"""Filling in: texts with [MASK] in them, and what may stand there."""

from __future__ import annotations

import re
import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from peluche.data.masking import MaskedBatch, MaskedStream, MaskingConfig
from peluche.data.packing import PackingConfig
from peluche.data.texts import PlainText
from peluche.errors import ConfigError, DataError
from peluche.memory import SHORTER, InPieces
from peluche.metrics.perplexity import Perplexity
from peluche.metrics.scoring import Measurement
from peluche.models.encoder import Encoder
from peluche.tasks.evaluation import Evaluation
from peluche.tasks.listed import check_listed
from peluche.tasks.modes import evaluating
from peluche.tasks.texts import TextTask, between_marks, row_likelihoods
from peluche.text.pieces import Piece
from peluche.text.tokenizer import MASK, Tokenizer


@dataclass(frozen=True)
class Candidate:
    """What may stand at a [MASK].

    Attributes:
        token: as a person reads it.
        probability: the model's.
    """

    token: str
    probability: float


class FillingTask(TextTask):
    """Takes texts with [MASK] in them."""

    tokenizer: Tokenizer

    @abstractmethod
    def fill(self, texts: Sequence[str], count: int = 5) -> list[list[list[Candidate]]]:
        """For each text and each [MASK] in it, what may stand there, likeliest first.

        Raises:
            DataError: a text has no [MASK].
        """

    def parts(self, text: str) -> list[str]:
        """What stands before, between and after the [MASK]s of a text.

        Raises:
            DataError: there is none.
        """
        parts = text.split(MASK)
        if len(parts) == 1:
            raise DataError(
                f"there is no {MASK} in the text", where=f"'{text[:40]}'", remedy=f"write {MASK}"
            )
        # The space before a word belongs to its first token, so to what is hidden.
        return [*(part.rstrip(" ") for part in parts[:-1]), parts[-1]]

    @abstractmethod
    def marks(self, count: int) -> list[tuple[str, int]]:
        """What the model reads at each of so many [MASK]s: how it is called, and its id.

        Raises:
            ConfigError: the tokenizer has not so many.
        """

    def pieces(self, text: str) -> list[Piece]:
        """The tokens of a text with their places in it, what stands for [MASK] among them."""
        found, start = [], 0
        places = [match.span() for match in re.finditer(re.escape(MASK), text)]
        for part, mark in zip([*places, None], [*self.marks(len(places)), None], strict=True):
            read = text[start:] if part is None else text[start : part[0]].rstrip(" ")
            for piece in self.tokenizer.pieces(read):
                found.append(piece._replace(start=start + piece.start, end=start + piece.end))
            if part is not None and mark is not None:
                found.append(Piece(*mark, *part, False))
                start = part[1]
        return found


class Filler(FillingTask):
    """Says what stands at [MASK], by an encoder and its tokenizer.

    Args:
        packing, masking: of the texts that are read to see how often it is right.
    """

    def __init__(
        self,
        model: Encoder,
        tokenizer: Tokenizer,
        packing: PackingConfig = PackingConfig(),
        masking: MaskingConfig = MaskingConfig(),
    ) -> None:
        self.model, self.tokenizer, self.packing, self.masking = model, tokenizer, packing, masking

    @torch.inference_mode()
    def fill(self, texts: Sequence[str], count: int = 5) -> list[list[list[Candidate]]]:
        """For each text and each [MASK] in it, the likeliest tokens, best first.

        Raises:
            DataError: a text has no [MASK], or is too long.
        """
        check_listed(texts)
        found = []
        with evaluating(self.model):
            for text in texts:
                ids = torch.tensor([self._encode(text)], device=self._device)
                hidden = self.model.hidden(ids)[ids == self.tokenizer.mask_id]
                logits = self.model.logits(hidden).float()
                never = [self.tokenizer.mask_id, *self.tokenizer.special.never]
                logits[:, [number for number in never if number >= 0]] = -torch.inf
                best = logits.softmax(-1).topk(min(count, logits.shape[-1]))
                found.append(
                    [
                        [
                            Candidate(self.tokenizer.readable(number), probability)
                            for number, probability in zip(numbers, probabilities, strict=True)
                        ]
                        for numbers, probabilities in zip(
                            best.indices.tolist(), best.values.tolist(), strict=True
                        )
                    ]
                )
        return found

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def marks(self, count: int) -> list[tuple[str, int]]:
        return [(MASK, self.tokenizer.mask_id)] * count

    def _encode(self, text: str) -> list[int]:
        self.parts(text)  # refuses a text without any
        ids = self.tokenizer.around([piece.id for piece in self.pieces(text)])
        longest = self.model.longest
        if longest is not None and len(ids) > longest:
            raise DataError(
                f"a text of {len(ids)} tokens is over the model's {longest}",
                where=f"'{text[:40]}'",
                remedy="give a shorter one",
            )
        return ids

    def measure(self, examples: Sequence[PlainText]) -> Evaluation:
        """Perplexity of hidden tokens, hidden as in training; the interval is over rows."""
        started = time.perf_counter()
        if self.tokenizer.mask_id < 0:
            raise ConfigError("the tokenizer has no token [MASK]", remedy="give another model")
        tokens, _ = between_marks(self.tokenizer, examples)
        stream = MaskedStream(tokens, self.packing, 0, self.masking, self.tokenizer)
        return Evaluation(
            [Measurement(Perplexity(), self._likelihoods(stream))],
            [],
            time.perf_counter() - started,
        )

    @torch.inference_mode()
    def _likelihoods(self, stream: MaskedStream) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(rows, 2): negative log-likelihood and number of hidden tokens."""
        rows, in_pieces = [], InPieces("a row of the text", SHORTER)

        def likelihoods(batch: MaskedBatch) -> list[tuple[float, float]]:
            batch = batch.to(self._device)
            hidden = self.model.hidden(
                batch.tokens, valid=batch.present, document_ids=batch.document_ids
            )
            return row_likelihoods(self.model, hidden, batch.labels, batch.hidden)

        with evaluating(self.model):
            for batch in stream.once():
                for found in in_pieces.of_batch(batch, likelihoods):
                    rows += found
        return np.array(rows)
