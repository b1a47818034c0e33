"""Text as tokens come in: all of it in the end, nothing that changes later, no stop string."""

from __future__ import annotations

import json

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from peluche.errors import ConfigError
from peluche.text.streaming import TextStream
from peluche.text.tokenizer import SpecialIds, Tokenizer, TokenizerConfig

CORPUS = ["A cute teddy bear is reading.", "It's the children's bear: été, 🧸!", "the the bear"]
KINDS = {
    "word": {"kind": "word"},
    "character": {"kind": "character"},
    "byte": {"kind": "byte"},
    "bpe": {"kind": "bpe", "vocab_size": 90},
    "byte-level bpe": {"kind": "bpe", "vocab_size": 300, "byte_level": True},
    "wordpiece": {"kind": "wordpiece", "vocab_size": 100},
    "unigram": {"kind": "unigram", "vocab_size": 60},
}
BUILT = {
    name: TokenizerConfig.parse({**values, "normalization": "none", "special": ("[X]",)}).build(
        CORPUS
    )
    for name, values in KINDS.items()
}


def byte_fallback():
    """As Llama 2 has it: a space before the text, characters that are not known as <0x…>."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += ["▁", "▁a", "a", "▁b", "b", "é", "."]
    model = models.BPE(
        {token: number for number, token in enumerate(tokens)}, [], byte_fallback=True
    )
    rust = tokenizers.Tokenizer(model)
    rust.add_special_tokens(["<unk>", "<s>", "</s>"])
    rust.pre_tokenizer = pre_tokenizers.Metaspace()
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    rust.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    return Tokenizer(rust, SpecialIds(-1, 0, 1, 2))


BUILT["byte fallback"] = byte_fallback()
EMOJI = "👩‍👩‍👧 naïve 🧸🇫🇷 e\u0301 \ufffd 漢字"


def streamed(stream, tokens):
    return [*(stream.add(token) for token in tokens), stream.end()]


@pytest.mark.parametrize("name", BUILT)
@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_pieces_are_the_text_of_any_tokens(name, data):
    tokenizer = BUILT[name]
    ids = st.lists(st.integers(0, len(tokenizer) - 1), max_size=12)
    tokens = data.draw(ids)
    stream = TextStream(tokenizer)
    shown = ""
    for number, token in enumerate(tokens):
        shown += stream.add(token)
        # Nothing shown is ever taken back.
        assert tokenizer.decode(tokens[: number + 1]).startswith(shown)
    assert shown + stream.end() == tokenizer.decode(tokens)


@pytest.mark.parametrize("name", ["byte", "byte-level bpe"])
@given(text=st.text() | st.text(alphabet=EMOJI), before=st.text(max_size=4))
@settings(deadline=None)
def test_pieces_of_any_text_are_the_text_and_whole_characters(name, text, before):
    tokenizer = BUILT[name]
    pieces = streamed(
        TextStream(tokenizer, before=tokenizer.encode(before)), tokenizer.encode(text)
    )
    assert "".join(pieces) == text
    assert "\ufffd" in text or "\ufffd" not in "".join(pieces)


def test_an_emoji_over_several_tokens_appears_with_its_last_byte():
    tokenizer = BUILT["byte"]
    tokens = tokenizer.encode("a🧸b")
    assert streamed(TextStream(tokenizer), tokens) == ["a", "", "", "", "🧸", "b", ""]
    # Cut off within it, the rest is shown as what it is.
    assert streamed(TextStream(tokenizer), tokens[:3]) == ["a", "", "", "\ufffd"]


@pytest.mark.parametrize("name", BUILT)
def test_what_comes_before_decides_about_the_first_space(name):
    tokenizer = BUILT[name]
    before, after = tokenizer.encode("a"), tokenizer.encode("a b")[len(tokenizer.encode("a")) :]
    # Special tokens in between are not text.
    pieces = streamed(TextStream(tokenizer, before=[*before, tokenizer.eos_id]), after)
    known = tokenizer.decode(before)
    assert "".join(pieces) == tokenizer.decode([*before, *after])[len(known) :]


def plain(text, stops):
    """By definition: the stop string that ends first, and the longest of those."""
    for end in range(len(text) + 1):
        met = [stop for stop in stops if text[:end].endswith(stop)]
        if met:
            longest = max(met, key=len)
            return text[: end - len(longest)], longest
    return text, None


@given(
    text=st.text(alphabet="abé", max_size=14),
    stops=st.lists(st.text(alphabet="abé", min_size=1, max_size=4), min_size=1, max_size=3),
    data=st.data(),
)
@settings(deadline=None, max_examples=300)
def test_stop_strings_wherever_tokens_cut(text, stops, data):
    tokenizer = BUILT[data.draw(st.sampled_from(["byte", "byte-level bpe"]))]
    tokens = tokenizer.encode(text)
    stream = TextStream(tokenizer, stop=stops)
    expected, met = plain(text, stops)
    shown = ""
    for token in tokens:
        shown += stream.add(token)
        assert expected.startswith(shown)
    assert shown + stream.end() == expected
    assert stream.stopped == met
    assert met is None or streamed(stream, tokens) == [""] * (len(tokens) + 1)


def test_only_what_may_be_a_stop_string_is_held_back():
    tokenizer = BUILT["character"]
    pieces = streamed(TextStream(tokenizer, stop=["the children"]), tokenizer.encode("the bear"))
    assert pieces == ["", "", "", "", "the b", "e", "a", "r", ""]
    pieces = streamed(TextStream(tokenizer, stop=["the children"]), tokenizer.encode("is the"))
    assert pieces == ["i", "s", " ", "", "", "", "the"]


def test_an_empty_stop_string_is_refused():
    with pytest.raises(ConfigError, match="empty"):
        TextStream(BUILT["byte"], stop=["a", ""])
    with pytest.raises(IndexError):
        TextStream(BUILT["byte"]).add(99999)


def test_a_stop_string_of_bytes_is_met_at_once():
    tokenizer = BUILT["byte fallback"]
    newline, first, second = (tokenizer.id(f"<0x{byte}>") for byte in ("0A", "C3", "A4"))
    before = tokenizer.encode("a")
    stream = TextStream(tokenizer, before=before, stop=["\n"])
    assert [stream.add(token) for token in (first, second, newline)] == ["", "", "ä"]
    assert stream.stopped == "\n"


def test_a_prompt_that_ends_inside_a_character():
    tokenizer = BUILT["byte"]
    tokens = tokenizer.encode("a🧸b")
    assert "".join(streamed(TextStream(tokenizer, before=tokens[:3]), tokens[3:])) == "🧸b"


def test_byte_fallback_is_what_the_specification_says():
    specification = json.loads(BUILT["byte fallback"].to_json())
    assert specification["model"]["byte_fallback"] is True
