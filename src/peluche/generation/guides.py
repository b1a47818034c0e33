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
from peluche.generation.json_schemas import followable
from peluche.text.token_bytes import token_bytes
from peluche.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import llguidance


class JsonSchemaGuide(Config):
    """JSON that is valid by a JSON schema (draft 2020-12, what llguidance knows of it)."""

    kind: Literal["json_schema"] = "json_schema"
    json_schema: dict[str, Any] = Field(description="{} for any JSON")
    whitespace: int = Field(
        16, ge=0, description="the most spaces and line breaks in a row outside strings; 0: none"
    )

    def grammar(self) -> str:
        """What llguidance reads."""
        from llguidance import LLMatcher

        # Models are known to write spaces for ever where they are let.
        return LLMatcher.grammar_from_json_schema(
            followable(self.json_schema),
            overrides={"whitespace_pattern": f"[ \\t\\r\\n]{{1,{self.whitespace}}}"}
            if self.whitespace
            else {"whitespace_flexible": False},
        )


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

        texts = (json.dumps(choice, ensure_ascii=False) for choice in self.choices)
        return LLMatcher.grammar_from_lark("start: " + " | ".join(texts))


GuideConfig = Annotated[
    JsonSchemaGuide | RegexGuide | GrammarGuide | ChoiceGuide, Field(discriminator="kind")
]


class Guide:
    """Where one text is in its grammar. Made by `GuideFactory.build`.

    Args:
        gaps: whether there are letters that the vocabulary cannot write.
    """

    def __init__(self, matcher: llguidance.LLMatcher, vocabulary: int, *, gaps: bool) -> None:
        self._matcher, self._vocabulary, self._gaps = matcher, vocabulary, gaps

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
        if self._gaps:
            return DataError(
                "this model has no token for what the guide asks for next",
                where="the guide of this request",
                remedy="use a model with a byte-level tokenizer, or ask for what it can write",
            )
        error = self._matcher.get_error().partition("\n")[0]
        return DataError(
            f"the guide allows nothing more: {error or 'no token goes on with it'}",
            where="the guide of this request",
            remedy="loosen the guide",
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
                remedy="pip install 'peluche[guided]'",
            ) from None
        if tokenizer.eos_id < 0:
            raise ConfigError(
                "this tokenizer has no token that ends a text, which a guide needs",
                remedy="use a model whose tokenizer has one",
            )
        self.vocabulary = vocabulary or len(tokenizer)
        spelling = _Spelling(tokenizer, self.vocabulary)
        self._gaps = spelling.gaps
        self._tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(spelling))

    def build(self, config: GuideConfig) -> Guide:
        """A guide at its beginning.

        Raises:
            ConfigError: llguidance cannot read the schema, expression or grammar.
        """
        import llguidance

        limits = llguidance.LLParserLimits(verbose_errors=False)
        try:
            grammar = config.grammar()
        # Half characters, numbers too large, too many levels: it is not even passed on.
        except (ValueError, OverflowError, RecursionError) as error:
            raise _unusable(config, str(error)) from None
        matcher = llguidance.LLMatcher(self._tokenizer, grammar, log_level=0, limits=limits)
        if matcher.is_error():
            raise _unusable(config, matcher.get_error())
        return Guide(matcher, self.vocabulary, gaps=self._gaps)


def _unusable(config: GuideConfig, why: str) -> ConfigError:
    return ConfigError(
        f"the {config.kind.replace('_', ' ')} cannot be used: {why}",
        where="the guide of this request",
        remedy="change or leave out what it names; docs/sampling.md says what can be used",
    )


class _Spelling:
    """A tokenizer as llguidance wants it (`llguidance.TokenizerWrapper`)."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, vocabulary: int) -> None:
        self._tokenizer, self._spelt = tokenizer, token_bytes(tokenizer)
        self._ids = {text: number for number, text in self._spelt.items() if text}
        self._longest = max(map(len, self._ids), default=0)
        self.gaps = any(bytes([letter]) not in self._ids for letter in range(0x20, 0x7F))
        self.eos_token_id = tokenizer.eos_id
        self.tokens = [self._spelt.get(number, b"") for number in range(vocabulary)]
        self.special_token_ids = sorted(set(range(vocabulary)) - set(self._spelt))

    def __call__(self, text: bytes) -> list[int]:
        """Tokens that spell what has to come next: the tokenizer's own, if they do so exactly."""
        tokens = self._tokenizer.encode(text.decode())
        if b"".join(self._spelt.get(token, b"") for token in tokens) == text:
            return tokens
        # It has changed the case, put a space before, or does not know a letter.
        found, at = [], 0
        while at < len(text):
            ends = range(min(len(text), at + self._longest), at, -1)
            end = next((end for end in ends if text[at:end] in self._ids), None)
            if end is None:
                break
            found.append(self._ids[text[at:end]])
            at = end
        return found
