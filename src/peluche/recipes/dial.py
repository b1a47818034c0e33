"""The dial: a budget picks width, depth, batch, learning rate and tokens for this machine."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from peluche.errors import ConfigError
from peluche.models.costs import token_flops
from peluche.models.decoder import DecoderConfig
from peluche.nn.machine import main_memory, product_rate, tune_allocator
from peluche.recipes.base import Recipe, Say
from peluche.recipes.language import LanguageRecipe
from peluche.recipes.measuring import corpus_name, read_corpus, step_seconds
from peluche.recipes.scaling_law import Plan, effective_tokens
from peluche.recipes.sizing import Shape, changed, described, shaped, sizes, step_tokens, turned

UNITS = {"s": 1, "sec": 1, "min": 60, "h": 3600}
CHOSEN = (
    "model.d_model", "model.layers", "model.heads", "model.kv_heads", "model.head_width",
    "model.d_ff", "batching.tokens", "optimizer.lr", "schedule.warmup", "training.steps",
    "training.epochs", "training.minutes", "training.evaluate_every",
    "training.checkpoint_every", "plan",
)  # fmt: skip
MEASUREMENTS = 4
EVALUATING = 0.1  # at most this share of the time
FEW_STEPS = 20
# Of a parameter while it is trained: itself, its gradient, and two means, in float32.
TRAINED_BYTES = 16


@dataclass(frozen=True)
class Budget:
    """Seconds or floating-point operations; neither: as much as a depth's size calls for."""

    text: str
    seconds: float | None = None
    flops: float | None = None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """From `90s`, `10min`, `2h` or `1e15flop`.

        Raises:
            ConfigError: it is neither.
        """
        found = re.fullmatch(r"\s*([0-9.]+(?:e\+?[0-9]+)?)\s*([a-z]+?)s?\s*", text.lower())
        try:
            number, unit = float(found[1]) if found else 0.0, found[2] if found else ""
        except ValueError:
            number = 0.0
        if number > 0 and math.isfinite(number) and unit in UNITS:
            return cls(text, seconds=number * UNITS[unit])
        if number > 0 and math.isfinite(number) and unit == "flop":
            return cls(text, flops=number)
        raise ConfigError(
            f"'{text}' is not a budget", remedy="write a time or work: 90s, 10min, 2h, 1e15flop"
        )


