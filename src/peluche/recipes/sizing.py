"""A recipe brought to a size: shape, batch, learning rate and steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from peluche.models.decoder import DecoderConfig
from peluche.recipes.language import LanguageRecipe
from peluche.recipes.own_text import described as texts
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.scaling_law import DialConfig, Plan, effective_tokens

MANY_EPOCHS = 4  # so many are worth almost as much as new text (Muennighoff et al. 2023, §6)


class Shape(NamedTuple):
    """What is chosen of a model."""

    layers: int
    width: int

    @property
    def heads(self) -> int:
        """Heads of 32 features, or of 16 where 32 does not divide the width."""
        return self.width // (16 if self.width % 32 else 32)


def sizes(dial: DialConfig) -> Iterator[Shape]:
    """Shapes from small to large, each about 1.5 times the last in parameters, without end."""
    width = 32
    while True:
        yield Shape(max(1, round(width / dial.width_per_layer)), width)
        width += 16 if width < 128 else 32 if width < 512 else 64


def turned(recipe: LanguageRecipe, shape: Shape, tokens: float, flops: float) -> LanguageRecipe:
    """A recipe with a shape, and batch, learning rate and steps for so many tokens.

    Args:
        flops: of training per token.
    """
    assert recipe.dial is not None
    dial, work = recipe.dial, flops * tokens
    wanted = dial.batch[0] * work ** dial.batch[1]
    parts = recipe.training.accumulate
    batch = max(1, round(wanted / recipe.batching.length / parts)) * recipe.batching.length
    steps = max(1, round(tokens / batch / parts))
    return changed(
        recipe,
        {
            "model": shaped(recipe, shape).model_dump(mode="json"),
            "batching.tokens": batch,
            "optimizer.lr": dial.rate[0] * work ** dial.rate[1],
            "schedule.warmup": round(dial.warmup * steps),
            "training.steps": steps,
            "training.epochs": None,
            "training.minutes": None,
            "training.evaluate_every": steps,
            "training.checkpoint_every": steps,
        },
    )


def step_tokens(recipe: LanguageRecipe) -> int:
    """Tokens of an optimizer step."""
    return recipe.batching.rows * recipe.batching.length * recipe.training.accumulate


def described(plan: Plan, recipe: LanguageRecipe) -> str:
    """The plan for people."""
    model, batching = recipe.model, recipe.batching
    assert isinstance(model, DecoderConfig)
    lines = [
        f"plan for {plan.budget}:",
        f"  texts: {texts(recipe.data.train)}, validated on {texts(recipe.data.validation)}",
        f"  {model.layers} layer{'s' * (model.layers != 1)} of width {model.d_model}, "
        f"{model.heads} head{'s' * (model.heads != 1)}: "
        f"{plan.parameters:,} parameters",
        f"  {plan.tokens:,.0f} tokens, {plan.tokens / plan.parameters:.1f} for each parameter, "
        f"in batches of {batching.rows * recipe.training.accumulate} × {batching.length}; "
        f"learning rate {recipe.optimizer.lr:.2g}",
        f"  {plan.flops:.3g} FLOPs in {plan.seconds:,.0f} s of training on this machine",
    ]
    if plan.epochs > 1:
        worth = effective_tokens(plan.tokens, plan.unique)
        lines.append(
            f"  the corpus has {plan.unique:,.0f} tokens and is read {plan.epochs:.1f} times, "
            f"worth {worth:,.0f} new ones"
        )
    if plan.epochs > MANY_EPOCHS:
        lines.append("  more text would do more than more time: name it with data.train=…")
    if recipe.dial is not None and plan.epochs > 0.99 * recipe.dial.most_epochs:
        lines.append("  the budget is not used up: reading the corpus more often teaches nothing")
    if plan.predicted is None:
        lines.append("  no loss is predicted: the recipe's law was not fitted on this corpus")
    else:
        lines.append(f"  predicted validation loss: {plan.predicted:.3f} nats a token")
    return "\n".join(lines)


def shaped(recipe: LanguageRecipe, shape: Shape) -> Any:
    """The recipe's model in this shape."""
    wide = {
        "layers": shape.layers, "d_model": shape.width, "heads": shape.heads, "kv_heads": None,
        "head_width": None, "d_ff": 4 * shape.width,
    }  # fmt: skip
    return type(recipe.model).parse({**recipe.model.model_dump(), **wide})


def changed(recipe: LanguageRecipe, changes: dict[str, Any]) -> LanguageRecipe:
    """The recipe with other values at keys such as `model.layers`."""
    values = recipe.model_dump(mode="json")
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = values
        for parent in parents:
            place = place[parent]
        place[last] = value
    sized = parse_recipe(values)
    assert isinstance(sized, LanguageRecipe)
    return sized
