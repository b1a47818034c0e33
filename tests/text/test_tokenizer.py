"""Encoding, decoding and saving, for every kind."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.errors import CheckpointError, DataError
from peluche.text.tokenizer import Tokenizer, TokenizerConfig

ENGLISH = [
    "A cute teddy bear is reading.",
    "What is the bear reading?",
    "It's the children's bear.",
]
FRENCH = [
    "Un ours en peluche mignon lit.",
    "Qu'est-ce que l'ours lit ?",
    "C'est l'ours qu'on a vu !",
]
OTHER = [
    "« Oui », dit-il : 12,5 % d'été… (#1) ##2 don't WE'LL",
    "àâçéèêëîïôùûüÿœæ ÀÉÎ",
    "<s> [x] a_b",
]
CORPUS = [*ENGLISH, *FRENCH, *OTHER] * 3
ALPHABET = sorted(set("".join(CORPUS)))

EVERY_KIND: dict[str, dict[str, object]] = {
    "word": {"kind": "word"},
    "character": {"kind": "character"},
    "byte": {"kind": "byte"},
    "bpe": {"kind": "bpe", "vocab_size": 150},
    "byte-level bpe": {"kind": "bpe", "vocab_size": 300, "byte_level": True},
    "wordpiece": {"kind": "wordpiece", "vocab_size": 220},
    "unigram": {"kind": "unigram", "vocab_size": 120},
}
EXACT = ["byte", "byte-level bpe"]
SUBWORD = ["bpe", "wordpiece", "unigram"]
BUILT: dict[tuple[str, ...], Tokenizer] = {}


def built(name: str, **options: object) -> Tokenizer:
    key = (name, *(f"{option}={value}" for option, value in options.items()))
    if key not in BUILT:
        BUILT[key] = TokenizerConfig.parse({**EVERY_KIND[name], **options}).build(CORPUS)
    return BUILT[key]


LOOK_ALIKES = st.sampled_from(
    [
        "[PAD]",
        "[UNK]",
        "[BOS]",
        "[EOS]",
        " [EOS]",
        "##a",
        "▁",
        "Ġ",
        "<0x41>",
        "\x00",
        "🧸",
        "👩‍👩‍👧",
        "e\u0301",
    ]
)
ANY_TEXT = st.lists(st.one_of(st.text(), LOOK_ALIKES), max_size=6).map("".join)
KNOWN_TEXT = st.text(st.sampled_from([*ALPHABET, " ", " ", "\t", "\u00a0", "\n"]), max_size=80)


@pytest.mark.parametrize("name", EXACT)
@given(text=ANY_TEXT)
@settings(deadline=None)
def test_byte_level_gives_back_any_text(name: str, text: str) -> None:
    tokenizer = built(name, normalization="none")
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("name", EXACT)
def test_byte_level_gives_back_every_assigned_character(name: str) -> None:
    tokenizer = built(name, normalization="none")
    assigned = [*range(0xD800), *range(0xE000, 0x33480), *range(0xE0000, 0xE01F0)]
    points = [chr(point) for point in assigned]
    texts = ["".join(points[start : start + 4096]) for start in range(0, len(points), 4096)]
    assert tokenizer.decode_batch(tokenizer.encode_batch(texts)) == texts


@pytest.mark.parametrize("name", SUBWORD)
@given(text=KNOWN_TEXT)
@settings(deadline=None)
def test_subwords_give_back_known_characters_with_single_spaces(name: str, text: str) -> None:
    tokenizer = built(name, normalization="none")
    # Where a WordPiece is unknown in spite of its characters, [UNK] says so: not this test's case.
    ids = tokenizer.encode(text)
    if tokenizer.unk_id not in ids:
        assert tokenizer.decode(ids) == " ".join(text.split())
    else:
        assert name == "wordpiece"


@pytest.mark.parametrize("name", EVERY_KIND)
@pytest.mark.parametrize("text", [*ENGLISH, *FRENCH, *OTHER])
def test_ordinary_sentences_come_back(name: str, text: str) -> None:
    tokenizer = built(name)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("name", EVERY_KIND)
@given(text=ANY_TEXT)
@settings(deadline=None)
def test_text_never_becomes_a_special_token(name: str, text: str) -> None:
    tokenizer = built(name)
    ids = tokenizer.encode(text + "[EOS]")
    assert not {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id} & set(ids)
    assert name not in EXACT or tokenizer.unk_id not in ids


@pytest.mark.parametrize("name", EVERY_KIND)
def test_specials_lead_the_vocabulary(name: str) -> None:
    tokenizer = built(name)
    tokens = tokenizer.tokens()
    assert tokens[:4] == ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]
    assert len(tokens) == len(set(tokens)) == len(tokenizer) == tokenizer.vocab_size
    assert [tokenizer.id(token) for token in tokens] == list(range(len(tokens)))
    assert tokenizer.id("no such entry") is None
    with pytest.raises(IndexError, match="vocabulary has"):
        tokenizer.token(len(tokens))
    with pytest.raises(IndexError, match="-1"):
        tokenizer.token(-1)


@pytest.mark.parametrize("name", EVERY_KIND)
def test_bos_and_eos(name: str) -> None:
    tokenizer = built(name)
    ids = tokenizer.encode("a bear")
    assert tokenizer.encode("a bear", bos=True, eos=True) == [2, *ids, 3]
    assert tokenizer.encode_batch(["", "a bear"], eos=True) == [[3], [*ids, 3]]
    assert tokenizer.decode([2, *ids, 3, 0, 0]) == tokenizer.decode(ids)
    shown = tokenizer.decode([2, *ids, 3], skip_special=False)
    assert shown.startswith("[BOS]")
    assert shown.endswith("[EOS]")


@pytest.mark.parametrize("name", ["word", "character", "bpe", "wordpiece", "unigram"])
def test_unknown_stays_visible(name: str) -> None:
    tokenizer = built(name)
    ids = tokenizer.encode("the 熊 bear")
    assert tokenizer.unk_id in ids
    assert tokenizer.decode(ids) == "the [UNK] bear"


@pytest.mark.parametrize("name", EVERY_KIND)
def test_batch_equals_one_by_one(name: str) -> None:
    tokenizer = built(name)
    ids = [tokenizer.encode(text) for text in CORPUS]
    assert tokenizer.encode_batch(CORPUS) == ids
    assert tokenizer.decode_batch(ids) == [tokenizer.decode(one) for one in ids]
    assert tokenizer.encode_batch([]) == []


def test_byte_ids_are_bytes_plus_four() -> None:
    assert built("byte").encode("Aé") == [0x41 + 4, 0xC3 + 4, 0xA9 + 4]


def test_known_cutting() -> None:
    """Where words end, on the cases that the rules are about."""
    cut = [piece.text for piece in built("word").pieces("It's l'ours, qu'on a vu !")]
    assert cut == ["▁It", "'s", "▁l'", "ours", " ,"[1:], "▁qu'", "on", "▁a", "▁vu", "▁!"]
    inside = [piece.text for piece in built("wordpiece").pieces("bears")]
    assert inside[0].startswith("▁")
    assert all(text.startswith("##") for text in inside[1:])
    assert len(inside) > 1


@pytest.mark.parametrize("name", EVERY_KIND)
def test_normal_form_and_case(name: str) -> None:
    composed, decomposed = "un ours été", unicodedata.normalize("NFD", "un ours été")
    nfc, nfkc = built(name), built(name, normalization="nfkc", lowercase=True)
    assert nfc.encode(decomposed) == nfc.encode(composed)
    assert nfkc.encode("ＵＮ Ours ÉTÉ") == nfkc.encode("un ours été")
    assert nfc.encode("UN OURS") != nfc.encode("un ours")


@pytest.mark.parametrize("name", EVERY_KIND)
def test_file_holds_everything(name: str, tmp_path: Path) -> None:
    path = tmp_path / "run" / "tokenizer.json"
    tokenizer = built(name, lowercase=True)
    tokenizer.save(path)
    loaded = Tokenizer.load(path)
    assert (loaded.kind, loaded.byte_level) == (tokenizer.kind, tokenizer.byte_level)
    assert loaded.kind == EVERY_KIND[name]["kind"]
    assert loaded.tokens() == tokenizer.tokens()
    text = "A Teddy [EOS] BEAR 🧸"
    assert loaded.encode(text) == tokenizer.encode(text)
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert Tokenizer.load(path.parent).tokens() == tokenizer.tokens()


@pytest.mark.parametrize("name", EVERY_KIND)
def test_the_library_itself_reads_the_file(name: str, tmp_path: Path) -> None:
    tokenizer = built(name, lowercase=True)
    tokenizer.save(tmp_path / "tokenizer.json")
    other = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = other.encode("A TEDDY Bear").ids
    assert ids == tokenizer.encode("A TEDDY Bear")
    assert other.decode([2, *ids, 3]) == tokenizer.decode(ids)


def test_copies_keep_ignoring_special_tokens_in_text() -> None:
    copy = pickle.loads(pickle.dumps(built("bpe")))
    assert copy.encode("[EOS]") == built("bpe").encode("[EOS]")


def test_half_a_surrogate_pair_is_refused() -> None:
    for use in (
        built("bpe").encode,
        built("bpe").pieces,
        lambda text: built("bpe").encode_batch([text]),
    ):
        with pytest.raises(DataError, match=r"surrogate.*\n.*character 1"):
            use("a\ud800")
    with pytest.raises(DataError, match="surrogate"):
        TokenizerConfig().build(["a\ud800"])


@pytest.mark.parametrize("contents", [b"", b"{", b"\xff\xfe", b"[]", b'{"model": {"type": "BPE"}}'])
def test_damaged_file(contents: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(contents)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)


def test_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    built("bpe").save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        Tokenizer.load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no tokenizer"):
        Tokenizer.load(tmp_path)


def test_tokenizer_of_others(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    foreign = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<s>": 0, "a": 1}, unk_token="<s>"))
    foreign.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    foreign.save(str(path))
    with pytest.raises(CheckpointError, match=r"\[PAD\] \[UNK\] \[BOS\] \[EOS\] as ids 0 to 3"):
        Tokenizer.load(path)


FORK = """
import os, sys
from peluche.text.tokenizer import TokenizerConfig
tokenizer = TokenizerConfig(vocab_size=40).build(["a cute teddy bear"] * 100)
texts = ["a cute teddy bear"] * 2000
expected = tokenizer.encode_batch(texts)
child = os.fork()
if child == 0:
    os._exit(tokenizer.encode_batch(texts) != expected)
status = os.waitpid(child, 0)[1]
sys.exit(status or "TOKENIZERS_PARALLELISM" in os.environ)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forking_is_silent_and_works() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TOKENIZERS_PARALLELISM"}
    command = [sys.executable, "-c", FORK]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
