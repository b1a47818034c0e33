"""Which bytes each entry of a vocabulary stands for."""

from __future__ import annotations

import json
import re
from typing import Any

from peluche.errors import ConfigError
from peluche.text.pipelines import BYTE_CHARACTERS
from peluche.text.tokenizer import Tokenizer

# Decoders of the `tokenizers` library that spell each token by itself.
KNOWN = {"ByteLevel", "Metaspace", "Replace", "ByteFallback", "Fuse", "Strip"}
_FROM_BYTE_LEVEL = {ord(character): byte for byte, character in enumerate(BYTE_CHARACTERS)}
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def token_bytes(tokenizer: Tokenizer) -> dict[int, bytes]:
    """The bytes of every entry that is text, by id; those of a text are its tokens' in order.

    The space before a word is part of its first token, also at the beginning of a text, where
    `Tokenizer.decode` leaves it out.

    Raises:
        ConfigError: what an entry stands for depends on those around it, as in BERT's vocabulary.
    """
    specification = json.loads(tokenizer.to_json())
    steps = _steps(specification["decoder"])
    added = {token["id"] for token in specification["added_tokens"]}
    special = tokenizer.special_ids
    return {
        number: text.encode() if number in added else _spell(text, steps)
        for number, text in enumerate(tokenizer.tokens())
        if number not in special
    }


def _steps(decoder: dict[str, Any] | None) -> list[dict[str, Any]]:
    parts = (decoder or {}).get("decoders", [decoder])
    unknown = [
        str((part or {}).get("type")) for part in parts if (part or {}).get("type") not in KNOWN
    ]
    if unknown:
        raise ConfigError(
            "what this tokenizer's entries stand for depends on those around them "
            f"({', '.join(unknown)})",
            where="decoder in tokenizer.json",
            remedy="use a byte-level, BPE or Unigram tokenizer",
        )
    return parts


def _spell(text: str, steps: list[dict[str, Any]]) -> bytes:
    for step in steps:
        if step["type"] == "ByteLevel":
            return text.translate(_FROM_BYTE_LEVEL).encode("latin-1")
        if step["type"] == "Metaspace":
            text = text.replace(step["replacement"], " ")
        elif step["type"] == "Replace":
            pattern = step["pattern"]
            found = pattern["Regex"] if "Regex" in pattern else re.escape(pattern["String"])
            text = re.sub(found, step["content"], text)
        elif step["type"] == "ByteFallback" and (byte := _BYTE.fullmatch(text)):
            return bytes([int(byte[1], 16)])
    return text.encode()
