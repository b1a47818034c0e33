"""Embedding: texts in, one vector each out; like texts have like vectors."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from peluche.config import Config
from peluche.data.classification import TextWindow, encode_texts
from peluche.data.labelled import LabelledText, TextSource
from peluche.data.labelled_from import texts_from
from peluche.data.pairs import Pair
from peluche.data.sources import Source, source_like
from peluche.errors import DataError
from peluche.inference.packed_encoder import PackedEncoder
from peluche.memory import SHORTER, InPieces
from peluche.metrics.correlation import Spearman
from peluche.metrics.retrieval import measure_ranks
from peluche.metrics.scoring import Measurement
from peluche.models.pretrained_encoder import PretrainedEncoder
from peluche.models.text_embedder import TextEmbedder
from peluche.tasks.evaluation import Evaluable, Evaluation
from peluche.tasks.listed import check_listed
from peluche.tasks.modes import evaluating
from peluche.text.tokenizer import Tokenizer

BLOCK = 512


class EmbeddingConfig(Config):
    """How texts are read.

    Attributes:
        max_length: longer texts are read up to here, in tokens.
        batch_tokens: padded tokens that are read at a time.
    """

    max_length: int = Field(512, gt=1)
    batch_tokens: int = Field(8192, gt=0)


class Embedder(Evaluable):
    """Vectors of texts by a model and its tokenizer.

    Args:
        reader: a faster copy of the model's encoder, where its weights no longer change.
    """

    def __init__(
        self,
        model: TextEmbedder,
        tokenizer: Tokenizer,
        config: EmbeddingConfig = EmbeddingConfig(),
        reader: PackedEncoder | None = None,
    ) -> None:
        self.model, self.tokenizer, self.config = model, tokenizer, config
        self.reader = reader
        self._in_pieces = InPieces("a text", SHORTER)

    def refresh(self) -> None:
        """Go on with the model's weights of the moment: a reader has copies of others."""
        encoder = self.model.encoder
        if self.reader is not None and isinstance(encoder, PretrainedEncoder):
            self.reader = PackedEncoder(encoder.model)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Float[Tensor, "texts width"]:
        """A vector for each text, in order."""
        check_listed(texts)
        ids, _, _ = encode_texts(
            texts,
            [None] * len(texts),
            self.tokenizer,
            self.config.max_length,
            begins=self.model.encoder.begins,
        )
        window = TextWindow(ids, None, [0] * len(ids))
        device = next(self.model.parameters()).device
        found = torch.empty(len(texts), self.model.encoder.width)

        def read(rows: NDArray[np.int64]) -> Tensor:
            if self.reader is not None:
                return self._read([ids[row] for row in rows.tolist()], self.reader)
            batch = window.batch(rows).to(device)
            return self.model.hidden(batch.tokens, batch.valid)

        with evaluating(self.model):
            for planned in window.plan(self.config.batch_tokens, None):
                for rows, vectors in self._in_pieces.of(planned, read):
                    found[torch.from_numpy(rows)] = vectors.float().cpu()
        return found

    def _read(self, texts: list[list[int]], reader: PackedEncoder) -> Tensor:
        vectors = pad_sequence(reader.hidden(texts), batch_first=True)
        lengths = torch.tensor([len(text) for text in texts])
        return self.model.pooled(vectors, torch.arange(vectors.shape[1]) < lengths[:, None])

    def source(self, names: Sequence[str], **options: object) -> Source | TextSource:
        """See `Evaluable.source`: pairs of texts that belong together, or, with three `columns`,
        pairs of texts and how alike people find them."""
        columns = options.get("columns")
        if isinstance(columns, str) and columns.count(",") == 2:
            return texts_from(names, {}, **options)
        return source_like(names, self.like(names), **options)

    def measure(self, examples: Sequence[Pair | LabelledText]) -> Evaluation:
        """How well vectors tell which texts belong together, or how alike they are.

        Of pairs: how far up a source's own target stands among all targets. Of pairs with a number:
        rank correlation with the cosines.

        Raises:
            DataError: what stands for a number is none.
        """
        ones, others = ([example.texts[side] for example in examples] for side in (0, 1))
        started = time.perf_counter()
        both = [torch.nn.functional.normalize(self.embed(side), dim=-1) for side in (ones, others)]
        seconds = time.perf_counter() - started
        alike = [example for example in examples if isinstance(example, LabelledText)]
        if alike:
            said = (both[0] * both[1]).sum(-1).tolist()
            gold = [_number(example) for example in alike]
            measured = [Measurement(Spearman(), Spearman().statistics(said, gold))]
            answers = [
                (example.label, f"{one:.4f}") for example, one in zip(alike, said, strict=True)
            ]
        else:
            ranks, nearest = _ranks(both[0], both[1], others)
            measured = measure_ranks(ranks)
            answers = [(own, others[best]) for own, best in zip(others, nearest, strict=True)]
        return Evaluation(
            measured,
            [
                {"source": text, "reference": reference, "output": output}
                for text, (reference, output) in zip(ones, answers, strict=True)
            ],
            seconds,
        )


def _ranks(
    sources: Float[Tensor, "texts width"],
    targets: Float[Tensor, "texts width"],
    texts: Sequence[str],
) -> tuple[list[int], list[int]]:
    """The rank of each source's own target, and which target is nearest.

    Targets of the same text count once: they are equally right.
    """
    first: dict[str, int] = {}
    for number, text in enumerate(texts):
        first.setdefault(text, number)
    places = {text: place for place, text in enumerate(first)}
    own = torch.tensor([places[text] for text in texts])
    kept = torch.tensor(list(first.values()))
    ranks, nearest = [], []
    for start in range(0, len(sources), BLOCK):
        cosines = sources[start : start + BLOCK] @ targets[kept].T
        right = cosines.gather(1, own[start : start + BLOCK, None])
        ranks += (1 + (cosines > right).sum(1)).tolist()
        nearest += kept[cosines.argmax(1)].tolist()
    return ranks, nearest


def _number(example: LabelledText) -> float:
    try:
        value = float(example.label)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"'{example.label}' does not say how alike the texts are",
            where=example.where,
            remedy="name the columns of both texts and of a number: --columns 0,1,2",
        )
    return value
