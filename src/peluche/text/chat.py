"""Conversations as the tokens that a model was trained to talk in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from peluche.config import Config
from peluche.errors import CheckpointError, DataError
from peluche.text.pretrained import read_settings
from peluche.text.templates import Template
from peluche.text.tokenizer import Tokenizer

TURN, TURN_END = "<|im_start|>", "<|im_end|>"
# What runs talk in that were trained here with TURN and TURN_END among `tokenizer.special`.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Characters without a meaning (Unicode's private use), to mark what people wrote.
MARKS = range(0xF0000, 0x10FFFE)
PROBE = "probe"


class Message(Config):
    """What somebody said."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class ChatSource(NamedTuple):
    """What a model's files say about how it talks.

    Attributes:
        template: in Jinja2.
        tokens: special tokens that it may ask for by name, such as `bos_token`.
    """

    template: str
    tokens: Mapping[str, str] = {}


class ChatFormat:
    """Conversations to tokens.

    Special tokens that a message spells stay text: they are marked before the template sees them,
    and what is marked is encoded apart, by a tokenizer to which no text is special. Only what the
    template itself writes becomes special tokens.

    Args:
        where: the model, for messages.

    Raises:
        CheckpointError: the template is none.
    """

    def __init__(self, source: ChatSource, tokenizer: Tokenizer, where: object = None) -> None:
        self.tokenizer, self.source = tokenizer, source
        self.template = Template(source.template, where)
        special = {tokenizer.token(number) for number in tokenizer.special_ids}
        longest_first = sorted(special, key=len, reverse=True)
        self._spelt = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def render(self, messages: Sequence[Message], *, answer: bool = True, **options: Any) -> str:
        """The conversation as one text, as `transformers` shows it.

        Args:
            answer: end where the model is to answer.
            options: what else this template asks for, e.g. `enable_thinking`.

        Raises:
            DataError: the template refuses the messages.
        """
        plain = [message.model_dump() for message in messages]
        return self._render(plain, answer, options)

    def encode(
        self, messages: Sequence[Message], *, answer: bool = True, **options: Any
    ) -> list[int]:
        """The conversation's tokens; see `render`.

        Raises:
            DataError: the template refuses the messages.
        """
        begin, end = _unused("".join([self.source.template, *(m.content for m in messages)]))
        marked = [
            {"role": m.role, "content": self._spelt.sub(rf"{begin}\g<0>{end}", m.content)}
            for m in messages
        ]
        text = self._render(marked, answer, options)
        # Text, marked, text, …; a template that cuts texts may leave a mark alone, which goes.
        parts = re.split(f"{begin}({self._spelt.pattern}){end}|[{begin}{end}]", text)
        tokens: list[int] = []
        for number, part in enumerate(parts):
            if part and number % 2:
                tokens += self.tokenizer.encode(part)
            elif part:
                tokens += self.tokenizer.encode_special(part)
        return tokens

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens that end an answer: what the template writes after it, and the model's own end."""
        asked = Message(role="user", content=PROBE)
        told = Message(role="assistant", content=PROBE)
        said = self.render([asked, told], answer=False)
        after = self._spelt.search(said, max(said.rfind(PROBE), 0))
        written = None if after is None else self.tokenizer.id(after[0])
        found = {self.tokenizer.eos_id} - {-1}
        return frozenset(found if written is None else found | {written})

    def _render(self, messages: list[dict[str, str]], answer: bool, options: Any) -> str:
        values = {**self.source.tokens, "tools": None, "documents": None, **options}
        return self.template.render(
            {**values, "messages": messages, "add_generation_prompt": answer}
        )


def from_gguf(metadata: Mapping[str, Any]) -> ChatSource | None:
    """What a GGUF file's metadata say; None without a template."""
    template = metadata.get("tokenizer.chat_template")
    if not isinstance(template, str):
        return None
    names = metadata.get("tokenizer.ggml.tokens", [])
    tokens = {}
    for ours, theirs in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        number = metadata.get(f"tokenizer.ggml.{theirs}_token_id")
        if number is not None and 0 <= number < len(names):
            tokens[f"{ours}_token"] = names[number]
    return ChatSource(template, tokens)


def from_folder(folder: Path) -> ChatSource | None:
    """What a folder of `transformers` says; None without a template.

    `chat_template.jinja` comes before the templates in `tokenizer_config.json`.
    """
    settings = read_settings(folder / "tokenizer_config.json")
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}
        template = named.get("default")
    file = folder / "chat_template.jinja"
    if file.is_file():
        try:
            template = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(
                f"the chat template cannot be read: {error}",
                where=file,
                remedy="get the model again",
            ) from None
    if not isinstance(template, str):
        return None
    tokens = {}
    for name, token in settings.items():
        token = token.get("content") if isinstance(token, dict) else token
        if name.endswith("_token") and isinstance(token, str):
            tokens[name] = token
    return ChatSource(template, tokens)


def of_tokenizer(tokenizer: Tokenizer) -> ChatSource | None:
    """Our own, for a tokenizer that was learnt with its special tokens; None for any other."""
    special = {tokenizer.token(number) for number in tokenizer.special_ids}
    return ChatSource(CHATML) if {TURN, TURN_END} <= special else None


def _unused(text: str) -> tuple[str, str]:
    """Two characters that a text does not have."""
    used = set(text)
    free = list(islice((chr(mark) for mark in MARKS if chr(mark) not in used), 2))
    if len(free) < 2:
        raise DataError(
            "this text has every character of Unicode's private planes",
            remedy="leave some of them out",
        )
    return free[0], free[1]
