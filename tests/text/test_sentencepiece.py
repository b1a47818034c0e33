"""Vocabularies of pieces and scores from the metadata of GGUF files."""

import pytest

from gguf_models import pieces
from peluche.errors import CheckpointError, ConfigError
from peluche.text.pretrained import from_gguf
from peluche.text.streaming import TextStream

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
TEXT = "the bears, reading: 12 h\u00e9"


def tokens_of(tokenizer, text):
    return [tokenizer.token(number) for number in tokenizer.encode(text)]


def test_the_highest_score_is_merged_first():
    tokenizer = from_gguf(pieces(), "here")
    assert tokens_of(tokenizer, "the bear") == ["\u2581the", "\u2581bear"]
    higher, lower = (from_gguf(pieces(("he", score, NORMAL)), "here") for score in (-0.5, -99.0))
    assert tokens_of(higher, "hea") == ["\u2581", "he", "a"]
    assert tokens_of(lower, "hea") == ["\u2581", "h", "ea"]


def test_what_is_no_piece_is_spelt_in_bytes():
    tokenizer = from_gguf(pieces(), "here")
    assert tokens_of(tokenizer, "\u00e9") == ["\u2581", "<0xC3>", "<0xA9>"]
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT


def test_without_bytes_it_is_unknown():
    metadata = pieces()
    types = metadata["tokenizer.ggml.token_type"]
    kept = [number for number, kind in enumerate(types) if kind != 6]
    for name in ("tokens", "scores", "token_type"):
        column = metadata[f"tokenizer.ggml.{name}"]
        metadata[f"tokenizer.ggml.{name}"] = [column[number] for number in kept]
    assert tokens_of(from_gguf(metadata, "here"), "a\u00e9\u00e9a") == ["\u2581a", "<unk>", "a"]


def test_texts_begin_with_a_space_unless_the_file_says_no():
    off = from_gguf({**pieces(), "tokenizer.ggml.add_space_prefix": False}, "here")
    assert tokens_of(off, "the a") == ["the", "\u2581a"]
    assert off.decode(off.encode(" the")) == " the"


def test_text_becomes_no_control_token_and_every_user_defined_one():
    # "<s" and ">" would make "<s>".
    more = [("<", -70.0, NORMAL), (">", -71.0, NORMAL), ("<s", -0.1, NORMAL)]
    tokenizer = from_gguf(pieces(*more, ("  ", -80.0, USER_DEFINED)), "here")
    assert tokens_of(tokenizer, "<s>") == ["\u2581", "<s", ">"]
    assert tokens_of(tokenizer, "the  the") == ["\u2581the", "  ", "\u2581the"]


def test_user_defined_tokens_of_equal_scores_are_found_whole():
    runs = [("\n", -90.0, NORMAL), ("\n\n", -1000.0, USER_DEFINED)]
    runs += [("\n" * 3, -1000.0, USER_DEFINED), ("\n" * 4, -1000.0, USER_DEFINED)]
    off = {"tokenizer.ggml.add_space_prefix": False}
    tokenizer = from_gguf({**pieces(*runs), **off}, "here")
    for count in range(1, 9):
        found = tokens_of(tokenizer, "a" + "\n" * count + "a")
        longest, rest = divmod(count, 4)
        assert found[1:-1] == ["\n" * 4] * longest + (["\n" * rest] if rest else [])


def test_special_ids_have_the_places_of_sentencepiece_unless_the_file_has_others():
    tokenizer = from_gguf(pieces(), "here")
    assert (tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2)
    other = from_gguf(
        {**pieces(), "tokenizer.ggml.add_bos_token": False, "tokenizer.ggml.eos_token_id": 1},
        "here",
    )
    assert (other.bos_id, other.eos_id) == (-1, 1)


def test_a_stream_shows_the_text_that_follows():
    tokenizer = from_gguf(pieces(), "here")
    tokens = tokenizer.encode("the bear is \u00e9")
    stream = TextStream(tokenizer, before=tokens[:1])
    assert "".join(stream.add(token) for token in tokens[1:]) + stream.end() == " bear is \u00e9"


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"scores": None}, CheckpointError, "lack 'tokenizer.ggml.scores'"),
        ({"scores": [0.0]}, CheckpointError, "303 tokens, 303 of them different, with 1 scores"),
        ({"tokens": ["a"] * 303}, CheckpointError, "303 tokens, 1 of them different"),
        ({"scores": [-1.0] * 303}, ConfigError, "'the' has the score -1.0, as 'th' does"),
        ({"model": "t5"}, ConfigError, "model 't5' cannot be read"),
        ({"eos_token_id": 303}, CheckpointError, "its eos token is 303"),
        ({"unknown_token_id": 10**6}, CheckpointError, "its unknown token is 1000000"),
        ({"add_space_prefix": "x"}, ConfigError, "add_space_prefix is 'x'"),
    ],
)
def test_what_is_damaged_or_left_open_is_refused(changes, error, reason):
    metadata = pieces() | {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    metadata = {key: value for key, value in metadata.items() if value is not None}
    with pytest.raises(error, match=reason) as raised:
        from_gguf(metadata, "here")
    assert raised.value.where == "here"
