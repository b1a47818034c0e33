"""Full softmax of word2vec: which word of the whole vocabulary stands between these?"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from peluche.config import Config
from peluche.data.token_stream import TokenChunk
from peluche.data.windows import WindowConfig, Windows, draw_windows
from peluche.models.word_vectors import Word2Vec
from peluche.nn.losses import fused_cross_entropy
from peluche.objectives.base import Losses, Term
from peluche.objectives.noise import keep_probabilities


class WordSoftmaxConfig(Config):
    """Cross-entropy over all words: word2vec as it is drawn, and slow where words are many."""

    kind: Literal["softmax"] = "softmax"

    def build(
        self, counts: NDArray[np.int64], window: WindowConfig, *, skipgram: bool
    ) -> WordSoftmax:
        """For words with these counts."""
        return WordSoftmax(counts, window, skipgram)


class WordSoftmax:
    """Term `loss` in nats per prediction."""

    def __init__(self, counts: NDArray[np.int64], window: WindowConfig, skipgram: bool) -> None:
        self.window, self.skipgram = window, skipgram
        self.keep = torch.from_numpy(keep_probabilities(counts, window.subsample))

    def counts(self, batch: TokenChunk) -> dict[str, float]:
        windows = self._windows(batch)
        count = windows.valid.sum() if self.skipgram else len(windows.centers)
        # A chunk of texts of one word has no prediction.
        return {"loss": max(1.0, float(count))}

    def __call__(self, model: Word2Vec, batch: TokenChunk) -> Losses:
        centers, contexts, valid = self._windows(batch)
        if self.skipgram:
            hidden = model.inputs(contexts[valid])
            centers = centers[:, None].expand_as(valid)[valid]
        else:
            hidden = model.hidden(contexts, valid)
        found = fused_cross_entropy(hidden, model.outputs.weight, centers)
        return Losses({"loss": Term(found.loss, max(1.0, float(len(centers))))})

    def _windows(self, chunk: TokenChunk) -> Windows:
        return draw_windows(chunk, self.window, self.keep.to(chunk.tokens.device))
