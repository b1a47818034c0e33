"""What is asked of a text generator, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from peluche.config import Config
from peluche.errors import ConfigError, DataError, PelucheError
from peluche.generation.config import DecodingConfig
from peluche.generation.guides import GuideConfig
from peluche.generation.sampling import SamplingParameters

# What has no meaning, or is not there, where texts are searched for.
SEARCHING = {"beams", "n_best", "length_penalty", "penalty_alpha", "candidates"}
NOT_SEARCHED = ("stop", "stop_tokens", "guide", "logprobs", "ignore_eos")
Overflow = Literal["error", "slide", "truncate"]
FinishReason = Literal["stop", "length", "cancelled", "error"]


class TextRequest(Config):
    """A prompt, and how to go on with it."""

    prompt: str | tuple[Annotated[int, Field(ge=0, lt=1 << 32)], ...] = Field(
        description="a text, or tokens as they are"
    )
    max_tokens: int = Field(200, ge=1, description="the most to write")
    sampling: SamplingParameters = SamplingParameters()
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="texts that end what is written, and are not part of it"
    )
    stop_tokens: frozenset[int] = Field(frozenset(), description="likewise, besides [EOS]")
    guide: GuideConfig | None = Field(None, description="what the text has to be like")
    logprobs: int | None = Field(
        None, ge=0, le=100, description="tokens with log-probabilities, and so many others at each"
    )
    ignore_eos: bool = False
    stream: int = Field(0, ge=0, description="tells requests of equal seed apart")
    on_overflow: Overflow = Field(
        "error",
        description="of a prompt that leaves no room for max_tokens: refuse it, leave its "
        "beginning out (truncate), or forget the beginning whenever the context is full (slide)",
    )

    beams: int = Field(1, ge=1, description="over 1: beam search, which follows so many texts")
    n_best: int = Field(1, ge=1, description="of a beam search, how many of the best are given")
    length_penalty: float = Field(
        1.0, ge=0, description="α of a beam search: log-probabilities are divided by length^α"
    )
    penalty_alpha: float | None = Field(
        None,
        ge=0,
        le=1,
        description="contrastive search, and how much it minds what is like before",
    )
    candidates: int = Field(4, ge=2, description="tokens that a contrastive search weighs")

    @property
    def search(self) -> DecodingConfig | None:
        """How texts are searched for; None if tokens are chosen one after the other."""
        if self.penalty_alpha is not None:
            return DecodingConfig(
                kind="contrastive", penalty_alpha=self.penalty_alpha, candidates=self.candidates
            )
        if self.beams == 1:
            return None
        return DecodingConfig(
            beams=self.beams, n_best=self.n_best, length_penalty=self.length_penalty
        )

    @model_validator(mode="after")
    def _searches_go_alone(self) -> Self:
        given = self.model_fields_set
        if self.beams > 1 and self.penalty_alpha is not None:
            raise ValueError("beams and penalty_alpha exclude each other; drop one of them")
        if self.beams == 1 and given & {"n_best", "length_penalty"}:
            raise ValueError("n_best and length_penalty are for a beam search; give beams")
        if self.penalty_alpha is None and "candidates" in given:
            raise ValueError("candidates are for a contrastive search; give penalty_alpha")
        if self.n_best > self.beams:
            raise ValueError(f"n_best {self.n_best} is more than beams {self.beams}")
        if self.beams == 1 and self.penalty_alpha is None:
            return self
        fields = type(self).model_fields
        others = [name for name in NOT_SEARCHED if getattr(self, name) != fields[name].default]
        others += sorted(self.sampling.model_fields_set - {"seed"})
        others += ["on_overflow slide"] * (self.on_overflow == "slide")
        if others:
            raise ValueError(
                f"a search (beams, penalty_alpha) goes without {', '.join(others)}; drop either"
            )
        return self

    @model_validator(mode="after")
    def _guides_stand_still(self) -> Self:
        if self.guide is not None and self.on_overflow == "slide":
            raise ValueError(
                "a guide has to see all that was written: on_overflow may be error or truncate"
            )
        return self

    @classmethod
    def flat(cls, values: Mapping[str, Any], *, where: str | None = None) -> TextRequest:
        """`parse`, but the sampling parameters stand beside the other settings.

        Raises:
            ConfigError: a setting that is not known, or out of range.
        """
        drawn = {key: values[key] for key in values if key in SamplingParameters.model_fields}
        others = {key: value for key, value in values.items() if key not in drawn}
        sampling = SamplingParameters.parse(drawn, where=where)
        unknown = set(others) - set(cls.model_fields)
        if unknown:
            known = sorted({*cls.model_fields, *SamplingParameters.model_fields} - {"sampling"})
            raise ConfigError(
                f"unknown key '{min(unknown)}'", where=where, remedy=f"known are {', '.join(known)}"
            )
        return cls.parse({**others, "sampling": sampling}, where=where)


class Said(NamedTuple):
    """A token that was written, or could have been.

    Attributes:
        text: of the token alone, as a person reads it.
        logprob: in nats, by the model itself.
        top: the likeliest tokens in its place, best first.
    """

    id: int
    text: str
    logprob: float
    top: tuple[Said, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values; `top` if there is any."""
        values: dict[str, Any] = {"token": self.text, "id": self.id, "logprob": self.logprob}
        return values | ({"top": [one.as_json() for one in self.top]} if self.top else {})


