"""Chooses tokens for many requests at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from peluche.errors import NumericsError, PelucheError
from peluche.generation.requests import GenerationRequest
from peluche.generation.sampling import RowParameters, draw, process, uniforms
from peluche.text.tokenizer import SpecialIds


class Chosen(NamedTuple):
    token: int
    logprob: float
    top: list[tuple[int, float]]
    ended: bool


class Sampler:
    def __init__(self, special: SpecialIds, vocabulary: int, guides: Any = None) -> None:
        self.special, self.vocabulary = special, vocabulary
        self.requests: dict[int, tuple[GenerationRequest, list[float]]] = {}

    def add(self, key: int, request: GenerationRequest) -> None:
        numbers = uniforms(request.sampling.seed, request.stream, 1, request.max_tokens)
        self.requests[key] = (request, numbers[0].tolist())

    def remove(self, key: int) -> None:
        del self.requests[key]

    def choose(
        self, keys: Sequence[int], logits: Float[Tensor, "rows vocabulary"]
    ) -> list[Chosen | PelucheError]:
        found: list[Chosen | PelucheError] = []
        for key, row in zip(keys, logits, strict=True):
            request, numbers = self.requests[key]
            if bool(row.isnan().any()):
                found.append(NumericsError("the model gave no numbers"))
                continue
            number = numbers.pop(0)
            if request.sampling.top_k == 1:
                token = int(row.argmax())
            else:
                shaped = process(row[None], RowParameters.of([request.sampling], len(row)))
                token = int(draw(shaped, torch.tensor([number]))[0])
            logprob = float(row.log_softmax(-1)[token])
            ended = token == self.special.eos and not request.ignore_eos
            found.append(Chosen(token, logprob, [], ended))
        return found
