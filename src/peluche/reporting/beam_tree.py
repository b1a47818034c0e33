"""The tree that a beam search grows, from what it shows to an observer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from peluche.generation.beam import BeamStep
from peluche.generation.config import DecodingConfig
from peluche.reporting.explanation import Beam, BeamNode, Step
from peluche.text.tokenizer import Tokenizer


class _Entry:
    """A node while the tree is still growing."""

    def __init__(self, ids: tuple[int, ...], parent: int | None, log_probability: float) -> None:
        self.ids, self.parent, self.log_probability = ids, parent, log_probability
        self.continued = False


class BeamTree:
    """Observes the beam search of one sentence: pass it as `observe`."""

    def __init__(self, tokenizer: Tokenizer, config: DecodingConfig) -> None:
        self.tokenizer, self.config = tokenizer, config
        self.entries = [_Entry((), None, 0.0)]
        self.beams = [0]

    def __call__(self, step: BeamStep) -> None:
        """Add the beams that live on and the hypotheses that ended."""
        before, self.beams = self.beams, []
        for parent, token, score in zip(
            step.parents[0].tolist(), step.tokens[0].tolist(), step.scores[0].tolist(), strict=True
        ):
            self.beams.append(self._add(before[parent], token, score) if score > -math.inf else 0)
        norm = float(self.config.normaliser(step.step + 1))
        for parent, score in zip(
            step.finished_parents[0].tolist(), step.finished[0].tolist(), strict=True
        ):
            if score > -math.inf:
                self._add(before[parent], Tokenizer.eos_id, score * norm)

    def follow(self, ids: Sequence[int], steps: Sequence[Step]) -> None:
        """Add a single path: greedy search, where there is nothing to choose between."""
        node = 0
        for token, step in zip(ids, steps, strict=True):
            node = self._add(node, token, step.log_probability)

    def result(self, ids: Sequence[int]) -> Beam:
        """The tree, with the way to the translation `ids` ([EOS] last) marked."""
        nodes = [self._node(entry, tuple(ids)) for entry in self.entries]
        return Beam(
            size=self.config.beams,
            length_normalization=self.config.length_normalization,
            length_penalty=self.config.length_penalty,
            nodes=tuple(nodes),
        )

    def _add(self, parent: int, token: int, log_probability: float) -> int:
        self.entries[parent].continued = True
        ids = (*self.entries[parent].ids, token)
        self.entries.append(_Entry(ids, parent, log_probability))
        return len(self.entries) - 1

    def _node(self, entry: _Entry, best: tuple[int, ...]) -> BeamNode:
        length = len(entry.ids)
        token = entry.ids[-1] if length else self.tokenizer.bos_id
        norm = float(self.config.normaliser(length)) if length else 1.0
        finished = token == self.tokenizer.eos_id
        said = [number for number in entry.ids if number != self.tokenizer.eos_id]
        better = [
            other
            for other in self.entries
            if len(other.ids) == length and other.log_probability > entry.log_probability
        ]
        return BeamNode(
            step=length,
            rank=len(better),
            parent=entry.parent,
            token=self.tokenizer.readable(token),
            id=token,
            text=self.tokenizer.decode(said, skip_special=False),
            log_probability=entry.log_probability,
            score=entry.log_probability / norm,
            state="finished" if finished else "alive" if entry.continued else "dropped",
            best=entry.ids == best[:length],
        )
