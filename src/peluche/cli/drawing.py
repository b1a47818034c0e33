"""The options of verbs that choose tokens one by one, and the record that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from peluche.errors import ConfigError

if TYPE_CHECKING:
    from peluche.generation.sampling import SamplingParameters

Temperature = Annotated[float | None, Option(help="sharper below 1; 0: the likeliest token")]
TopK = Annotated[int | None, Option(help="draw from the k likeliest")]
TopP = Annotated[float | None, Option(help="draw from the likeliest that hold p")]
MinP = Annotated[float | None, Option(help="draw from those with a share of the likeliest")]
TypicalP = Annotated[float | None, Option(help="draw from the most typical that hold p")]
RepetitionPenalty = Annotated[float | None, Option(help="divides logits of what was read or said")]
PresencePenalty = Annotated[float | None, Option(help="off logits of what was said")]
FrequencyPenalty = Annotated[float | None, Option(help="off logits each time it was said")]
LogitBias = Annotated[
    list[str] | None, Option(metavar="ID=BIAS", help="on the logit of a token; may be repeated")
]
Seed = Annotated[int | None, Option(help="equal seeds, equal draws")]


NAMES = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "seed",
)


def given(context: typer.Context) -> dict[str, Any]:
    """Those options that were given to a verb whose parameters have these `NAMES`.

    Raises:
        ConfigError: a --logit-bias that is not ID=BIAS.
    """
    values = {name: context.params.get(name) for name in NAMES}
    if biases := values["logit_bias"]:
        values["logit_bias"] = dict(_pair(text) for text in biases)
    return {name: value for name, value in values.items() if value not in (None, [], ())}


def parameters(values: dict[str, Any]) -> SamplingParameters:
    """The record of options as `given` returns them.

    Raises:
        ConfigError: a value out of range.
    """
    from peluche.generation.sampling import SamplingParameters

    return SamplingParameters.parse(values, where="the sampling options")


def _pair(text: str) -> tuple[int, float]:
    try:
        number, bias = text.split("=")
        return int(number), float(bias)
    except ValueError:
        raise ConfigError(
            f"--logit-bias {text}: not ID=BIAS",
            remedy="write e.g. --logit-bias 42=-100",
        ) from None
