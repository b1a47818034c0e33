"""What a loss follows from: how many parameters, how many tokens, how many of them new."""

from __future__ import annotations

import math

from pydantic import Field

from peluche.config import Config

# Scale at which repeated tokens stop being as good as new ones (Muennighoff et al. 2023, §5: R*_D).
REPETITIONS = 15.39


class ScalingLaw(Config):
    """L = irreducible + a / N^alpha + b / D'^beta (Hoffmann et al. 2022, eq. 2).

    N counts all parameters, tied embeddings once, so that each of them multiplies every token. D'
    is D where no token is read twice, else see `effective_tokens`. L is the validation loss in nats
    per token. All of it holds for the corpus, tokenizer and recipe that the constants were fitted
    on, within some factor of their sizes.

    Attributes:
        fitted_on: path of that corpus; `vocabulary` is the tokenizer's size.
        runs: how many runs the constants were fitted to.
    """

    irreducible: float = Field(ge=0)
    a: float = Field(gt=0)
    alpha: float = Field(gt=0)
    b: float = Field(gt=0)
    beta: float = Field(gt=0)
    fitted_on: str
    vocabulary: int = Field(gt=0)
    runs: int = Field(gt=0)

    def loss(self, parameters: float, tokens: float, unique: float) -> float:
        """The loss of so many parameters after so many tokens of a corpus of `unique` tokens."""
        data = effective_tokens(tokens, unique)
        return self.irreducible + self.a / parameters**self.alpha + self.b / data**self.beta


def effective_tokens(tokens: float, unique: float) -> float:
    """D' = U + U·R*·(1 − exp(−R / R*)) for R repetitions of U tokens (Muennighoff 2023, eq. 5).

    Four epochs are worth almost four times the text; no number is worth more than 16.4 times.
    """
    if tokens <= unique:
        return tokens
    repetitions = tokens / unique - 1
    return unique * (1 + REPETITIONS * -math.expm1(-repetitions / REPETITIONS))


class DialConfig(Config):
    """The rules that size a run, all constants in this one place.

    Attributes:
        tokens_per_parameter: effective tokens for each parameter, both counted as in `ScalingLaw`
            (Hoffmann et al. 2022, table 2: about 20 of tokens that are all new).
        width_per_layer: a model of so many layers is so many times as wide; the loss depends little
            on it (Kaplan et al. 2020, fig. 5).
        batch: (c, p): a batch has c·C^p tokens in a run of C FLOPs (Bi et al. 2024, DeepSeek LLM,
            eq. 1).
        rate: (c, p): the learning rate is c·C^p (the same).
        warmup: share of the steps.
        most_epochs: after so many, text is not read again: it is worth almost nothing more
            (Muennighoff et al. 2023, §5).
        law: what loss to expect; None where nothing was fitted.
    """

    tokens_per_parameter: float = Field(20.0, gt=0)
    width_per_layer: int = Field(32, gt=0, multiple_of=16)
    batch: tuple[float, float] = (0.2920, 0.3271)
    rate: tuple[float, float] = (0.3118, -0.1250)
    warmup: float = Field(0.05, ge=0, lt=1)
    most_epochs: float = Field(40.0, ge=1)
    law: ScalingLaw | None = None


class Plan(Config):
    """What the dial chose, as it is kept in the run's config.

    Attributes:
        budget: as it was asked for.
        parameters, tokens: see `ScalingLaw`.
        unique: tokens of the corpus, about.
        flops: of all steps, by the rule of `token_flops`.
        seconds: that the steps are to take on the machine that the plan was made on.
        predicted: validation loss in nats per token; None without a law for this corpus.
    """

    budget: str
    parameters: int
    tokens: float
    unique: float
    flops: float
    seconds: float
    predicted: float | None = None

    @property
    def epochs(self) -> float:
        """How often the corpus is read."""
        return self.tokens / self.unique
