"""Classification: texts in, labels and probabilities out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from peluche.data.classification import TextWindow, encode_texts
from peluche.data.labelled import LabelledText, TextSource
from peluche.data.labelled_from import texts_from
from peluche.errors import DataError
from peluche.memory import SHORTER, InPieces
from peluche.metrics.calibration import measure_probabilities
from peluche.metrics.classification import measure_classification, split_averages
from peluche.models.classifier import Classifier
from peluche.tasks.evaluation import Evaluable, Evaluation
from peluche.tasks.listed import check_listed
from peluche.tasks.modes import evaluating
from peluche.text.labels import Labels
from peluche.text.tokenizer import Tokenizer


class Classification(NamedTuple):
    """What a text was called.

    Attributes:
        label: the likeliest.
        probabilities: of each label, in the model's order; they sum to 1.
    """

    label: str
    probabilities: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """What `peluche classify --json` prints."""
        return {"label": self.label, "probabilities": self.probabilities}


class TextClassifier(Evaluable):
    """Classifies with a model and its tokenizer.

    Args:
        scales: what the scores of each of the model's parts are multiplied by before they are
            added, so that probabilities are calibrated; see `fit_scales`. 1 each unless given.
        pairs: whether it judges pairs of texts.
        max_length: tokens of a text that are read.
        batch_tokens: padded tokens read at a time.
    """

    def __init__(
        self,
        model: Classifier,
        tokenizer: Tokenizer,
        labels: Labels,
        *,
        scales: Sequence[float] = (),
        pairs: bool = False,
        max_length: int = 512,
        batch_tokens: int = 8192,
    ) -> None:
        self.model, self.tokenizer, self.labels = model, tokenizer, labels
        self.scales, self.pairs = tuple(scales), pairs
        self.max_length, self.batch_tokens = max_length, batch_tokens
        self._in_pieces = InPieces("a text", SHORTER)

    def classify(
        self, texts: Sequence[str], seconds: Sequence[str] | None = None
    ) -> list[Classification]:
        """Label and probabilities of each text, or of each pair with the text of `seconds`."""
        probabilities = self.logits(texts, seconds).softmax(-1).tolist()
        names = list(self.labels)
        return [
            Classification(names[int(np.argmax(row))], dict(zip(names, row, strict=True)))
            for row in probabilities
        ]

    def logits(
        self, texts: Sequence[str], seconds: Sequence[str] | None = None
    ) -> Float[Tensor, "texts labels"]:
        """Scores before softmax, on the CPU."""
        parts = self.parts(texts, seconds)
        scales = torch.tensor(self.scales or [1.0] * len(parts), dtype=parts.dtype)
        return torch.einsum("ptl,p->tl", parts, scales)

    @torch.no_grad()
    def parts(
        self, texts: Sequence[str], seconds: Sequence[str] | None = None
    ) -> Float[Tensor, "parts texts labels"]:
        """Scores by each of the model's parts, as they are, on the CPU."""
        check_listed(texts)
        check_listed(seconds)
        others: Sequence[str | None] = [None] * len(texts) if seconds is None else seconds
        begins = self.model.encoder.begins
        ids, firsts, _ = encode_texts(texts, others, self.tokenizer, self.max_length, begins=begins)
        window = TextWindow(ids, firsts, [0] * len(ids))
        device = self.model.head.weight.device
        count = self.model.part_count
        found = torch.empty(count, len(texts), len(self.labels), dtype=torch.float64)

        def score(rows: NDArray[np.int64]) -> Tensor:
            batch = window.batch(rows).to(device)
            hidden = self.model.hidden(batch.tokens, batch.valid, batch.segments)
            return torch.stack(self.model.parts(hidden)).double().cpu()

        with evaluating(self.model):
            for planned in window.plan(self.batch_tokens, None):
                for rows, scores in self._in_pieces.of(planned, score):
                    found[:, torch.from_numpy(rows)] = scores
        return found

    def source(self, names: Sequence[str], **options: Any) -> TextSource:
        """See `Evaluable.source` and `texts_from`."""
        return texts_from(names, self.like(names), **options)

    def measure(self, examples: Sequence[LabelledText]) -> Evaluation:
        """Accuracy, precision, recall and F1, and how good the probabilities are.

        Raises:
            DataError: a label that the model does not know, or a text without the second that it
                needs; with its place.
        """
        gold = [self.labels.number(example.label, example.where) for example in examples]
        for example in examples:
            if self.pairs and example.second is None:
                raise DataError(
                    "this model judges pairs of texts, and here is one text",
                    where=example.where,
                    remedy="name the columns of both: --columns FIRST,SECOND,LABEL",
                )
        started = time.perf_counter()
        others = [example.second or "" for example in examples] if self.pairs else None
        logits = self.logits([example.text for example in examples], others)
        seconds = time.perf_counter() - started
        probabilities = logits.softmax(-1).numpy()
        names = list(self.labels)
        said = [names[number] for number in probabilities.argmax(1)]
        true = [example.label for example in examples]
        averages, by_label = split_averages(measure_classification(said, true, names))
        return Evaluation(
            [*averages, *measure_probabilities(probabilities, gold), *by_label],
            [
                {"source": "\t".join(example.texts), "reference": example.label, "output": label}
                for example, label in zip(examples, said, strict=True)
            ],
            seconds,
            names,
        )

    def stream(self, lines: Iterable[str], block: int = 1024) -> Iterator[Classification]:
        """`classify` over any number of lines; a tab parts the texts of a pair."""
        check_listed(lines)
        remaining = iter(lines)
        size = min(32, block)
        while some := list(islice(remaining, size)):
            if self.pairs:
                pairs = [line.partition("\t") for line in some]
                yield from self.classify([one for one, _, _ in pairs], [two for _, _, two in pairs])
            else:
                yield from self.classify(some)
            size = min(2 * size, block)


def fit_scales(
    parts: Float[Tensor, "parts texts labels"], labels: Sequence[int], *, apart: bool
) -> list[float]:
    """What to multiply each part's scores by, for the least cross-entropy on held-out texts.

    With one scale for all it is the inverse of a temperature (Guo et al. 2017, §4.2). With scales
    of their own, a part that has learnt its training texts by heart counts for less (stacking,
    Wolpert 1992); that may change which label is likeliest, so the texts must not be those that
    accuracy is then measured on.

    Args:
        labels: the true numbers.
        apart: whether each part has a scale of its own.
    """
    parts, target = parts.double(), torch.tensor(labels)
    logarithms = torch.zeros(len(parts) if apart else 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logarithms], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = (logarithms.exp()[:, None, None] * parts).sum(0)
        loss = torch.nn.functional.cross_entropy(logits, target)
        loss.backward()
        return loss

    optimizer.step(closure)
    # All right or all wrong has no best scale; stay within reason.
    return logarithms.detach().clamp(-3, 3).exp().expand(len(parts)).tolist()