@dataclass
class Generated:
    """What came after a prompt.

    Attributes:
        text: without the prompt and without a stop string.
        tokens: without [EOS]; those of a search have no log-probabilities of their own (NaN).
        finish_reason: "stop" at [EOS], a stop string or the end of a guide; "length" at
            `max_tokens`.
        prompt_tokens: that were read, after what does not fit was left out.
        found: of a search, the score of the text: its log-probability, over length^α for beams.
        alternatives: of a search with `n_best`, what comes after the best: texts and scores.
    """

    request: TextRequest
    text: str = ""
    tokens: list[Said] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    error: PelucheError | None = None
    prompt_tokens: int = 0
    ended_by: Said | None = None
    found: float | None = None
    alternatives: list[tuple[str, float]] = field(default_factory=list)

    @property
    def score(self) -> float:
        """The mean log-probability of the tokens, and of what ended the text; or see `found`."""
        if self.found is not None:
            return self.found
        said = [*self.tokens, *([self.ended_by] if self.ended_by else [])]
        return sum(one.logprob for one in said) / len(said) if said else 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain values; log-probabilities if the request asked for them."""
        values: dict[str, Any] = {"prompt": self.request.prompt, "completion": self.text}
        values |= {"score": self.score, "finish_reason": self.finish_reason}
        values |= {"prompt_tokens": self.prompt_tokens, "completion_tokens": len(self.tokens)}
        if self.error is not None:
            values["error"] = str(self.error)
        if self.request.n_best > 1:
            values["alternatives"] = [
                {"completion": text, "score": score} for text, score in self.alternatives
            ]
        if self.request.logprobs is not None:
            values["logprobs"] = [one.as_json() for one in self.tokens]
        return values


class Piece(NamedTuple):
    """Some text of a request, as soon as it is sure.

    Attributes:
        result: what has been written so far.
        last: nothing follows; `result` is complete.
    """

    text: str
    result: Generated
    last: bool


def nothing_to_begin_with() -> DataError:
    """The error for a prompt without tokens."""
    return DataError(
        "this model has no token for the beginning of a text, so it cannot begin one",
        where="an empty prompt",
        remedy="give the first word",
    )


def no_room(
    prompt: str | tuple[int, ...], count: int, max_tokens: int, context: str, remedy: str
) -> DataError:
    """The error for a prompt of `count` tokens, and those to write, that are over the context.

    Args:
        context: how many there may be and why, such as "the model's 2048".
    """
    beginning = prompt[:40] if isinstance(prompt, str) else f"{len(prompt)} tokens"
    return DataError(
        f"a prompt of {count} tokens and {max_tokens} more are over {context}",
        where=f"the prompt '{beginning}'",
        remedy=f"give a shorter prompt, {remedy}",
    )