class Planner:
    """Sizes a recipe; `seconds` of a step are measured on this machine.

    Raises:
        ConfigError: the recipe has no `dial` section, or is not of a decoder.
    """

    def __init__(self, recipe: Recipe, say: Say) -> None:
        if (
            not isinstance(recipe, LanguageRecipe)
            or not isinstance(recipe.model, DecoderConfig)
            or recipe.dial is None
        ):
            raise ConfigError(
                f"the recipe '{recipe.name}' cannot be sized by a budget",
                remedy="give a decoder's with a dial section, such as gpt; or training.minutes=10, "
                "which changes how long a run takes and nothing else",
            )
        self.recipe, self.dial, self.say = recipe, recipe.dial, say
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if recipe.training.threads is not None:
            torch.set_num_threads(recipe.training.threads)
        tune_allocator()
        self.corpus = read_corpus(recipe)

    def plan(
        self, budget: Budget, layers: int | None = None, *, started: float, scored: bool = True
    ) -> LanguageRecipe:
        """The sized recipe, with its `plan`.

        Args:
            layers: fixes the depth; the width follows.
            started: `time.monotonic()` that the budget's time runs from.
            scored: whether the model is to be scored after training, which takes time too.
        """
        fixed = None if layers is None else Shape(layers, layers * self.dial.width_per_layer)
        if fixed is not None:
            self._check_memory(self.counts(fixed)[0])
        if budget.flops is not None:
            shape = fixed or self._best(budget.flops)
            tokens = budget.flops / self.counts(shape)[1]
        elif budget.seconds is not None:
            shape, rate = self._measured(budget.seconds, fixed)
            tokens = rate * budget.seconds / self.counts(shape)[1]
        else:
            assert fixed is not None
            shape = fixed
            tokens = self.dial.tokens_per_parameter * self.counts(shape)[0]
        most = self.dial.most_epochs * self.corpus.training
        sized = turned(self.recipe, shape, min(tokens, most), self.counts(shape)[1])
        step, evaluation = step_seconds(sized, self.corpus, self.device)
        steps, evaluations = sized.training.steps or 1, 5
        if budget.seconds is not None:
            left = budget.seconds - (time.monotonic() - started) - self.corpus.seconds
            evaluations = max(1, min(10, int(EVALUATING * budget.seconds / evaluation)))
            steps = max(1, int((left - (evaluations + scored) * evaluation) / step))
        steps = min(steps, max(1, int(most / step_tokens(sized))))
        return self._planned(sized, budget, steps, evaluations, step)

    def _check_memory(self, parameters: int) -> None:
        """See that weights, gradients and what the optimizer keeps of both fit.

        Raises:
            ConfigError: they do not.
        """
        needed, there = parameters * TRAINED_BYTES, main_memory()
        if self.device.type == "cpu" and there is not None and needed > there:
            raise ConfigError(
                f"this asks for a model of {parameters:,} parameters or more, which takes "
                f"{needed / 1e9:,.0f} GB to train; this machine has {there / 1e9:,.0f}",
                where="--budget or --depth",
                remedy="give a smaller one",
            )

    def _planned(
        self, sized: LanguageRecipe, budget: Budget, steps: int, evaluations: int, step: float
    ) -> LanguageRecipe:
        assert isinstance(sized.model, DecoderConfig)
        parameters, flops = self.counts(Shape(sized.model.layers, sized.model.d_model))
        tokens = float(steps * step_tokens(sized))
        law = self.dial.law
        here = (corpus_name(self.recipe.data.train), self.corpus.vocabulary)
        fits = law is not None and (law.fitted_on, law.vocabulary) == here
        plan = Plan(
            budget=budget.text,
            parameters=parameters,
            tokens=tokens,
            unique=self.corpus.training,
            flops=flops * tokens,
            seconds=step * steps,
            predicted=law.loss(parameters, tokens, self.corpus.training) if law and fits else None,
        )
        self.say(described(plan, sized))
        if budget.seconds is not None and steps < FEW_STEPS:
            self.say(f"  {steps} steps teach it next to nothing: give it more time")
        every = -(-steps // evaluations)
        return changed(
            sized,
            {
                "training.steps": steps,
                "training.evaluate_every": every,
                "training.checkpoint_every": every,
                "schedule.warmup": round(self.dial.warmup * steps),
                "plan": plan.model_dump(),
            },
        )

    def _best(self, flops: float) -> Shape:
        """The shape that so much work gives nearest to the wanted tokens for each parameter."""
        before: tuple[float, Shape] | None = None
        for shape in sizes(self.dial):
            parameters, each = self.counts(shape)
            self._check_memory(parameters)
            tokens = effective_tokens(flops / each, self.corpus.training)
            over = math.log(tokens / parameters / self.dial.tokens_per_parameter)
            if over <= 0:
                return shape if before is None or -over < before[0] else before[1]
            before = over, shape
        raise AssertionError("sizes do not end")

    def _measured(self, seconds: float, fixed: Shape | None) -> tuple[Shape, float]:
        """The best shape for a time, and the operations a second that are done with it.

        What a shape reaches is measured, which may make another the best, until none is.
        """
        rate = product_rate(self.device) / 3
        shape = fixed or self._best(rate * seconds)
        for _ in range(MEASUREMENTS):
            each = self.counts(shape)[1]
            trial = turned(self.recipe, shape, rate * seconds / each, each)
            step, _ = step_seconds(trial, self.corpus, self.device)
            rate = each * step_tokens(trial) / step
            better = fixed or self._best(rate * seconds)
            if better == shape:
                break
            shape = better
        return shape, rate

    def counts(self, shape: Shape) -> tuple[int, float]:
        """Parameters, and operations of training per token."""
        with torch.device("meta"):
            sized = self.recipe.model_copy(update={"model": shaped(self.recipe, shape)})
            model = sized.built(self.corpus.vocabulary)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return parameters, token_flops(model, self.recipe.batching.length)


def turn(
    recipe: Recipe,
    budget: str | None,
    depth: int | None,
    changes: Sequence[str],
    started: float,
    scored: bool,
    say: Say,
) -> LanguageRecipe:
    """What `--budget` and `--depth` make of a recipe; see `Planner.plan`.

    Args:
        changes: of the recipe, from the command line.

    Raises:
        ConfigError: no such budget, a change of what the dial chooses, a recipe without a dial.
    """
    for key in (change.partition("=")[0] for change in changes):
        if key in CHOSEN or key == "model":
            raise ConfigError(
                f"--budget and --depth choose {key} themselves", remedy="leave one of them out"
            )
    asked = Budget(f"{depth} layers") if budget is None else Budget.parse(budget)
    return Planner(recipe, say).plan(asked, depth, started=started, scored=scored)
