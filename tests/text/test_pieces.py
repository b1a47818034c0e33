"""Pieces and their places in the text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.text.tokenizer import Tokenizer, TokenizerConfig

CORPUS = ["un ours en peluche mignon lit.", "l'été, it's a cute teddy bear", "½ ﬁ 1⁄2 fi"] * 3
OPTIONS: list[dict[str, object]] = [
    {"kind": "word"},
    {"kind": "character"},
    {"kind": "byte"},
    {"kind": "bpe", "vocab_size": 80},
    {"byte_level": True, "vocab_size": 300},
    {"kind": "wordpiece", "vocab_size": 120},
    {"kind": "unigram", "vocab_size": 60},
]
FORMS: list[dict[str, object]] = [
    {"normalization": "none"},
    {"normalization": "nfc"},
    {"normalization": "nfkc", "lowercase": True},
]
BUILT = [
    TokenizerConfig.parse({**options, **form}).build(CORPUS)
    for options in OPTIONS
    for form in FORMS
]
HARD = st.sampled_from(
    ["e\u0301", "  ", "\n", "½", "ﬁ", "é", "🧸", "İ", "▁", "\u0323\u0307", "[EOS]"]
)
TEXT = st.lists(st.one_of(HARD, st.text(max_size=3)), max_size=8).map("".join)


def whitespace_stays(tokenizer: Tokenizer) -> bool:
    return tokenizer.byte_level or tokenizer.kind == "character"


@given(text=TEXT)
@settings(deadline=None)
def test_places_cover_the_text(text: str) -> None:
    for tokenizer in BUILT:
        pieces = tokenizer.pieces(text)
        assert [piece.id for piece in pieces] == tokenizer.encode(text)
        covered = 0
        if not whitespace_stays(tokenizer):
            covered = len(text) - len(text.lstrip())
        for piece in pieces:
            assert 0 <= piece.start <= covered <= len(text)
            assert piece.start <= piece.end
            covered = max(covered, piece.end)
        length = len(text) if whitespace_stays(tokenizer) else len(text.rstrip())
        assert covered == length or not pieces


@given(text=st.text("aeiourslt' .,!é\n", max_size=30))
@settings(deadline=None)
def test_known_pieces_are_what_stands_at_their_place(text: str) -> None:
    for tokenizer in BUILT:
        for piece in tokenizer.pieces(text):
            there = text[piece.start : piece.end]
            if piece.unknown:
                assert piece.text == there
            elif not piece.text.startswith("<0x"):
                shown = piece.text.removeprefix("##").replace("▁", " ")
                assert (
                    shown.strip(" ") == there.strip()
                    if not whitespace_stays(tokenizer)
                    else shown == there
                )


def places(tokenizer: Tokenizer, text: str) -> list[tuple[str, int, int]]:
    return [(piece.text, piece.start, piece.end) for piece in tokenizer.pieces(text)]


def test_bytes_of_a_character_share_its_place() -> None:
    tokenizer = TokenizerConfig(kind="byte").build([])
    assert places(tokenizer, "é🧸!") == [
        ("<0xC3>", 0, 1),
        ("<0xA9>", 0, 1),
        ("<0xF0>", 1, 2),
        ("<0x9F>", 1, 2),
        ("<0xA7>", 1, 2),
        ("<0xB8>", 1, 2),
        ("!", 2, 3),
    ]


def test_byte_level_pieces_read_as_characters() -> None:
    tokenizer = TokenizerConfig(byte_level=True, vocab_size=262).build(["é é é"])
    assert tokenizer.readable(tokenizer.encode("é")[0]) == "é"
    assert tokenizer.token(tokenizer.encode("é")[0]) == "Ã©"
    assert places(tokenizer, " é") == [(" é", 0, 2)]


def test_composed_characters_cover_their_parts() -> None:
    tokenizer = TokenizerConfig(kind="character").build(["été"])
    assert places(tokenizer, "e\u0301te\u0301") == [("é", 0, 2), ("t", 2, 3), ("é", 3, 5)]


def test_whitespace_belongs_to_the_piece_after_it() -> None:
    tokenizer = TokenizerConfig(kind="word").build(["un ours"])
    assert places(tokenizer, "  un \n ours ") == [("▁un", 2, 4), ("▁ours", 4, 11)]


def test_mark_before_the_text_takes_no_room() -> None:
    tokenizer = TokenizerConfig(kind="bpe", vocab_size=8).build(["ab ab c"])
    assert places(tokenizer, "xa")[:2] == [("▁", 0, 0), ("x", 0, 1)]
    assert tokenizer.pieces("xa")[1].unknown


@pytest.mark.parametrize("number", range(len(BUILT)))
def test_empty_text(number: int) -> None:
    assert BUILT[number].pieces("") == []
    assert BUILT[number].encode("") == []
    assert BUILT[number].decode([]) == ""
