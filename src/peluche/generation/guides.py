"""Guides: what is written follows a JSON schema, an expression, a grammar or a list of choices.

The `llguidance` package says which tokens may come next.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Bool
from pydantic import Field
from torch import Tensor

from peluche.config import Config
from peluche.errors import ConfigError, DataError, MissingExtraError
from peluche.text.token_bytes import token_bytes
from peluche.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import llguidance


class JsonSchemaGuide(Config):
    """JSON that is valid by a JSON schema (draft 2020-12, what llguidance knows of it)."""

    kind: Literal["json_schema"] = "json_schema"
    json_schema: dict[str, Any] = Field(description="{} for any JSON")

    def grammar(self) -> str:
        """What llguidance reads."""
        from llguidance import LLMatcher

        return LLMatcher.grammar_from_json_schema(self.json_schema)


class RegexGuide(Config):
    """Text that a regular expression matches as a whole (syntax of Rust's `regex`)."""

    kind: Literal["regex"] = "regex"
    pattern: str

    def grammar(self) -> str:
        """What llguidance reads."""
        from llguidance import LLMatcher

        return LLMatcher.grammar_from_regex(self.pattern)


class GrammarGuide(Config):
    """Text that a context-free grammar derives from `start`, in Lark's notation."""

    kind: Literal["grammar"] = "grammar"
    lark: str

    def grammar(self) -> str:
        """What llguidance reads."""
        from llguidance import LLMatcher

        return LLMatcher.grammar_from_lark(self.lark)


class ChoiceGuide(Config):
    """One of several texts."""

    kind: Literal["choice"] = "choice"
    choices: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)

    def grammar(self) -> str:
        """What llguidance reads."""
        from llguidance import LLMatcher

        return LLMatcher.grammar_from_lark("start: " + " | ".join(map(json.dumps, self.choices)))


GuideConfig = Annotated[
    JsonSchemaGuide | RegexGuide | GrammarGuide | ChoiceGuide, Field(discriminator="kind")
]


class Guide:
    """Where one text is in its grammar. Made by `GuideFactory.build`."""

    def __init__(self, matcher: llguidance.LLMatcher, vocabulary: int) -> None:
        self._matcher, self._vocabulary = matcher, vocabulary

    def allowed(self) -> Bool[Tensor, "vocabulary"]:
        """Which tokens may come next; [EOS] where the text may end.

        Raises:
            DataError: none may: the vocabulary cannot write what the grammar asks for, or the
                grammar is too much for llguidance.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(bits, count=self._vocabulary, bitorder="little").view(bool)
        if self._matcher.is_error() or not allowed.any():
            raise self._stuck()
        return torch.from_numpy(allowed)

    def advance(self, token: int) -> bool:
        """This token was chosen; whether nothing but [EOS] can follow.

        Raises:
            DataError: it was not allowed.
        """
        if not self._matcher.consume_token(token):
            raise self._stuck()
        return self._matcher.is_stopped()

    def _stuck(self) -> DataError:
        said = self._matcher.get_error() or "no token of the vocabulary goes on with it"
        return DataError(
            f"the guide allows nothing more: {said}",
            where="the guide of this request",
            remedy="loosen the schema or grammar, or use a byte-level tokenizer",
        )


class GuideFactory:
    """Makes guides for one tokenizer.

    Args:
        vocabulary: columns of the model's logits, if there are more than the tokenizer's entries.

    Raises:
        MissingExtraError: llguidance is not installed.
        ConfigError: it is not known which bytes the tokenizer's entries stand for, or none ends a
            text.
    """

    def __init__(self, tokenizer: Tokenizer, vocabulary: int | None = None) -> None:
        try:
            import llguidance
        except ImportError:
            raise MissingExtraError(
                "guides need the package llguidance, which is not installed",
                remedy="pip install peluche[guided]",
            ) from None
        if tokenizer.eos_id < 0:
            raise ConfigError(
                "this tokenizer has no token that ends a text, which a guide needs",
                remedy="use a model whose tokenizer has one",
            )
        self.vocabulary = vocabulary or len(tokenizer)
        wrapper = llguidance.TokenizerWrapper(_Bytes(tokenizer, self.vocabulary))
        self._tokenizer = llguidance.LLTokenizer(wrapper)

    def build(self, config: GuideConfig) -> Guide:
        """A guide at its beginning.

        Raises:
            ConfigError: llguidance cannot read the schema, expression or grammar.
        """
        import llguidance

        matcher = llguidance.LLMatcher(self._tokenizer, config.grammar(), log_level=0)
        if matcher.is_error():
            raise ConfigError(
                f"the {config.kind.replace('_', ' ')} cannot be used: {matcher.get_error()}",
                where="the guide of this request",
            )
        return Guide(matcher, self.vocabulary)


class _Bytes:
    """A tokenizer as llguidance wants it (`llguidance.TokenizerWrapper`)."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, vocabulary: int) -> None:
        spelt = token_bytes(tokenizer)
        self.eos_token_id = tokenizer.eos_id
        self.tokens = [spelt.get(number, b"") for number in range(vocabulary)]
        self.special_token_ids = sorted(set(range(vocabulary)) - set(spelt))
        self._tokenizer = tokenizer

    def __call__(self, text: bytes | str) -> list[int]:
        return self._tokenizer.encode(text.decode() if isinstance(text, bytes) else text)
