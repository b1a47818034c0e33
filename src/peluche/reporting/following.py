"""What the explanations of all families share: the search, its steps, and numbers as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from peluche.generation.config import DecodingConfig
from peluche.generation.search import never_said
from peluche.models.translation import TranslationModel
from peluche.reporting.beam_tree import BeamTree
from peluche.reporting.explanation import Beam, Candidate, Matrix, Sentence, Step
from peluche.reporting.words import read_source, read_target
from peluche.tasks.fill_spans import SpanFiller, answers
from peluche.tasks.translate import Translator
from peluche.text.tokenizer import Tokenizer


class Followed(NamedTuple):
    """A beam search that was watched.

    Attributes:
        ids: of the translation, [EOS] last.
    """

    source: Sentence
    target: Sentence
    ids: list[int]
    search: DecodingConfig
    tree: BeamTree

    def beam(self, steps: Sequence[Step]) -> Beam:
        """The search as a tree; with one beam, the way it went."""
        if self.search.beams == 1:
            self.tree.follow(self.ids, steps)
        return self.tree.result(self.ids)


def follow_search(
    model: TranslationModel, tokenizer: Tokenizer, sentence: str, decoding: DecodingConfig
) -> Followed:
    """Translate a sentence by beam search, watching.

    Raises:
        DataError: if the sentence is empty or has more than `MAX_TOKENS` tokens.
    """
    source = read_source(tokenizer, sentence)
    beams = 1 if decoding.kind == "greedy" else decoding.beams
    search = decoding.model_copy(update={"kind": "beam", "beams": beams, "n_best": 1})
    tree = BeamTree(tokenizer, search)
    translator = Translator(model, tokenizer, search)
    [translation] = translator.translate_with_scores([sentence], observe=tree)
    ids = [*translation.tokens, tokenizer.eos_id]
    return Followed(source, read_target(tokenizer, ids), ids, search, tree)


def follow_spans(filler: SpanFiller, text: str, beams: int) -> Followed:
    """Fill in the [MASK]s of a text by beam search, watching.

    Raises:
        DataError: if there is none in it, or it has more than `MAX_TOKENS` tokens.
        ConfigError: if it has more of them than the tokenizer has sentinels.
    """
    tokenizer, config = filler.tokenizer, answers(beams)
    filler.parts(text)  # refuses a text without any
    source = read_source(tokenizer, text, filler.pieces(text))
    tree = BeamTree(tokenizer, config)
    best, *_ = filler.search(text, config, tree)
    ids = [*best.tokens, tokenizer.eos_id]
    return Followed(source, read_target(tokenizer, ids), ids, config, tree)


def decoding_steps(
    tokenizer: Tokenizer, log_probabilities: Tensor, ids: Sequence[int], count: int
) -> tuple[Step, ...]:
    """What was likely at each step, from log-probabilities (steps, vocabulary)."""

    def candidate(row: Tensor, token: int) -> Candidate:
        return Candidate(tokenizer.readable(token), token, float(row[token].exp()))

    steps, total, never = [], 0.0, never_said(tokenizer.special)
    for row, chosen in zip(log_probabilities, ids, strict=True):
        total += float(row[chosen])
        sayable = row.index_fill(0, never, -float("inf"))
        best = sayable.topk(min(count, len(row) - len(never))).indices.tolist()
        steps.append(
            Step(
                candidates=tuple(candidate(row, token) for token in best),
                chosen=candidate(row, chosen),
                rank=int((sayable > row[chosen]).sum()) + 1,
                log_probability=total,
            )
        )
    return tuple(steps)


def as_matrix(tensor: Tensor) -> Matrix:
    """A tensor as numbers for people."""
    return tensor.float().cpu().numpy()
