"""What each token spells, together, is the text."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer as Rust
from tokenizers import decoders, models

from peluche.errors import ConfigError
from peluche.text.token_bytes import token_bytes
from peluche.text.tokenizer import SpecialIds, Tokenizer, TokenizerConfig

TEXTS = ["The cat's hat, 42 l'été!", "naïve  words", "日本 #hash ##x", "un-do it"]
KINDS = [
    {"kind": "word"},
    {"kind": "character"},
    {"kind": "byte"},
    {"kind": "bpe", "vocab_size": 120},
    {"kind": "bpe", "vocab_size": 400, "byte_level": True},
    {"kind": "wordpiece", "vocab_size": 120},
    {"kind": "unigram", "vocab_size": 120},
]


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("text", TEXTS)
def test_the_bytes_of_tokens_are_those_of_the_text(options, text):
    tokenizer = TokenizerConfig.parse(options).build(TEXTS * 3)
    spelt = token_bytes(tokenizer)
    found = b"".join(spelt[token] for token in tokenizer.encode(text)).decode()
    # Tokenizers of words put a space before the first.
    assert found.removeprefix(" ") == tokenizer.decode(tokenizer.encode(text))
    assert set(spelt) == set(range(len(tokenizer))) - tokenizer.special_ids


def rust(decoder: object, *words: str) -> Tokenizer:
    found = Rust(models.WordLevel({word: number for number, word in enumerate(words)}, words[0]))
    found.decoder = decoder
    found.pre_tokenizer = None
    return Tokenizer(found, SpecialIds(-1, -1, -1, -1))


def test_a_tokenizer_as_llama_has_it():
    llama = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer = rust(llama, "▁the", "<0xC3>", "<0xA9>", "<0xG0>", "a▁b")
    assert list(token_bytes(tokenizer).values()) == [b" the", b"\xc3", b"\xa9", b"<0xG0>", b"a b"]


def test_words_that_were_added_are_spelt_as_they_are():
    tokenizer = rust(decoders.ByteLevel(), "Ġthe", "Ã", "©")
    tokenizer._rust.add_tokens(["Ġ é"])
    tokenizer = Tokenizer(tokenizer._rust, tokenizer.special)
    assert token_bytes(tokenizer) == {0: b" the", 1: b"\xc3", 2: b"\xa9", 3: "Ġ é".encode()}


@pytest.mark.parametrize("decoder", [decoders.WordPiece(), decoders.BPEDecoder(), None])
def test_tokens_that_depend_on_others_have_no_bytes(decoder):
    tokenizer = rust(decoder or decoders.Fuse(), "the")
    if decoder is None:
        tokenizer._rust.decoder = None
    with pytest.raises(ConfigError, match="depends on those around them"):
        token_bytes(tokenizer)
