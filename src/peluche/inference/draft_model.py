"""A smaller model guesses what a larger one will say (Leviathan et al. 2023, §2)."""

from __future__ import annotations

from collections.abc import Sequence

from peluche.errors import ConfigError
from peluche.generation.requests import GenerationRequest
from peluche.generation.sampler import Sampler
from peluche.generation.sampling import SamplingParameters
from peluche.inference.engine import Engine, EngineConfig, Token
from peluche.inference.runner import Runner
from peluche.inference.speculation import Wish
from peluche.models.decoder import Decoder
from peluche.text.tokenizer import SpecialIds

LIKELIEST = SamplingParameters(temperature=0)


class DraftModel:
    """See `peluche.inference.speculation.Drafter`: guesses the likeliest tokens.

    It is an engine of its own, whose prefix cache remembers what was read of each sequence.

    Args:
        runner: of the smaller model.
        vocabulary: of the larger model.
        running: the most sequences of a step.

    Raises:
        ConfigError: the models do not share a vocabulary.
    """

    def __init__(
        self, runner: Runner, special: SpecialIds, vocabulary: int, running: int = 32
    ) -> None:
        if runner.vocabulary != vocabulary:
            raise ConfigError(
                f"a draft model of {runner.vocabulary} tokens cannot guess those of a model of "
                f"{vocabulary}",
                remedy="use a draft model with the same tokenizer",
            )
        sampler = Sampler(special, vocabulary)
        self.engine = Engine(runner, sampler, EngineConfig(running=running))

    def draft(self, wishes: Sequence[Wish]) -> list[list[int]]:
        engine, places = self.engine, dict[int, int]()
        for place, wish in enumerate(wishes):
            most = wish.most
            if engine.capacity is not None:
                most = min(most, engine.capacity - len(wish.tokens) + 1)
            if most > 0:
                places[engine.add(_likeliest(wish.tokens, most))] = place
        guesses: list[list[int]] = [[] for _ in wishes]
        while not engine.idle:
            for event in engine.step():
                # Others are left of a call that was interrupted.
                if isinstance(event, Token) and event.key in places:
                    guesses[places[event.key]].append(event.chosen.token)
        return guesses

    def refresh(self, model: Decoder) -> None:
        """Guess by the model's weights of the moment."""
        self.engine.refresh(model)

    def forget(self, key: int) -> None:
        """Nothing is held of a request but what the prefix cache drops by itself."""


def _likeliest(tokens: Sequence[int], most: int) -> GenerationRequest:
    return GenerationRequest(tokens=tuple(tokens), max_tokens=most, sampling=LIKELIEST)
